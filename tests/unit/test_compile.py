"""The Book and its version."""

from router.buyers.render import render
from router.terms.compile import compile_book
from router.terms.revive import revive, written
from router.terms.template import RenderContext
from tests import factory


def test_a_version_depends_on_what_decides_and_not_on_the_order_of_files() -> None:
    """Buyers read in another order have the same version; another price, cap or coverage has another."""
    a, b = factory.buyer("a", factory.contract("ca")), factory.buyer("b", factory.contract("cb"))
    version = factory.book(a, b).version
    assert factory.book(b, a).version == version
    for change in (
        {"price": "10.01"},
        {"caps": [{"per": "day", "limit": 1}]},
        {"coverage": {"postal_codes": ["78701"]}},
    ):
        assert factory.book(a, factory.buyer("b", factory.contract("cb", **change))).version != version


def test_a_revived_book_sends_the_same_bytes() -> None:
    """The order of a body's keys survives the ledger: a repeat after a restart is byte-identical."""
    body = {"zip": "{{postal_code}}", "alpha": "{{first_name}}", "m": {"z": 1, "a": 2}}
    book = factory.book(factory.buyer("a", factory.contract("c"), endpoint={"body": body}))
    revived = revive(book.version, dict(written(book)).__getitem__)
    assert revived.version == book.version
    context = RenderContext(lead=factory.lead(first_name="Ana"), delivery_id="d", contract_id="c", price=1000)
    one, other = (render(each.contracts["c"].endpoint, context, {}, now_s=0) for each in (book, revived))
    assert one == other
    assert one.body.startswith(b'{"zip":')
    assert compile_book(book.terms).version == book.version

"""The strict decoder: every error at once, in its exact place, without ever raising."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from router.model.money import Money
from router.model.times import NS_S, Duration
from router.terms.decode import decode, suggestion
from router.terms.schema import Buyer, Criterion, FieldTerms, Guard, LeadType, Payout, RouterTerms, Source, When

CONTRACT = {"id": "c", "lead_type": "solar", "endpoint": "e", "price": "42.50"}


def keys(tree: object, kind: type[Any]) -> list[str]:
    """The key paths of all problems of a tree."""
    value, problems = decode(tree, kind, "f.toml")
    assert (value is None) == bool(problems)
    assert all(problem.file == "f.toml" and problem.mend and problem.severity == "error" for problem in problems)
    return [problem.key for problem in problems]


def test_a_whole_buyer_is_decoded_with_its_defaults() -> None:
    """Money and durations become integers, absent tables stay None, lists become tuples."""
    tree = {"id": "b", "name": "B", "endpoints": {"e": {"url": "https://b.example"}}, "contracts": [CONTRACT]}
    buyer, problems = decode(tree, Buyer, "buyers/b.toml")
    assert problems == []
    assert buyer is not None
    (contract,) = buyer.contracts
    assert contract.price == 4250
    assert isinstance(contract.price, Money)
    assert (contract.consent, contract.sla, contract.caps) == (None, None, ())
    assert buyer.endpoints["e"].timeout == 5 * NS_S
    assert buyer.endpoints["e"].retry.on == (429, 503)


def test_every_error_of_a_tree_is_found_at_once() -> None:
    """Errors in different branches do not hide one another."""
    tree = {
        "id": 1,
        "nmae": "B",
        "endpoints": {"crm": {"url": "x", "timeout": "5 s"}},
        "contracts": [CONTRACT, {**CONTRACT, "caps": [{"per": "dya"}], "criteria": [{"not": {"any": [{"min": []}]}}]}],
    }
    assert sorted(keys(tree, Buyer)) == [
        "contracts[1].caps[0].per",
        "contracts[1].criteria[0].not.any[0].min",
        "endpoints.crm.timeout",
        "id",
        "name",
        "nmae",
    ]


def test_keys_that_toml_would_quote_are_quoted() -> None:
    """A path can be found again in the file."""
    assert keys({"id": "s", "forms": {"a b": 1}}, Source) == ['forms."a b"']


def test_payout_may_be_plain_text() -> None:
    """`"12.00"` is for each accepted lead; the table form says otherwise; its errors stand at the key itself."""
    source, _ = decode({"id": "s", "payout": {"a": "12.00", "b": {"amount": "3", "per": "sold_copy"}}}, Source, "f")
    assert source is not None
    assert source.payout == {"a": Payout(amount=Money(1200)), "b": Payout(amount=Money(300), per="sold_copy")}
    assert keys({"id": "s", "payout": {"a": 12, "b": {"amount": 1.5}}}, Source) == ["payout.a", "payout.b.amount"]


def test_a_field_may_leave_open_whether_it_is_personal() -> None:
    """Absent and false are two things."""
    assert decode({"type": "string"}, FieldTerms, "f")[0] == FieldTerms(type="string", personal=UNSET)
    assert decode({"type": "string", "personal": False}, FieldTerms, "f")[0] == FieldTerms(
        type="string", personal=False
    )


@pytest.mark.parametrize("value", [1, 1.5, "x", True])
def test_scalars_keep_their_kind(value: object) -> None:
    """A criterion compares with what was written: a number stays one, true is not 1."""
    node, problems = decode({"field": "f", "equals": value}, Criterion, "f")
    assert problems == []
    assert node is not None
    assert type(node.equals) is type(value)


@pytest.mark.parametrize(
    ("tree", "status"), [({"status": "2xx"}, "2xx"), ({"status": 200}, 200), ({"status": [200, 201]}, (200, 201))]
)
def test_a_status_has_three_forms(tree: dict[str, object], status: object) -> None:
    """Text, number or list, and nothing else."""
    when, problems = decode(tree, When, "f")
    assert (when, problems) == (When(status=status), [])  # type: ignore[arg-type]
    assert keys({"status": [200, "x"]}, When) == ["status[1]"]
    assert keys({"status": 2.5}, When) == ["status"]


def test_guards_take_shares_and_durations() -> None:
    """`over` is a duration text or a count, `trip` a share or a duration text."""
    guard, problems = decode({"metric": "error_rate", "over": 50, "trip": 1}, Guard, "f")
    assert problems == []
    assert guard is not None
    assert (guard.over, guard.trip) == (50, 1)
    assert guard.cool_down == Duration(600 * NS_S)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (float("nan"), "share"),
        (float("inf"), "share"),
        ("0.5", "share"),
        (10**30, "priority"),
        (1.0, "weight"),
        (True, "weight"),
        (None, "weight"),
    ],
)
def test_numbers_are_finite_bounded_and_of_their_kind(value: object, key: str) -> None:
    """What could surprise arithmetic later is refused here."""
    assert keys({"id": "b", "name": "B", "contracts": [{**CONTRACT, key: value}]}, Buyer) == [f"contracts[0].{key}"]


def test_null_is_no_limit_where_a_limit_may_be_absent() -> None:
    """JSON from the API may say null for unlimited; elsewhere it is an error that says to leave the key out."""
    cap = {"per": "day", "limit": None, "spend": "5.00"}
    assert keys({"id": "b", "name": "B", "caps": [cap]}, Buyer) == []
    _, problems = decode({"id": "b", "name": None}, Buyer, "f")
    assert [problem.mend for problem in problems] == ["Leave the key out instead of null"]


def test_a_body_holds_whatever_json_can_say() -> None:
    """Numbers, lists and null pass; dates, which JSON has none of, do not."""
    import datetime

    body = {"a": [1, 2.5, True, None, {"b": "{{phone}}"}]}
    tree = {"id": "b", "name": "B", "endpoints": {"e": {"url": "u", "body": body}}}
    buyer, problems = decode(tree, Buyer, "f")
    assert problems == []
    assert buyer is not None
    assert buyer.endpoints["e"].body == body
    tree["endpoints"]["e"]["body"] = {"a": [datetime.date(2026, 1, 1)]}  # type: ignore[index]
    assert keys(tree, Buyer) == ["endpoints.e.body.a[0]"]


@pytest.mark.parametrize("depth", [31, 40, 5000])
def test_deep_nesting_is_refused_and_never_overflows(depth: int) -> None:
    """A tree is judged by its depth before anything recurses into it."""
    node: dict[str, object] = {"field": "f"}
    for _ in range(depth):
        node = {"not": node}
    value, problems = decode(node, Criterion, "f")
    assert (value is not None) == (depth == 31)
    said = [(problem.key, problem.message) for problem in problems]
    assert said == ([] if depth == 31 else [("not.not.not.not", "nested deeper than 32 levels")])


def test_the_key_of_deep_nesting_is_that_of_its_beginning() -> None:
    """Neither what is shallow beside it, nor all of a path that nobody would read."""
    node: object = 1
    for _ in range(40):
        node = [node]
    _, problems = decode({"id": "b", "contracts": [{"id": "c"}, {"criteria": [{"equals": node}]}]}, Buyer, "f")
    assert [problem.key for problem in problems] == ["contracts[1].criteria[0]"]


@pytest.mark.parametrize("tree", [None, [], "x", 3, True])
def test_what_is_no_table_is_said_to_be_none(tree: object) -> None:
    """JSON may hold anything at its top."""
    assert keys(tree, Buyer) == [""]


def test_secrets_in_wrong_places_are_not_repeated() -> None:
    """A wrong type is named, its value is not."""
    auth = {"type": "bearer", "token": ["hunter2"]}
    _, problems = decode({"id": "b", "name": "B", "endpoints": {"e": {"url": "u", "auth": auth}}}, Buyer, "f")
    assert "hunter2" not in " ".join(problem.line() for problem in problems)
    assert problems


def test_suggestions_are_near_or_none() -> None:
    """Case does not matter, distance does."""
    assert suggestion("Lmit", ["limit", "spend"]) == "limit"
    assert suggestion("zzz", ["limit", "spend"]) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
_WORDS = sorted({name for kind in (Buyer, LeadType, Source, RouterTerms) for name in kind.__struct_fields__})
_TREES = st.dictionaries(st.sampled_from(_WORDS), _JSON, max_size=5)


@given(tree=_TREES)
def test_no_tree_makes_the_decoder_raise(tree: dict[str, object]) -> None:
    """Whatever stands in a file, the answer is a value or problems."""
    for kind in (Buyer, LeadType, Source, RouterTerms):
        value, problems = decode(tree, kind, "f")  # type: ignore[type-var]
        assert (value is None) == bool(problems)
        for one, other in itertools.pairwise(problems):
            assert one != other

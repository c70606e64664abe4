"""Who a token stands for, and what each may do."""

import pytest

from router.terms.book import Book
from router.terms.compile import compile_book
from router.web.auth import Principal, Who, authenticate, bearer_digest
from router.web.problems import Problem
from tests.e2e.house import ADMIN, AUDITOR, BUYER, OPERATOR, SOURCE, digest, house_terms

EVERYBODY = frozenset(Who)


@pytest.fixture(scope="module")
def book() -> Book:
    """Terms with one of everybody."""
    return compile_book(house_terms())


def bearer(token: str) -> list[str]:
    """The Authorization header lines for a token."""
    return [f"Bearer {token}"]


@pytest.mark.parametrize(
    ("token", "who", "by"),
    [
        (SOURCE, Who.SOURCE, "source:web"),
        (BUYER, Who.BUYER, "buyer:bright"),
        (AUDITOR, Who.AUDITOR, "operator:ann"),
        (OPERATOR, Who.OPERATOR, "operator:oscar"),
        (ADMIN, Who.ADMIN, "operator:ada"),
    ],
)
def test_each_token_is_its_owner(book: Book, token: str, who: Who, by: str) -> None:
    """A token is found by its hash, and its owner is named as facts name it."""
    principal = authenticate(book, bearer(token), EVERYBODY)
    assert principal.who is who
    assert principal.by == by


@pytest.mark.parametrize("lines", [[], ["Bearer"], ["Bearer "], ["Basic abc"], ["nonsense"], ["Bearer a", "Bearer a"]])
def test_no_token_is_401_with_a_challenge(book: Book, lines: list[str]) -> None:
    """A missing, foreign or repeated Authorization header is refused with WWW-Authenticate."""
    with pytest.raises(Problem) as refused:
        authenticate(book, lines, EVERYBODY)
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_unknown_token_is_401_and_not_repeated(book: Book) -> None:
    """A token nobody has is refused, and the answer does not show it."""
    with pytest.raises(Problem) as refused:
        authenticate(book, bearer("s3cret-guess"), EVERYBODY)
    assert refused.value.status == 401
    assert "s3cret-guess" not in str(refused.value.plain())


@pytest.mark.parametrize(
    ("token", "allowed", "may"),
    [
        (AUDITOR, Who.AUDITOR, True),
        (AUDITOR, Who.OPERATOR, False),
        (AUDITOR, Who.ADMIN, False),
        (OPERATOR, Who.AUDITOR, True),
        (OPERATOR, Who.OPERATOR, True),
        (OPERATOR, Who.ADMIN, False),
        (ADMIN, Who.AUDITOR, True),
        (ADMIN, Who.ADMIN, True),
        (SOURCE, Who.BUYER, False),
        (BUYER, Who.SOURCE, False),
        (ADMIN, Who.SOURCE, False),
        (SOURCE, Who.AUDITOR, False),
    ],
)
def test_roles_hold_the_lower_ones_and_no_other_kind(book: Book, token: str, allowed: Who, may: bool) -> None:
    """auditor < operator < admin; a source is no buyer and an admin is no source: 403."""
    if may:
        assert authenticate(book, bearer(token), frozenset({allowed}))
        return
    with pytest.raises(Problem) as refused:
        authenticate(book, bearer(token), frozenset({allowed}))
    assert refused.value.status == 403


def test_without_operators_the_answer_says_how_to_add_one() -> None:
    """With no operators configured nobody gets in, and 401 says what to do."""
    book = compile_book(house_terms(router={"operators": {}}))
    with pytest.raises(Problem) as refused:
        authenticate(book, bearer(ADMIN), frozenset({Who.AUDITOR}))
    assert refused.value.status == 401
    assert "token new" in refused.value.detail


def test_both_live_tokens_of_a_source_work() -> None:
    """During a rotation the old and the new token are the same source."""
    book = compile_book(house_terms(source={"token_sha256": [digest("old"), digest("new")]}))
    for token in ("old", "new"):
        assert authenticate(book, bearer(token), frozenset({Who.SOURCE})) == Principal(Who.SOURCE, "web")


def test_a_token_is_hashed_as_the_bytes_it_came_as() -> None:
    """The hash is over the token's UTF-8 bytes, however the HTTP parser decoded them; the scheme has no case."""
    sent = "tök".encode().decode("ascii", "surrogateescape")
    assert bearer_digest([f"bearer {sent}"]) == digest("tök")

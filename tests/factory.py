"""Small believable terms and leads for tests: say only what the test is about."""

from collections.abc import Callable
from typing import Any

from router.core.calendar import Calendar
from router.core.rules.standing import Moment
from router.engine.controls import ReadTerms
from router.model.facts import Entry
from router.model.lead import Consent, Lead
from router.model.times import parse_instant
from router.terms.book import Book
from router.terms.candidate import Candidate
from router.terms.compile import compile_book
from router.terms.decode import decode
from router.terms.schema import Buyer, LeadType, RouterTerms, Source, Terms

NOON = parse_instant("2026-11-24T17:00:00Z")  # a Tuesday, noon in New York

LEAD_TYPE: dict[str, Any] = {
    "id": "solar",
    "deadline": "20s",
    "fields": {
        "first_name": {"type": "string"},
        "phone": {"type": "phone"},
        "email": {"type": "email"},
        "postal_code": {"type": "postal_code", "required": True},
        "state": {"type": "state"},
        "credit_score": {"type": "integer"},
        "monthly_bill": {"type": "number"},
        "homeowner": {"type": "boolean"},
        "utility": {"type": "string", "personal": False},
        "birth_date": {"type": "date"},
    },
}
ENDPOINT: dict[str, Any] = {
    "url": "http://127.0.0.1:9/lead",
    "in_doubt_resolves": "rejected",
    "body": {"zip": "{{postal_code}}", "phone": "{{phone|national}}"},
    "responses": [
        {"when": {"path": "status", "equals": "accepted"}, "outcome": "accepted", "price": "price"},
        {"when": {"path": "status", "equals": "rejected"}, "outcome": "rejected", "reason": "reason"},
        {"when": {"path": "status", "equals": "duplicate"}, "outcome": "duplicate"},
    ],
}


def read(tree: dict[str, Any], kind: Any, name: str = "test.toml") -> Any:
    """One decoded table; fails the test with every problem when it is not one."""
    value, problems = decode(tree, kind, name)
    assert not problems, [problem.line() for problem in problems]
    return value


def contract(id_: str, **terms: Any) -> dict[str, Any]:
    """One contract's tree: everywhere, 10.00, unless said otherwise."""
    tree = {
        "id": id_,
        "lead_type": "solar",
        "endpoint": "crm",
        "price": "10.00",
        "coverage": {"everywhere": True},
        "fields": {"optional": ["first_name", "phone", "email", "postal_code"]},
    }
    return tree | terms


def buyer(id_: str, *contracts: dict[str, Any], endpoint: dict[str, Any] | None = None, **terms: Any) -> dict[str, Any]:
    """One buyer's tree with its contracts and one endpoint `crm`."""
    tree = {"id": id_, "name": id_.title(), "endpoints": {"crm": ENDPOINT | (endpoint or {})}}
    return tree | terms | {"contracts": list(contracts)}


def terms(
    *buyers: dict[str, Any],
    lead_type: dict[str, Any] | None = None,
    source: dict[str, Any] | None = None,
    router: dict[str, Any] | None = None,
) -> Terms:
    """Terms of one lead type `solar` and one source `web` with these buyers."""
    kind = read(LEAD_TYPE | (lead_type or {}), LeadType)
    network = {"network": {"allow_private": ["127.0.0.0/8"], "allow_http": True}}
    one = read({"id": "web", "lead_types": [kind.id]} | (source or {}), Source)
    decoded = [read(tree, Buyer, f"buyers/{tree['id']}.toml") for tree in buyers]
    return Terms(
        router=read(network | (router or {}), RouterTerms),
        lead_types={kind.id: kind},
        sources={one.id: one},
        buyers={each.id: each for each in decoded},
        lists={},
        places={},
    )


def book(*buyers: dict[str, Any], **parts: Any) -> Book:
    """As `terms`, compiled."""
    return compile_book(terms(*buyers, **parts))


def reader(candidate: Callable[[], Candidate]) -> ReadTerms:
    """Reads terms as `Controls` wants it done, without any files."""

    async def read_terms() -> Candidate:
        return candidate()

    return read_terms


def lead(
    lead_id: str = "lead-1",
    *,
    at_ns: int = NOON,
    age_ns: int = 0,
    consent: Consent | None = None,
    country: str = "US",
    source: str = "web",
    test: bool = False,
    **fields: Any,
) -> Lead:
    """A lead from Austin, Texas, received at `at_ns`, unless said otherwise. A field set to None is left out."""
    given = {"postal_code": "78701", "phone": "+15125550147", "email": "ana@example.com"} | fields
    return Lead(
        lead_id=lead_id,
        lead_type="solar",
        source_id=source,
        received_at_ns=at_ns,
        submitted_at_ns=at_ns - age_ns,
        fields={name: value for name, value in given.items() if value is not None},
        country=country,
        consent=consent,
        test=test,
    )


def moment(at_ns: int = NOON) -> Moment:
    """A moment whose steady clock reads like its wall clock."""
    return Moment(at_ns, at_ns, Calendar())


def entry(fact: Any, at_ns: int = NOON, lead: Lead | None = None) -> Entry:
    """A fact as the ledger hands it over."""
    return Entry(at_ns=at_ns, fact=fact, lead=lead)

"""A made-up lead that a contract accepts: nobody's data, marked test, valid for the lead type and the contract's rules.

Each field has candidates: what the rules themselves name first, then what is usual for its type. A candidate is taken
when intake would take it and every rule and criterion about the field holds; so the rules are never read twice. Where
criteria leave a choice (`any`, `not`), the ways to satisfy them are tried one after the other.

Phones are of the 555-01 numbers that nobody has, addresses end in example.com, IP addresses come from the block kept
for documentation.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from itertools import islice, product
from typing import Any, Final, NamedTuple

import phonenumbers
from msgspec import Struct

from router.core.calendar import local
from router.core.intake.fields import compile_field
from router.core.intake.refusal import Wrong
from router.core.rules.criteria import leaf_holds, line_type, rule_holds
from router.core.rules.static import consent_rule, coverage_rule, criteria_rule, fields_rule
from router.model.lead import Consent, Lead, Value
from router.model.times import NS_HOUR, NS_MINUTE, format_instant
from router.onboarding.matching import text_for
from router.terms.book import Book, ContractPlan
from router.terms.coverage import Coverage, canonical_postal_code
from router.terms.geography import us
from router.terms.schema import Criterion, FieldRule, FieldTerms

_WAYS_MAX: Final = 200
_CODES_TRIED: Final = 2_000
_AREAS: Final = (512, 212, 213, 312, 404, 415, 602, 617, 702, 713, 720, 813, 916, 919, 214, 503, 206, 305, 614, 317)
_CODES: Final = {"US": "78701", "CA": "M5V 3L9", "GB": "SW1A 1AA"}
#: Filled up from here a prefix of a canonical code becomes a whole one.
_WHOLE_CODES: Final = {"CA": ("K1A 0B1", "M5V 3L9"), "GB": ("SW1A 1AA", "M1 1AE", "EC1A 1BB", "B33 8TH")}
_TEXTS: Final = {
    "first_name": "Test",
    "last_name": "Lead",
    "name": "Test Lead",
    "full_name": "Test Lead",
    "address": "1 Test Street",
    "street": "1 Test Street",
}
_NUMBERS: Final = (10, 1, 0, 35, 700, 2015, 100_000)
_YEARS: Final = (40, 1, 0, 10, 25, 65)
_LINE_TYPES_OF_EXAMPLES: Final = {
    "mobile": phonenumbers.PhoneNumberType.MOBILE,
    "fixed_line": phonenumbers.PhoneNumberType.FIXED_LINE,
    "voip": phonenumbers.PhoneNumberType.VOIP,
    "toll_free": phonenumbers.PhoneNumberType.TOLL_FREE,
}


class Wish(NamedTuple):
    """What a criterion wants of one field: that a leaf holds, or that it does not."""

    leaf: Criterion
    holds: bool = True


class MadeUp(Struct, frozen=True):
    """The lead, and what of the contract's terms it does not satisfy (empty: nothing)."""

    lead: Lead
    missed: tuple[str, ...]


def make_up(
    book: Book, plan: ContractPlan, *, lead_id: str, at_ns: int, number: int, given: Mapping[str, Value] | None = None
) -> MadeUp:
    """A test lead for this contract. `number` makes it another person, `given` are fields that somebody else chose."""
    best: MadeUp | None = None
    for wishes in ways(plan.terms.criteria):
        lead = _Making(book, plan, wishes, at_ns, number, given or {}).lead(lead_id)
        made = MadeUp(lead, tuple(_missed(book, plan, lead, given or {})))
        if not made.missed:
            return made
        if best is None or len(made.missed) < len(best.missed):
            best = made
    assert best is not None, "there is at least one way: to wish for nothing"
    return best


def _missed(book: Book, plan: ContractPlan, lead: Lead, given: Mapping[str, Value]) -> Iterator[str]:
    schema = book.lead_types[plan.lead_type]
    yield from (f"{name} is no field of {plan.lead_type}" for name in given if name not in schema.fields)
    yield from (
        f"{name} cannot be what was given" for name in given if name in schema.fields.keys() - lead.fields.keys()
    )
    for name, terms in schema.fields.items():
        if terms.required and name not in lead.fields:
            yield f"{name}: no value was found that its rules take"
    for rule in (coverage_rule, fields_rule, consent_rule, criteria_rule):
        for finding in rule(book, plan, lead):
            yield f"{finding.code}: {finding.expected}"


# -- criteria ------------------------------------------------------------------------------------


def ways(criteria: tuple[Criterion, ...]) -> Iterator[tuple[Wish, ...]]:
    """The ways to satisfy all criteria, simplest first, as many as may be tried."""
    for parts in islice(product(*([*islice(_ways(node, True), 8)] for node in criteria)), _WAYS_MAX):
        yield tuple(wish for part in parts for wish in part)


def _ways(node: Criterion, holds: bool) -> Iterator[tuple[Wish, ...]]:
    if node.not_ is not None:
        yield from _ways(node.not_, not holds)
    elif node.field_ is not None:
        yield (Wish(node, holds),)
    elif (node.all_ is not None) == holds:
        parts = node.all_ if node.all_ is not None else node.any_ or ()
        for chosen in product(*([*islice(_ways(part, holds), 4)] for part in parts)):
            yield tuple(wish for part in chosen for wish in part)
    else:
        for part in node.all_ if node.all_ is not None else node.any_ or ():
            yield from _ways(part, holds)


# -- a lead --------------------------------------------------------------------------------------


class _Making:
    """One lead being made, for one way to satisfy the criteria."""

    def __init__(
        self,
        book: Book,
        plan: ContractPlan,
        wishes: Iterable[Wish],
        at_ns: int,
        number: int,
        given: Mapping[str, Value],
    ) -> None:
        self._book = book
        self._plan = plan
        self._at_ns = at_ns
        self._number = number
        self._given = given
        self._today = local(at_ns, plan.zone).date()
        self._country = plan.coverage.country
        self._wishes: dict[str, list[Wish]] = {}
        for wish in wishes:
            self._wishes.setdefault(wish.leaf.field_ or "", []).append(wish)

    def lead(self, lead_id: str) -> Lead:
        schema = self._book.lead_types[self._plan.lead_type].fields
        fields: dict[str, Value] = {}
        for name, terms in schema.items():
            value = self._value(name, terms)
            if value is not None:
                fields[name] = value
        return Lead(
            lead_id=lead_id,
            lead_type=self._plan.lead_type,
            source_id=self._source(),
            received_at_ns=self._at_ns,
            submitted_at_ns=self._at_ns,
            fields=fields,
            country=self._country,
            consent=self._consent(),
            test=True,
        )

    def _value(self, name: str, terms: FieldTerms) -> Value | None:
        """The first candidate that intake takes and every rule about the field lets pass."""
        read = compile_field(terms)
        rule = self._plan.terms.fields.rules.get(name)
        wishes = self._wishes.get(name, ())
        for raw in self._candidates(name, terms, rule):
            try:
                value = read(raw, self._country)
            except Wrong:
                continue
            if value is not None and self._passes(value, rule, wishes):
                return value
        return None

    def _passes(self, value: Value, rule: FieldRule | None, wishes: Iterable[Wish]) -> bool:
        return (rule is None or rule_holds(rule, value, self._today)) and all(
            leaf_holds(wish.leaf, value) == wish.holds for wish in wishes
        )

    def _candidates(self, name: str, terms: FieldTerms, rule: FieldRule | None) -> Iterator[Any]:
        if name in self._given:
            yield self._given[name]
            return
        tests = [terms, *([rule] if rule is not None else []), *(wish.leaf for wish in self._wishes.get(name, ()))]
        yield from _named(tests)
        yield from self._usual(name, terms, rule)
        yield from _beside(tests)

    def _usual(self, name: str, terms: FieldTerms, rule: FieldRule | None) -> Iterator[Any]:
        match terms.type:
            case "phone":
                yield from self._phones(terms, rule)
            case "email":
                yield from (f"test.{self._number}@example.{end}" for end in ("com", "org", "net"))
            case "postal_code":
                yield self._code()
            case "state":
                yield from self._states()
            case "country":
                yield self._country
            case "integer" | "number":
                yield from _NUMBERS
            case "boolean":
                yield from (True, False)
            case "date":
                yield from self._dates(rule)
            case "datetime":
                yield format_instant(self._at_ns - NS_HOUR)
            case "url":
                yield "https://example.com/"
            case "ip":
                yield "203.0.113.9"
            case _:
                yield from self._texts(name, terms, rule)

    def _texts(self, name: str, terms: FieldTerms, rule: FieldRule | None) -> Iterator[str]:
        place = us().place(self._code()) if self._country == "US" else None
        usual = place.city if name == "city" and place is not None else _TEXTS.get(name, "Test")
        yield usual
        least = max(one.min_length or 0 for one in (terms, rule) if one is not None)
        most = min(one.max_length or 1_000 for one in (terms, rule) if one is not None)
        yield (usual * (least // len(usual) + 1))[: max(least, 1)]
        yield usual[:most]

    def _phones(self, terms: FieldTerms, rule: FieldRule | None) -> Iterator[str]:
        if self._country in ("US", "CA"):
            areas = _AREAS if self._country == "US" else (416, 604, 514)
            area = areas[self._number // 100 % len(areas)]
            yield f"+1{area}55501{self._number % 100:02d}"
        if self._country == "GB":
            yield f"+447700900{self._number % 1000:03d}"
        wanted = {*(terms.line_types or ()), *((rule.line_types or ()) if rule is not None else ())}
        for kind in sorted(wanted & _LINE_TYPES_OF_EXAMPLES.keys()) or ["fixed_line", "mobile"]:
            example = phonenumbers.example_number_for_type(self._country, _LINE_TYPES_OF_EXAMPLES[kind])
            if example is not None:
                number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
                if line_type(number) != "unknown":
                    yield number

    def _dates(self, rule: FieldRule | None) -> Iterator[str]:
        ages = [age for age in (rule.min_age, rule.max_age) if age is not None] if rule is not None else []
        for years in (*ages, *_YEARS):
            yield _years_before(self._today, years).isoformat()

    def _states(self) -> Iterator[str]:
        place = us().place(self._code()) if self._country == "US" else None
        yield from (place.state,) if place is not None else ()
        yield from ("TX", "ON")

    def _code(self) -> str:
        return code_in(self._plan.coverage)

    def _source(self) -> str:
        allowed, kind = self._plan.terms, self._plan.lead_type
        for source in self._book.sources.values():
            may_send = not source.lead_types or kind in source.lead_types
            wanted = "*" in allowed.sources or source.id in allowed.sources
            if may_send and wanted and source.id not in allowed.exclude_sources:
                return source.id
        return "certification"

    def _consent(self) -> Consent:
        terms = self._plan.terms.consent
        seller = terms.names_seller if terms is not None and terms.names_seller else self._plan.buyer.name
        return Consent(
            given_at_ns=self._at_ns - NS_MINUTE,
            text="This is a test lead.",
            url="https://example.com/",
            ip="203.0.113.9",
            trustedform_cert_url="https://cert.trustedform.com/" + "0" * 40,
            jornaya_lead_id="00000000-0000-0000-0000-000000000000",
            sellers=(seller,),
        )


def _named(tests: Iterable[Any]) -> Iterator[Any]:
    """The values that rules name themselves, and texts that their patterns match."""
    for test in tests:
        equals = getattr(test, "equals", None)
        yield from () if equals is None else (equals,)
        yield from test.one_of or ()
        if test.pattern is not None:
            text = text_for(test.pattern)
            yield from () if text is None else (text,)
        low, high = test.min, test.max
        if isinstance(low, int | float) and isinstance(high, int | float):
            yield (low + high) // 2 if isinstance(low, int) and isinstance(high, int) else (low + high) / 2
        yield from (bound for bound in (low, high) if bound is not None)


def _beside(tests: Iterable[Any]) -> Iterator[Any]:
    """Values next to what rules name, and those they exclude: what must not hold may hold there."""
    for test in tests:
        yield from getattr(test, "not_one_of", None) or ()
        for bound in (test.min, test.max, getattr(test, "equals", None)):
            if isinstance(bound, int | float) and not isinstance(bound, bool):
                yield from (bound - 1, bound + 1)


def _years_before(day: date, years: int) -> date:
    """That many whole years before, and a day more."""
    return day.replace(year=day.year - years, day=min(day.day, 28)) - timedelta(days=1)


# -- a place -------------------------------------------------------------------------------------


def code_in(coverage: Coverage) -> str:
    """A postal code the coverage accepts; one that it does not, where none is found."""
    usual = _CODES.get(coverage.country, _CODES["US"])
    for code in islice(_codes(coverage, usual), _CODES_TRIED):
        if coverage.allows(code) and canonical_postal_code(code, coverage.country) == code:
            return code
    return usual


def _codes(coverage: Coverage, usual: str) -> Iterator[str]:
    if coverage.everywhere:
        yield usual
        yield from us().starting("") if coverage.country == "US" else _WHOLE_CODES.get(coverage.country, ())
    known = us()
    for entry in coverage.entries:
        yield from (code for code in entry.codes if coverage.country != "US" or known.exists(code))
        for prefix in entry.prefixes:
            if coverage.country == "US":
                yield from known.starting(prefix)
            else:
                yield from (prefix + whole[len(prefix) :] for whole in _WHOLE_CODES.get(coverage.country, ()))
    for entry in coverage.entries:
        yield from entry.codes

"""The people of the demo: believable leads over real postal codes, the same ones every run, and the odd bad one.

No chance: every choice is read off a hash of the lead's number. Phones are of the 555 exchange, which nobody has, in
real area codes; e-mail addresses end in example.com, IP addresses come from the block kept for documentation.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import urlencode

import orjson
import zipcodes
from msgspec import Struct

from router.model.times import format_instant
from router.terms.book import Book, ContractPlan
from router.terms.schema import FieldTerms, Source

Kind = Literal["good", "masked_code", "short_code", "missing_field", "no_consent", "out_of_coverage", "again"]

#: Every so many leads one of these; all others are good.
_EVERY: Final[tuple[tuple[int, Kind], ...]] = (
    (19, "again"),
    (23, "masked_code"),
    (29, "missing_field"),
    (31, "short_code"),
    (13, "no_consent"),
    (11, "out_of_coverage"),
)
_AGAIN_BACK: Final = 7
_SEARCH_MAX: Final = 3000
_TURNS_MAX: Final = 8
_PHONES_PER_AREA: Final = 10_000
_NS_S: Final = 1_000_000_000

_FIRST: Final = (
    "Ana", "Ben", "Carla", "Dev", "Elena", "Femi", "Grace", "Hiro", "Ines", "Jamal", "Kira", "Luis", "Maya",
    "Noah", "Olga", "Pablo", "Quinn", "Rosa", "Sam", "Tara", "Uma", "Victor", "Wendy", "Xavier", "Yusuf", "Zoe",
    "Amir", "Bella", "Chen", "Dora",
)  # fmt: skip
_LAST: Final = (
    "Alvarez", "Brooks", "Castillo", "Dawson", "Ellis", "Fischer", "Garcia", "Hughes", "Ivanova", "Jensen",
    "Kaplan", "Lopez", "Murphy", "Nguyen", "Okafor", "Patel", "Quigley", "Romero", "Singh", "Torres",
    "Underwood", "Vargas", "Walker", "Xiong", "Young", "Zhang", "Bennett", "Cohen", "Duarte", "Evans",
)  # fmt: skip
_STREETS: Final = ("Maple Street", "Oak Avenue", "Cedar Lane", "River Road", "Hill Street", "Sunset Drive")
_TEXT: Final = "By submitting I agree to be contacted about my request at the number and address given."

#: Believable ranges for numbers the trade asks for; a field that is not here takes the middle half of its own range.
_RANGES: Final = {
    "roof_age": (1, 34),
    "accidents": (0, 3),
    "credit_score": (590, 810),
    "monthly_bill": (90, 380),
    "home_value": (150_000, 900_000),
    "vehicle_year": (2006, 2025),
    "year_built": (1950, 2020),
    "age": (22, 78),
    "debt": (6_000, 60_000),
    "debt_amount": (6_000, 60_000),
}


_TEXTS: Final = {
    "utility": ("oncor", "austin_energy", "duke", "pge", "centerpoint"),
    "vehicle_make": ("Ford", "Toyota", "Honda", "Chevrolet", "Subaru"),
    "insurer": ("none", "Northern Mutual", "Acorn", "First Road"),
}
JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"


class Place(Struct, frozen=True):
    """A postal code as it is out there."""

    code: str
    city: str
    state: str
    county: str
    area_codes: tuple[str, ...]


class Person(Struct, frozen=True, kw_only=True):
    """One lead to send: from which source, the request as that source writes it, and what is the matter with it."""

    number: int
    source_id: str
    kind: Kind
    content_type: str
    body: bytes
    key: str


def places() -> list[Place]:
    """Every US postal code that a household may have and that has an area code."""
    return [
        Place(one["zip_code"], one["city"], one["state"], one["county"], tuple(one["area_codes"]))
        for one in _everywhere()
        if one["active"] and one["area_codes"] and one["country"] == "US" and one["zip_code_type"] == "STANDARD"
    ]


def _everywhere() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = zipcodes.list_all()  # type: ignore[no-untyped-call]
    return found


class Crowd:
    """All the people who might come, for these terms. `person(n)` is the n-th, always the same."""

    def __init__(self, book: Book, where: Sequence[Place]) -> None:
        """`where` must not be empty. Sources that are not live or speak through an adapter send nothing."""
        self._book = book
        self._places = where
        self._turns = [
            (source, kind)
            for source in book.sources.values()
            if source.status == "live" and source.adapter == "native"
            for kind in source.lead_types
            if book.by_type.get(kind)
            for _ in range(_turns(source))
        ]
        self._lands: dict[str, list[Place]] = {}
        self._sellers = sorted(
            {
                plan.terms.consent.names_seller
                for plan in book.contracts.values()
                if plan.terms.consent and plan.terms.consent.names_seller
            }
        )

    def person(self, number: int, now_ns: int) -> Person:
        """The `number`-th lead (from 0), as submitted at `now_ns`."""
        kind = _kind(number)
        who = number - _AGAIN_BACK if kind == "again" else number
        source, lead_type = self._turns[_hash(who, "source") % len(self._turns)]
        lead = self._lead(who, "good" if kind == "again" else kind, lead_type, now_ns)
        lead["external_id"] = f"demo-{number}"
        content_type, body = (_FORM, _as_form(lead, source)) if source.map else (JSON, orjson.dumps(lead))
        return Person(
            number=number, source_id=source.id, kind=kind, content_type=content_type, body=body, key=f"demo-{number}"
        )

    def _lead(self, number: int, kind: Kind, lead_type: str, now_ns: int) -> dict[str, Any]:
        """The lead in the router's own words."""
        place = self._place(number, lead_type, covered=kind != "out_of_coverage")
        schema = self._book.lead_types[lead_type].fields
        fields = {
            name: _value(name, terms, number, place)
            for name, terms in schema.items()
            if terms.required or _pick(number, name, 8)  # an optional one is left out now and then
        }
        _spoil(kind, fields, [name for name, terms in schema.items() if terms.required])
        lead: dict[str, Any] = {"lead_type": lead_type, "submitted_at": format_instant(now_ns), "fields": fields}
        if kind != "no_consent":
            lead["consent"] = self._consent(number, now_ns)
        return lead

    def _place(self, number: int, lead_type: str, *, covered: bool) -> Place:
        """A place for a lead. Most are where one particular contract buys; some where nobody does, if there is such."""
        plans = [plan for plan in self._book.by_type[lead_type] if plan.coverage.country == "US"]
        start = _hash(number, "place")
        local = [plan for plan in plans if not plan.coverage.everywhere]
        if covered and local and _pick(number, "local", 4):
            land = self._land(local[_hash(number, "contract") % len(local)])
            return land[start % len(land)] if land else self._places[start % len(self._places)]
        for step in range(_SEARCH_MAX):
            place = self._places[(start + 37 * step) % len(self._places)]
            if any(plan.coverage.allows(place.code) for plan in plans) == covered:
                return place
        return self._places[start % len(self._places)]

    def _land(self, plan: ContractPlan) -> list[Place]:
        """Every place a contract covers."""
        if plan.id not in self._lands:
            self._lands[plan.id] = [place for place in self._places if plan.coverage.allows(place.code)]
        return self._lands[plan.id]

    def _consent(self, number: int, now_ns: int) -> dict[str, Any]:
        certificate = hashlib.sha1(f"certificate {number}".encode(), usedforsecurity=False).hexdigest()
        guid = hashlib.sha256(f"jornaya {number}".encode()).hexdigest()
        return {
            "given_at": format_instant(now_ns - (5 + number % 50) * _NS_S),
            "text": _TEXT,
            "url": "https://quotes.example.com/start",
            "ip": f"203.0.113.{1 + number % 250}",
            "trustedform_cert_url": f"https://cert.trustedform.com/{certificate}",
            "jornaya_lead_id": f"{guid[:8]}-{guid[8:12]}-{guid[12:16]}-{guid[16:20]}-{guid[20:32]}".upper(),
            "sellers": self._sellers if _pick(number, "sellers", 6) else self._sellers[:1],
        }


def _value(name: str, terms: FieldTerms, number: int, place: Place) -> Any:
    """A believable value of a field, by its name where that says more than its type."""
    first, last = _FIRST[_hash(number, "first") % len(_FIRST)], _LAST[_hash(number, "last") % len(_LAST)]
    named: dict[str, Any] = {
        "first_name": first,
        "last_name": last,
        "full_name": f"{first} {last}",
        "name": f"{first} {last}",
        "city": place.city,
        "county": place.county,
        "address": f"{1 + _hash(number, 'house') % 9000} {_STREETS[number % len(_STREETS)]}",
    }
    if name in named and terms.type == "string":
        return named[name]
    if name in _TEXTS and terms.type == "string":
        return _TEXTS[name][_hash(number, name) % len(_TEXTS[name])]
    if terms.one_of:
        return terms.one_of[_hash(number, name) % len(terms.one_of)]
    match terms.type:
        case "phone":
            return _phone(number, place)
        case "email":
            return f"{first}.{last}.{number}@example.com".lower()
        case "postal_code":
            return place.code
        case "state":
            return place.state
        case "country":
            return "US"
        case "integer" | "number":
            low, high = _range(name, terms)
            return low + _hash(number, name) % (high - low + 1)
        case "boolean":
            return _pick(number, name, 6)
        case "date":
            return f"{1950 + _hash(number, name) % 50}-{1 + number % 12:02d}-{1 + number % 28:02d}"
        case "datetime":
            return "2026-01-15T12:00:00Z"
        case "url":
            return "https://quotes.example.com/start"
        case "ip":
            return f"203.0.113.{1 + number % 250}"
        case _:
            return f"{name.replace('_', ' ')} {number % 9}"


def _phone(number: int, place: Place) -> str:
    """A number of the place's area that nobody has."""
    area = place.area_codes[number % len(place.area_codes)]
    return f"({area}) 555-{_hash(number, 'phone') % _PHONES_PER_AREA:04d}"


def _turns(source: Source) -> int:
    """How often a source has a turn: slow ones seldom, so that the demo stays below their rates."""
    if source.rate is None:
        return _TURNS_MAX
    return min(_TURNS_MAX, source.rate.leads // 3 + 1) if source.rate.per == "second" else 1


def _as_form(lead: Mapping[str, Any], source: Source) -> bytes:
    """The lead as a plain form in the source's own names, as affiliates post it."""
    theirs = {field: incoming for incoming, field in source.map.items()}
    flat = {name: value for name, value in lead.items() if name not in ("fields", "consent")}
    flat |= {theirs.get(name, name): _form_text(value) for name, value in lead["fields"].items()}
    consent = {name: value for name, value in lead.get("consent", {}).items() if name != "sellers"}
    flat |= {f"consent_{name}": value for name, value in consent.items()}
    return urlencode(flat).encode()


def _form_text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _kind(number: int) -> Kind:
    return next((kind for every, kind in _EVERY if number % every == every - 1 and number > _AGAIN_BACK), "good")


def _spoil(kind: Kind, fields: dict[str, Any], required: Sequence[str]) -> None:
    """Do to the fields what the kind of lead says."""
    code = str(fields.get("postal_code", ""))
    if kind == "masked_code":
        fields["postal_code"] = code[:3] + "XX"
    elif kind == "short_code":
        fields["postal_code"] = code[1:]
    elif kind == "missing_field":
        fields.pop(next((name for name in required if name != "postal_code"), ""), None)


def _range(name: str, terms: FieldTerms) -> tuple[int, int]:
    if name in _RANGES:
        return _RANGES[name]
    low = int(terms.min) if terms.min is not None else 0
    high = int(terms.max) if terms.max is not None else low + 100
    quarter = (high - low) // 4
    return low + quarter, max(high - quarter, low + quarter)


def _pick(number: int, what: str, of: int) -> bool:
    """True in all but one of `of` cases."""
    return _hash(number, what) % of != 0


def _hash(number: int, what: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{what} {number}".encode(), digest_size=8).digest(), "big")

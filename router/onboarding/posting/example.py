"""A made-up person's lead as a source may send it: every field of a lead type, in the spellings that sources use.

Phones are of the range that is kept free for fiction (555-01xx), addresses of the domain that is (example.com). What a
buyer receives is shown with the lead that certification makes up (`onboarding.made_up`): that one meets its terms.
"""

from typing import Any, Final

from router.terms.schema import FieldTerms, LeadType

_PLACES: Final = {"US": ("78701", "TX"), "CA": ("M5V 3L9", "ON"), "GB": ("SW1A 1AA", "")}
_PHONES: Final = {"US": "(512) 555-0147", "CA": "(416) 555-0147", "GB": "020 7946 0147"}
_TEXTS: Final = {
    "first_name": "Ana",
    "last_name": "Alvarez",
    "name": "Ana Alvarez",
    "address": "200 Congress Ave",
    "street": "200 Congress Ave",
    "city": "Austin",
    "utility": "austin_energy",
    "insurer": "Example Mutual",
    "vehicle_make": "Ford",
}
CONSENT: Final[dict[str, Any]] = {
    "given_at": "2026-11-23T16:59:58Z",
    "text": "By pressing the button I agree to be called about my request.",
    "url": "https://form.example.com/quote",
    "ip": "203.0.113.9",
    "trustedform_cert_url": "https://cert.trustedform.com/0123456789abcdef0123456789abcdef01234567",
    "jornaya_lead_id": "01234567-89AB-CDEF-0123-456789ABCDEF",
}
SUBMITTED_AT: Final = "2026-11-23T17:00:00Z"


def example_value(name: str, terms: FieldTerms, *, country: str = "US") -> Any:
    """A value as a source may send it for this field."""
    code, state = _PLACES.get(country, _PLACES["US"])
    by_type: dict[str, Any] = {
        "phone": _PHONES.get(country, _PHONES["US"]),
        "email": "ana@example.com",
        "postal_code": code,
        "state": state or "TX",
        "country": country,
        "boolean": True,
        "date": "1984-05-17",
        "datetime": "2026-11-20T09:30:00Z",
        "url": "https://example.com/page",
        "ip": "203.0.113.9",
    }
    if terms.one_of:
        return terms.one_of[0]
    if terms.type in ("integer", "number"):
        return _number(name, terms)
    return by_type.get(terms.type) or _text(name, terms)


def _number(name: str, terms: FieldTerms) -> float | int:
    low, high = terms.min, terms.max
    likely = {"credit_score": 720, "roof_age": 12, "monthly_bill": 180, "vehicle_year": 2019}.get(name, 5)
    value = likely if low is None else max(likely, low)
    value = value if high is None else min(value, high)
    return int(value) if terms.type == "integer" else float(value)


def _text(name: str, terms: FieldTerms) -> str:
    text = _TEXTS.get(name, f"some {name.replace('_', ' ')}")
    if terms.min_length is not None:
        text = text.ljust(terms.min_length, "x")
    return text if terms.max_length is None else text[: terms.max_length]


def example_body(lead_type: LeadType, *, country: str = "US", sellers: tuple[str, ...] = ()) -> dict[str, Any]:
    """A lead as JSON: every field of the type, consent in full."""
    fields = {name: example_value(name, terms, country=country) for name, terms in lead_type.fields.items()}
    consent = CONSENT | {"sellers": list(sellers or ("Example Energy",))}
    return {
        "lead_type": lead_type.id,
        "external_id": "your-id-1",
        "submitted_at": SUBMITTED_AT,
        "fields": fields,
        "consent": consent,
    }

"""A made-up person's lead that fits a lead type: what samples are made of. No number in it can ring anywhere.

Phones are of the range that is kept free for fiction (555-01xx), addresses of the domain that is (example.com).
"""

from typing import Any, Final

from msgspec import structs

from router.core.intake.lead import build_lead, compile_schema
from router.core.intake.refusal import LeadInvalid
from router.model.lead import Lead
from router.terms.schema import Contract, Criterion, FieldTerms, LeadType, Source

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
_RECEIVED_AT_NS: Final = 1_795_453_200_000_000_000  # 2026-11-23T17:00:00Z
LEAD_ID: Final = "01939b2e-7a40-7c11-8d3c-5a1f0e9b2c10"
DELIVERY_ID: Final = "01939b2e-7a52-7f0e-9a44-2b7d8c6e1f03"


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


def example_lead(lead_type: LeadType, *, country: str, wanted: Contract | None = None) -> Lead:
    """The same lead as routing knows it, made to meet a contract's plain criteria and consent where it can."""
    names = wanted.consent.names_seller if wanted is not None and wanted.consent is not None else None
    body = example_body(lead_type, country=country, sellers=(names,) if names else ())
    for node in wanted.criteria if wanted is not None else ():
        _meet(body["fields"], node, lead_type)
    schema = structs.replace(compile_schema(lead_type, country=country), required=frozenset())
    source = Source(id="example-source", lead_types=(lead_type.id,))
    while True:
        try:
            return build_lead(body, {lead_type.id: schema}, source, lead_id=LEAD_ID, received_at_ns=_RECEIVED_AT_NS)
        except LeadInvalid as refused:  # a pattern nobody can make up a value for: the sample goes without it
            wrong = [error.field.rpartition(".")[2] for error in refused.errors]
            if not any(body["fields"].pop(name, None) is not None for name in wrong):
                raise


def _meet(fields: dict[str, Any], node: Criterion, lead_type: LeadType) -> None:
    """Give a field the value that a leaf asks for; trees are met by their first part."""
    for part in node.all_ or (node.any_ or ())[:1]:
        _meet(fields, part, lead_type)
    name = node.field_
    if name is None or name not in lead_type.fields:
        return
    if node.equals is not None:
        fields[name] = node.equals
    elif node.one_of:
        fields[name] = node.one_of[0]
    elif isinstance(node.min, int | float) and not isinstance(node.min, bool):
        fields[name] = max(fields.get(name) or node.min, node.min)
    elif isinstance(node.max, int | float) and not isinstance(node.max, bool):
        fields[name] = min(fields.get(name) or node.max, node.max)

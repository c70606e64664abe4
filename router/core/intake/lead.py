"""A read body -> a Lead, or every reason why it is none.

Two shapes are taken. Nested: what the lead is about stands in `fields`, and a top-level name that is not known is a
mistake. Flat (no `fields`): every name that is not reserved is a field, as vendors' forms post them. In both, a
source's `map` renames fields first, and errors name the field that is meant.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from router.core.intake.consent import CLOCK_SKEW_NS, IGNORED_NAMES, read_consent
from router.core.intake.fields import compile_field
from router.core.intake.refusal import FieldError, LeadInvalid, Wrong, shown_name
from router.core.intake.values import Read, read_boolean, read_country, read_instant, read_integer, read_text
from router.model.lead import Lead, Value
from router.terms.flat_names import BESIDE_FIELDS, FLAT_NAMES
from router.terms.postal import country_of_code
from router.terms.schema import LeadType, Source

RESERVED: Final = BESIDE_FIELDS | {"fields", "consent"}
_EXTERNAL_ID_MAX: Final = 255
_NOTHING: Final[Mapping[str, Any]] = {}
_KNOWN_ON_TOP: Final = RESERVED | FLAT_NAMES.keys() | IGNORED_NAMES


class IntakeSchema(Struct, frozen=True):
    """A lead type as intake sees it. `country` (alpha-2) is where a lead is that does not say; see `compile_schema`."""

    lead_type: str
    country: str
    reads: dict[str, Read]
    required: frozenset[str]
    country_field: str | None
    unknown_fields: str


def compile_schema(lead_type: LeadType, *, country: str) -> IntakeSchema:
    """What `build_lead` needs of a lead type. `country`: `[defaults].country`.

    A lead's own field of type `country` (the one named so, else the first) says where its postal code, state and phone
    number are.
    """
    countries = [name for name, terms in lead_type.fields.items() if terms.type == "country"]
    return IntakeSchema(
        lead_type=lead_type.id,
        country=country,
        reads={name: compile_field(terms) for name, terms in lead_type.fields.items()},
        required=frozenset(name for name, terms in lead_type.fields.items() if terms.required),
        country_field="country" if "country" in countries else next(iter(countries), None),
        unknown_fields=lead_type.unknown_fields,
    )


def build_lead(
    body: Mapping[str, Any],
    schemas: Mapping[str, IntakeSchema],
    source: Source,
    *,
    lead_id: str,
    received_at_ns: int,
    default_country: str | None = None,
) -> Lead:
    """A parsed body -> the Lead, normalised. `default_country` overrides the one of the schema.

    Raises LeadInvalid with every field at fault; its status is 403, code `lead_type_not_allowed`, when the source may
    not send leads of this type. A source with one lead type need not name it.
    """
    if source.map:
        body = _renamed(body, source.map)
    schema = _schema_of(body.get("lead_type"), schemas, source)
    errors: list[FieldError] = []
    incoming, consent_parts = _parts(body, schema, errors)
    country = _country(incoming, schema, default_country)
    fields = _read_fields(incoming, schema, country, errors)
    consent = read_consent(
        consent_parts,
        received_at_ns=received_at_ns,
        refuse_unknown=schema.unknown_fields == "refuse",
        errors=errors,
    )
    submitted_at_ns = _submitted_at(body.get("submitted_at"), received_at_ns, errors)
    external_id = _external_id(body.get("external_id"), errors)
    test = _test(body.get("test"), errors)
    if errors:
        raise LeadInvalid(errors)
    return Lead(
        lead_id=lead_id,
        lead_type=schema.lead_type,
        source_id=source.id,
        received_at_ns=received_at_ns,
        submitted_at_ns=submitted_at_ns,
        fields=fields,
        country=country,
        consent=consent,
        external_id=external_id,
        test=test,
    )


def _renamed(body: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    """The body with a source's names for fields replaced by ours: those in `fields`, or those of a flat body."""
    inner: Any = body.get("fields")
    nested = type(inner) is dict
    given: Mapping[str, Any] = inner if nested else body
    if names.keys().isdisjoint(given):
        return body
    errors: list[FieldError] = []
    renamed: dict[str, Any] = {}
    for name, value in given.items():
        ours = names.get(name, name)
        if not _put(renamed, ours, value):
            errors.append(_conflict(f"fields.{ours}" if nested else _flat_path(ours)))
    if errors:
        raise LeadInvalid(errors)
    return {**body, "fields": renamed} if nested else renamed


def _put(into: dict[str, Any], name: str, value: Any) -> bool:
    """Give a name its value; False when it has another one already. An empty one says nothing."""
    before = into.get(name)
    if before is None or before == "":
        into[name] = value
        return True
    return value is None or value == "" or (type(value) is type(before) and value == before)


def _conflict(path: str) -> FieldError:
    return FieldError(shown_name(path), "conflict", "is given under two names with different values")


def _flat_path(name: str) -> str:
    if name in RESERVED:
        return name
    return f"consent.{FLAT_NAMES[name]}" if name in FLAT_NAMES else f"fields.{name}"


def _schema_of(name: Any, schemas: Mapping[str, IntakeSchema], source: Source) -> IntakeSchema:
    if (name is None or name == "") and len(source.lead_types) == 1:
        name = source.lead_types[0]
    if name is None or name == "":
        raise LeadInvalid([FieldError("lead_type", "required", "is missing")])
    if type(name) is not str:
        raise LeadInvalid([FieldError("lead_type", "wrong_type", "is not text")])
    schema = schemas.get(name.strip())
    if schema is None:
        raise LeadInvalid([FieldError("lead_type", "unknown", "is not a lead type known here")])
    if source.lead_types and schema.lead_type not in source.lead_types:
        raise LeadInvalid(
            [FieldError("lead_type", "not_allowed", "is one this source may not send")],
            status=403,
            code="lead_type_not_allowed",
            detail="This source may not send leads of this type.",
        )
    return schema


def _parts(
    body: Mapping[str, Any], schema: IntakeSchema, errors: list[FieldError]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The fields and the parts of consent, out of either shape."""
    consent = _object(body.get("consent"), "consent", errors)
    if "fields" not in body:
        return _flat_parts(body, schema, consent, errors)
    if not body.keys() <= RESERVED:
        consent = _with_flat_consent(body, consent, errors)
        if schema.unknown_fields == "refuse":
            errors.extend(_unknown(name, name) for name in body if name not in _KNOWN_ON_TOP)
    return _object(body["fields"], "fields", errors), consent


def _flat_parts(
    body: Mapping[str, Any], schema: IntakeSchema, consent: Mapping[str, Any], errors: list[FieldError]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    fields = {
        name: value
        for name, value in body.items()
        if name not in _KNOWN_ON_TOP or (name in schema.reads and name not in RESERVED)
    }
    return fields, _with_flat_consent(body, consent, errors)


def _with_flat_consent(
    body: Mapping[str, Any], consent: Mapping[str, Any], errors: list[FieldError]
) -> Mapping[str, Any]:
    parts = dict(consent)
    for name in body.keys() & FLAT_NAMES.keys():
        key = FLAT_NAMES[name]
        if not _put(parts, key, body[name]):
            errors.append(_conflict(f"consent.{key}"))
    return parts


def _object(raw: Any, name: str, errors: list[FieldError]) -> Mapping[str, Any]:
    if raw is None or raw == "":
        return _NOTHING
    if type(raw) is dict:
        return raw
    errors.append(FieldError(name, "wrong_type", "is not an object"))
    return _NOTHING


def _country(fields: Mapping[str, Any], schema: IntakeSchema, default: str | None) -> str:
    """The lead's own country where it gives a good one; a bad one is reported where the fields are read.

    Where it names none its postal code tells: no code fits two countries.
    """
    try:
        own = read_country(fields.get(schema.country_field, "")) if schema.country_field else None
    except Wrong:
        own = None
    assumed = own or default or schema.country
    code = fields.get("postal_code")
    return assumed if own or type(code) is not str else country_of_code(code, assumed)


def _read_fields(
    incoming: Mapping[str, Any], schema: IntakeSchema, country: str, errors: list[FieldError]
) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    at_fault: set[str] = set()
    reads = schema.reads
    for name, raw in incoming.items():
        read = reads.get(name)
        if read is None:
            if schema.unknown_fields == "refuse":
                errors.append(_unknown(f"fields.{name}", name))
            if schema.unknown_fields != "keep":
                continue
            read = _as_it_came
        if raw is None or raw == "":
            continue
        try:
            value = read(raw, country)
        except Wrong as wrong:
            errors.append(FieldError(f"fields.{shown_name(name)}", wrong.code, wrong.message))
            at_fault.add(name)
            continue
        if value is not None:
            fields[name] = value
    if schema.required <= fields.keys():
        return fields
    for name in sorted(schema.required - fields.keys() - at_fault):
        errors.append(FieldError(f"fields.{name}", "required", "is missing"))
    return fields


def _as_it_came(raw: Any, _country: str) -> Value | None:
    """A field the lead type does not know and keeps: text, number or boolean."""
    if type(raw) is str:
        return raw.strip() or None
    if type(raw) is int:
        return read_integer(raw)
    if type(raw) is bool or type(raw) is float:
        return raw
    raise Wrong("wrong_type", "is neither text nor a number nor true or false")


def _unknown(path: str, name: str) -> FieldError:
    return FieldError(shown_name(path), "unknown_field", f"{shown_name(name)} is not a field of this lead type")


def _submitted_at(raw: Any, received_at_ns: int, errors: list[FieldError]) -> int:
    """When the consumer sent it, by the source's clock; never later than we received it."""
    try:
        submitted = None if raw is None else read_instant(raw)
    except Wrong as wrong:
        errors.append(FieldError("submitted_at", wrong.code, wrong.message))
        return received_at_ns
    if submitted is None:
        return received_at_ns
    if submitted > received_at_ns + CLOCK_SKEW_NS:
        errors.append(FieldError("submitted_at", "in_future", "lies more than 5 minutes ahead"))
    return min(submitted, received_at_ns)


def _external_id(raw: Any, errors: list[FieldError]) -> str | None:
    """The source's own id; a whole number is one as well as text."""
    if raw is None:
        return None
    try:
        text = str(raw) if type(raw) is int else read_text(raw)
    except Wrong as wrong:
        errors.append(FieldError("external_id", wrong.code, wrong.message))
        return None
    if text is not None and len(text) > _EXTERNAL_ID_MAX:
        errors.append(FieldError("external_id", "too_long", f"is longer than {_EXTERNAL_ID_MAX} characters"))
    return text


def _test(raw: Any, errors: list[FieldError]) -> bool:
    try:
        return raw is not None and read_boolean(raw) is True
    except Wrong as wrong:
        errors.append(FieldError("test", wrong.code, wrong.message))
        return False

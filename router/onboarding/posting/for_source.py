"""What a source must send, from the lead types it may send and the contracts that would take its leads.

A source is told how many buyers want something, never who; but for the names that consumers must be shown, since
consent without them reaches nobody who asks for it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from router.model.money import format_money
from router.model.times import format_duration
from router.onboarding.posting.document import Block, Document, Heading, Sample, Text, bullets, table
from router.onboarding.posting.example import example_body, example_value
from router.terms.schema import Contract, FieldTerms, LeadType, Source, Terms

#: Statuses of a lead, as an answer has them.
_STATUSES: Final = (
    ("sold", "201", "somebody bought it; `payout` is what you earn"),
    (
        "unsold",
        "201",
        "nobody did; `reason` says why: `no_coverage`, `no_eligible_contract`, `all_declined`, `deadline`",
    ),
    ("duplicate", "201", "we have this person already; nothing is paid"),
    ("in_doubt", "201", "a buyer's answer was lost; it is settled later"),
    ("expired", "201", "it waited too long"),
    ("routing, queued", "202", "taken and on its way: ask again with `GET /v1/leads/{lead_id}`"),
)
#: Problems that a source can meet, in the order of the reference.
_OURS: Final = (
    "not_json", "not_form", "too_deep", "idempotency_key_invalid", "idempotency_key_required", "unauthorized",
    "source_paused", "lead_type_not_allowed", "idempotency_key_in_use", "too_large", "unsupported_media_type",
    "lead_invalid", "unknown_field", "duplicate_key", "control_character", "idempotency_key_reused",
    "source_rate_limited", "source_cap_reached", "overloaded", "draining", "ledger_unavailable",
)  # fmt: skip
_CERTIFICATES: Final = {
    "trustedform": "an address under `https://cert.trustedform.com/` that ends in 40 hexadecimal digits or more",
    "jornaya": "a GUID of 36 characters",
}
_CONSENT: Final = (
    ("given_at", "`consent_given_at`", "when, RFC 3339 with a zone"),
    ("text", "`consent_text`", "the words the consumer agreed to"),
    ("url", "`consent_url`", "the page it was given on"),
    ("ip", "`consent_ip`", "the consumer's address"),
    ("trustedform_cert_url", "`xxTrustedFormCertUrl`", "a TrustedForm certificate"),
    ("jornaya_lead_id", "`universal_leadid`", "a Jornaya LeadiD"),
    ("sellers", "`consent_sellers`", "who may call: a list, or names with `;` between them"),
)


def source_document(source: Source, terms: Terms, *, url: str, problems: Mapping[str, tuple[int, str]]) -> Document:
    """The specification for one source. `url` is where it reaches us, `problems` the table of codes."""
    kinds = [
        terms.lead_types[name] for name in source.lead_types or sorted(terms.lead_types) if name in terms.lead_types
    ]
    country = terms.router.defaults.country
    blocks: list[Block] = [
        Text(
            "One lead is one `POST`. It is stored before you are answered, so 201 and 202 mean that we have it. Times"
            f" are RFC 3339, money is decimal text in {terms.router.defaults.currency}."
        ),
        *_address(source, terms, url),
        *(block for kind in kinds for block in _lead_type(source, kind, terms, country)),
        *_consent(source, kinds, terms),
        *_samples(source, kinds, url, country),
        *_answers(source, kinds),
        *_errors(problems),
        *_repeats(source),
        *_limits(source, kinds, terms),
        *_tests(),
    ]
    return Document(f"Posting leads: {source.id}", tuple(blocks))


def _address(source: Source, terms: Terms, url: str) -> Iterator[Block]:
    yield Heading(2, "Where and how")
    rows = [
        ("One lead", f"`POST {url}/v1/leads`, `application/json` or `application/x-www-form-urlencoded`, UTF-8"),
        ("Many", f"`POST {url}/v1/leads:batch`, `application/x-ndjson`: one lead a line, at most 10,000"),
        ("How it stands", f"`GET {url}/v1/leads/{{lead_id}}`"),
        ("Who you are", "`Authorization: Bearer YOUR_TOKEN`; keep the token out of pages and logs"),
        ("Size", f"a lead has at most {terms.router.server.body_max}"),
    ]
    if source.adapter != "native":
        rows.append(("Adapter", f"`{url}/v1/inbound/{source.id}` understands {source.adapter}"))
    yield table(("", ""), rows)


# -- fields --------------------------------------------------------------------------------------


def _lead_type(source: Source, kind: LeadType, terms: Terms, country: str) -> Iterator[Block]:
    yield Heading(2, f"Fields of `{kind.id}`")
    asked, buyers = _asked_for(source, kind, terms)
    named = {ours: theirs for theirs, ours in source.map.items()}
    rows = [
        (
            f"`{name}`" + (f", or `{named[name]}`" if name in named else ""),
            field.type,
            "**yes**" if field.required else _wanted(asked[name], buyers),
            _constraints(field),
            f"`{_shown(example_value(name, field, country=country))}`",
        )
        for name, field in kind.fields.items()
    ]
    yield table(("field", "type", "needed", "must be", "example"), rows)
    unknown = {
        "refuse": "A field that is not in this table is an error, so that a misspelt one shows at once.",
        "drop": "A field that is not in this table is passed over.",
        "keep": "A field that is not in this table is kept as it comes.",
    }
    yield Text(f"{unknown[kind.unknown_fields]} Empty text and null are missing.")


def _asked_for(source: Source, kind: LeadType, terms: Terms) -> tuple[Counter[str], int]:
    """How many of the buyers who take this source's leads need each field; and how many those buyers are."""
    needs: dict[str, set[str]] = {}
    for contract in _takers(source, kind, terms):
        needs.setdefault(contract.id, set()).update(contract.fields.required)
        needs[contract.id].update(_named_in(contract))
    return Counter(name for names in needs.values() for name in names), len(needs)


def _takers(source: Source, kind: LeadType, terms: Terms) -> Iterator[Contract]:
    for buyer in terms.buyers.values():
        for contract in buyer.contracts:
            takes = (
                "*" in contract.sources or source.id in contract.sources
            ) and source.id not in contract.exclude_sources
            if buyer.status == contract.status == "live" and contract.lead_type == kind.id and takes:
                yield contract


def _named_in(contract: Contract) -> Iterator[str]:
    """Fields of top-level criteria: without them a lead fails."""
    for node in contract.criteria:
        if node.field_ is not None and node.missing == "fail":
            yield node.field_


def _wanted(asked: int, buyers: int) -> str:
    if not asked:
        return "no"
    return "no, but all who buy ask for it" if asked == buyers else f"no, but {asked} of {buyers} who buy ask for it"


def _constraints(field: FieldTerms) -> str:
    said = []
    if field.one_of:
        said.append("one of " + ", ".join(f"`{one}`" for one in field.one_of))
    if field.min is not None or field.max is not None:
        said.append(f"{_or_any(field.min)} to {_or_any(field.max)}")
    if field.min_length is not None or field.max_length is not None:
        said.append(f"{_or_any(field.min_length or 0)} to {_or_any(field.max_length)} characters")
    if field.pattern is not None:
        said.append(f"as a whole matching `{field.pattern}`")
    if field.line_types:
        said.append("a line of type " + ", ".join(field.line_types))
    said.append(_FORMS.get(field.type, ""))
    return "; ".join(filter(None, said))


_FORMS: Final = {
    "phone": "any usual spelling, no letters or extension",
    "postal_code": "a whole code, as text: a leading zero must be there",
    "state": "two letters, or the name",
    "country": "two letters",
    "boolean": "true or false (yes, no, 1, 0 too)",
    "date": "YYYY-MM-DD",
    "datetime": "RFC 3339 with a zone",
    "url": "absolute http or https",
}


def _or_any(limit: float | None) -> str:
    return "any" if limit is None else f"{limit:g}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


# -- consent -------------------------------------------------------------------------------------


def _consent(source: Source, kinds: Iterable[LeadType], terms: Terms) -> Iterator[Block]:
    yield Heading(2, "Consent")
    yield Text(
        "Send it as the object `consent`, or beside the fields of a flat body under the name in the second column."
        " `given_at` may lie at most 5 minutes in the future."
    )
    yield table(
        ("in `consent`", "in a flat body", "what"), [(f"`{name}`", flat, what) for name, flat, what in _CONSENT]
    )
    asked = [line for kind in kinds for line in _consent_asked(source, kind, terms)]
    if asked:
        yield Text("Who buys asks for this; a lead without it reaches fewer of them:")
        yield bullets(asked)


def _consent_asked(source: Source, kind: LeadType, terms: Terms) -> Iterator[str]:
    takers = list(_takers(source, kind, terms))
    wants = [contract.consent for contract in takers if contract.consent is not None]
    of = f"of {len(takers)} for `{kind.id}`"
    if needed := sum(one.required for one in wants):
        yield f"{needed} {of}: consent at all"
    if texts := sum(one.text for one in wants):
        yield f"{texts} {of}: the text"
    for name, form in _CERTIFICATES.items():
        if asked := sum(name in one.certificates for one in wants):
            yield f"{asked} {of}: {name} (or another one they take): {form}"
    ages = [one.max_age for one in wants if one.max_age is not None]
    if ages:
        yield f"{len(ages)} {of}: given at most {format_duration(min(ages))} before the lead reaches us (the shortest)"
    sellers = sorted({one.names_seller for one in wants if one.names_seller is not None})
    if sellers:
        yield f"{sum(one.names_seller is not None for one in wants)} {of}: `sellers` names them: {', '.join(sellers)}"


# -- samples -------------------------------------------------------------------------------------


def _samples(source: Source, kinds: Iterable[LeadType], url: str, country: str) -> Iterator[Block]:
    yield Heading(2, "Examples")
    for kind in kinds:
        body = example_body(kind, country=country)
        yield Text(f"A lead of type `{kind.id}` as JSON:")
        yield Sample(_curl(source, url, "application/json", json.dumps(body, indent=2, ensure_ascii=False)), "sh")
        yield Text("The same as a form:")
        yield Sample(_curl(source, url, "application/x-www-form-urlencoded", _form(source, body)), "sh")


def _curl(source: Source, url: str, kind: str, data: str) -> str:
    lines = [
        f"curl {url}/v1/leads",
        "-H 'Authorization: Bearer YOUR_TOKEN'",
        f"-H 'Content-Type: {kind}'",
        *(["-H 'Idempotency-Key: your-id-1'"] if source.idempotency == "required" else []),
        "-d '" + data.replace("'", "'\\''") + "'",
    ]
    return " \\\n  ".join(lines)


def _form(source: Source, body: Mapping[str, Any]) -> str:
    named = {ours: theirs for theirs, ours in source.map.items()}
    flat = {name: body[name] for name in ("lead_type", "external_id", "submitted_at")}
    flat |= {named.get(name, name): _form_value(value) for name, value in body["fields"].items()}
    flat |= {f"consent_{name}": _form_value(value) for name, value in body["consent"].items()}
    return urlencode(flat)


def _form_value(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


# -- answers, errors, limits ---------------------------------------------------------------------


def _answers(source: Source, kinds: Iterable[LeadType]) -> Iterator[Block]:
    yield Heading(2, "Answers")
    if source.reply == "final":
        yield Text(
            f"You are answered when the sale is over, at the latest after {format_duration(source.wait)}."
            " `Prefer: respond-async` answers at once, `Prefer: wait=5` after at most 5 seconds."
        )
    else:
        yield Text("You are answered as soon as the lead is stored, with 202; `Prefer: wait=5` waits for the sale.")
    sample = {"lead_id": "01939b2e-…", "status": "sold", "copies": 1, "payout": _payout_sample(source), "reason": None,
              "redirect_url": None}  # fmt: skip
    yield Sample(json.dumps(sample, ensure_ascii=False), "json")
    yield table(("status", "HTTP", "means"), [(f"`{name}`", http, what) for name, http, what in _STATUSES])
    yield Text("Where `redirect_url` is not null, send the visitor's browser there.")
    rows = []
    for kind in kinds:
        payout = source.payout.get(kind.id)
        said = "nothing is agreed" if payout is None else f"{format_money(payout.amount)} {_PER[payout.per]}"
        rows.append((f"`{kind.id}`", said))
    yield table(("lead type", "we pay"), rows)


_PER: Final = {"accepted_lead": "for each lead that is sold", "sold_copy": "for each copy that is sold"}


def _payout_sample(source: Source) -> str:
    return next((format_money(payout.amount) for payout in source.payout.values()), "0.00")


def _errors(problems: Mapping[str, tuple[int, str]]) -> Iterator[Block]:
    yield Heading(2, "Errors")
    yield Text(
        "An error is `application/problem+json` with `status`, `code`, `detail` and, where fields are at fault,"
        " `errors: [{field, code, message}]`. After any 4xx or 5xx we have nothing: send it again where that helps,"
        " after `Retry-After` where it is given."
    )
    rows = [(str(problems[code][0]), f"`{code}`", problems[code][1]) for code in _OURS if code in problems]
    yield table(("HTTP", "code", "means"), sorted(rows, key=lambda row: row[0]))
    sample = {
        "type": "urn:lead-router:problem:lead_invalid",
        "title": problems["lead_invalid"][1],
        "status": 422,
        "code": "lead_invalid",
        "errors": [{"field": "fields.phone", "code": "invalid", "message": "is not a phone number"}],
    }
    yield Sample(json.dumps(sample, indent=2), "json")


def _repeats(source: Source) -> Iterator[Block]:
    yield Heading(2, "Sending again")
    needed = "must" if source.idempotency == "required" else "may"
    yield bullets(
        (
            f"You {needed} send `Idempotency-Key` (1 to 255 visible characters, one for each lead). The same key"
            " with the same body within 7 days gets the first answer again, byte for byte, and"
            " `Idempotent-Replayed: true`.",
            "The same key with another body is 422, while the first is being worked on 409 with `Retry-After`.",
            "Without a key, the same `external_id` within 7 days is the same lead: you get how it stands.",
            "So after a timeout or a lost connection, send exactly the same again.",
        )
    )


def _limits(source: Source, kinds: Iterable[LeadType], terms: Terms) -> Iterator[Block]:
    yield Heading(2, "Limits")
    rate = source.rate
    lines = [
        ""
        if rate is None
        else f"{rate.leads} leads a {rate.per}, at most {rate.burst or rate.leads} at once; more is 429",
        *(
            f"{cap.limit} leads a {cap.per}"
            if cap.limit is not None
            else f"{format_money(cap.spend or 0)} of payout a {cap.per}"
            for cap in source.caps
        ),
    ]
    for kind in kinds:
        if kind.max_age is not None:
            lines.append(f"`{kind.id}`: at most {format_duration(kind.max_age)} old, counted from `submitted_at`")
        if kind.dedup is not None:
            keys = " or ".join(" and ".join(names) for names in kind.dedup.keys)
            lines.append(f"`{kind.id}`: the same {keys} within {format_duration(kind.dedup.window)} is a duplicate")
    yield bullets(lines) if any(lines) else Text("None are agreed.")


def _tests() -> Iterator[Block]:
    yield Heading(2, "Trying it out")
    yield Text(
        '`"test": true` beside `lead_type` makes a lead a test: it is judged and answered like any other, goes to the'
        " buyers' test addresses only, is paid by nobody and counts for nothing."
    )

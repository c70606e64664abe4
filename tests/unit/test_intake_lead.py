"""From a parsed body to a Lead: both shapes, every type, every limit, and all faults at once."""

import json
from typing import Any

import pytest

from router.core.intake import IntakeSchema, LeadInvalid, build_lead, compile_schema, parse_form, parse_json
from router.model.lead import Consent, Lead
from router.model.times import NS_MINUTE, NS_S, parse_instant
from router.terms.schema import FieldTerms, LeadType, Source

NOW = parse_instant("2026-11-23T17:00:05Z")
FIELDS = {
    "first_name": FieldTerms(type="string", required=True),
    "phone": FieldTerms(type="phone", required=True),
    "email": FieldTerms(type="email"),
    "postal_code": FieldTerms(type="postal_code", required=True),
    "roof_age": FieldTerms(type="integer", min=0, max=120),
    "homeowner": FieldTerms(type="boolean"),
}
MINIMAL = {"first_name": "Ana", "phone": "(512) 555-0147", "postal_code": "78701"}


def schemas(fields: dict[str, FieldTerms] | None = None, **more: Any) -> dict[str, IntakeSchema]:
    """One lead type, `solar`."""
    return {"solar": compile_schema(LeadType(id="solar", fields=fields or FIELDS, **more), country="US")}


def source(**more: Any) -> Source:
    """A source that may send solar leads."""
    return Source(id="acme", **{"lead_types": ("solar",), **more})


def build(body: dict[str, Any], known: dict[str, IntakeSchema] | None = None, sender: Source | None = None) -> Lead:
    """The lead of a body."""
    return build_lead(body, known or schemas(), sender or source(), lead_id="L1", received_at_ns=NOW)


def faults(body: dict[str, Any], known: dict[str, IntakeSchema] | None = None, sender: Source | None = None) -> Any:
    """(field, code) of every fault of a body, in order."""
    with pytest.raises(LeadInvalid) as caught:
        build(body, known, sender)
    return [(error.field, error.code) for error in caught.value.errors]


def one(terms: FieldTerms, raw: Any, **others: Any) -> Any:
    """What one field `x` becomes; None when it is missing."""
    fields = {"x": terms, "country": FieldTerms(type="country")}
    return build({"fields": {"x": raw, **others}}, schemas(fields)).fields.get("x")


def fault(terms: FieldTerms, raw: Any, **others: Any) -> str:
    """The code one field `x` is refused with."""
    fields = {"x": terms, "country": FieldTerms(type="country")}
    [(field, code)] = faults({"fields": {"x": raw, **others}}, schemas(fields))
    assert field == "fields.x"
    return str(code)


# -- shapes ---------------------------------------------------------------------------------------------


def test_the_nested_form() -> None:
    """Everything of the documented body lands where it belongs, normalised."""
    lead = build(
        {
            "lead_type": "solar", "external_id": "a-1", "submitted_at": "2026-11-23T17:00:00Z", "test": True,
            "fields": {**MINIMAL, "email": "Ana@Example.com", "roof_age": "12", "homeowner": "Yes"},
            "consent": {
                "given_at": "2026-11-23T16:59:58Z", "text": "I agree", "url": "https://a.example/f",
                "ip": "203.0.113.9", "trustedform_cert_url": "https://cert.trustedform.com/x", "jornaya_lead_id": "y",
                "sellers": ["BrightRoof Energy", " SunPeak "],
            },
        }
    )  # fmt: skip
    assert lead == Lead(
        lead_id="L1", lead_type="solar", source_id="acme", received_at_ns=NOW, submitted_at_ns=NOW - 5 * NS_S,
        fields={
            "first_name": "Ana", "phone": "+15125550147", "postal_code": "78701", "email": "ana@example.com",
            "roof_age": 12, "homeowner": True,
        },
        country="US",
        consent=Consent(
            given_at_ns=NOW - 7 * NS_S, text="I agree", url="https://a.example/f", ip="203.0.113.9",
            trustedform_cert_url="https://cert.trustedform.com/x", jornaya_lead_id="y",
            sellers=("BrightRoof Energy", "SunPeak"),
        ),
        external_id="a-1", test=True,
    )  # fmt: skip


def test_the_flat_form_is_the_same_lead() -> None:
    """A vendor's form with the scripts' own hidden fields gives what the nested JSON gives."""
    form = parse_form(
        b"lead_type=solar&external_id=a-1&submitted_at=2026-11-23T17%3A00%3A00Z&test=1&first_name=Ana"
        b"&phone=%28512%29+555-0147&postal_code=78701&roof_age=12&homeowner=no"
        b"&consent_given_at=2026-11-23T16%3A59%3A58Z&consent_text=I%0D%0Aagree&consent_url=https%3A%2F%2Fa.example%2Ff"
        b"&consent_ip=203.0.113.9&xxTrustedFormCertUrl=t&universal_leadid=y&consent_sellers=A%3B+B%2C+Inc."
        b"&xxTrustedFormPingUrl=p&xxTrustedFormToken=k"
    )
    nested = {
        "lead_type": "solar", "external_id": "a-1", "submitted_at": "2026-11-23T17:00:00Z", "test": True,
        "fields": {**MINIMAL, "roof_age": 12, "homeowner": False},
        "consent": {
            "given_at": "2026-11-23T16:59:58Z", "text": "I\r\nagree", "url": "https://a.example/f", "ip": "203.0.113.9",
            "trustedform_cert_url": "t", "jornaya_lead_id": "y", "sellers": ["A", "B, Inc."],
        },
    }  # fmt: skip
    assert build(form) == build(nested)


@pytest.mark.parametrize("name", ["universal_leadid", "leadid_token", "jornaya_leadid", "jornaya_lead_id"])
def test_every_name_of_a_leadid_is_understood(name: str) -> None:
    """In a flat body, and beside `fields`."""
    for body in ({**MINIMAL, name: "y"}, {"fields": MINIMAL, name: "y"}):
        consent = build(body).consent
        assert consent is not None
        assert consent.jornaya_lead_id == "y"


def test_missing_is_null_or_empty() -> None:
    """Empty text, white space and null are the same as not given: in fields, in consent, on top."""
    lead = build(
        {
            "lead_type": "", "external_id": None, "submitted_at": "", "test": None, "consent": {"text": " ", "ip": ""},
            "fields": {**MINIMAL, "email": "", "roof_age": None, "homeowner": "  "},
        }
    )  # fmt: skip
    assert set(lead.fields) == set(MINIMAL)
    assert (lead.consent, lead.external_id, lead.submitted_at_ns, lead.test) == (None, None, NOW, False)
    assert faults({"fields": {**MINIMAL, "first_name": "  "}}) == [("fields.first_name", "required")]
    assert build({"fields": MINIMAL, "consent": None}).consent is None


def test_all_faults_at_once() -> None:
    """Fields, unknown ones, consent and the top level are judged together; required ones not twice."""
    assert faults(
        {
            "fields": {"phone": 5, "postal_code": "2134", "roof_age": "x", "foo": 1},
            "consent": {"given_at": "yesterday", "bar": 1},
            "submitted_at": "2026-11-23",
            "external_id": ["a"],
            "test": "maybe",
            "extra": 1,
        }
    ) == [
        ("extra", "unknown_field"),
        ("fields.phone", "wrong_type"),
        ("fields.postal_code", "invalid"),
        ("fields.roof_age", "invalid"),
        ("fields.foo", "unknown_field"),
        ("fields.first_name", "required"),
        ("consent.given_at", "invalid"),
        ("consent.bar", "unknown_field"),
        ("submitted_at", "invalid"),
        ("external_id", "wrong_type"),
        ("test", "invalid"),
    ]


def test_no_fault_repeats_a_value() -> None:
    """Neither message nor detail holds what was sent."""
    secret = "zq-5125550199"
    with pytest.raises(LeadInvalid) as caught:
        build({"fields": dict.fromkeys(FIELDS, secret), "consent": {"ip": secret, "url": secret, "given_at": secret}})
    said = json.dumps([[error.field, error.message] for error in caught.value.errors]) + caught.value.detail
    assert len(caught.value.errors) >= 8
    assert "5125550199" not in said


def test_errors_are_bounded_and_names_are_shortened() -> None:
    """Thousands of unknown fields with huge names make a short answer."""
    with pytest.raises(LeadInvalid) as caught:
        build({"fields": {f"{'n' * 500}{number}": 1 for number in range(5000)}})
    assert len(caught.value.errors) == 100
    assert all(len(error.field) < 120 for error in caught.value.errors)


def test_objects_where_text_belongs() -> None:
    """`fields` and `consent` must be objects, values must be scalars."""
    assert faults({"fields": "x"})[0] == ("fields", "wrong_type")
    assert faults({"fields": MINIMAL, "consent": []}) == [("consent", "wrong_type")]
    assert faults({"fields": {**MINIMAL, "first_name": {}}}) == [("fields.first_name", "wrong_type")]
    assert faults({"fields": {**MINIMAL, "roof_age": []}}) == [("fields.roof_age", "wrong_type")]


# -- lead type ------------------------------------------------------------------------------------------


def test_a_source_with_one_lead_type_need_not_name_it() -> None:
    """With several it must."""
    assert build(dict(MINIMAL)).lead_type == "solar"
    assert faults(dict(MINIMAL), sender=source(lead_types=("solar", "roof"))) == [("lead_type", "required")]


def test_unknown_and_forbidden_lead_types() -> None:
    """A name nobody knows is a fault of the body (422), one the source may not send is 403."""
    assert faults({"lead_type": "boats"}) == [("lead_type", "unknown")]
    assert faults({"lead_type": 5}) == [("lead_type", "wrong_type")]
    with pytest.raises(LeadInvalid) as caught:
        build({"lead_type": "solar", **MINIMAL}, sender=source(lead_types=("roof",)))
    assert (caught.value.status, caught.value.code) == (403, "lead_type_not_allowed")


# -- unknown fields and renaming ------------------------------------------------------------------------


def test_unknown_fields_are_refused_dropped_or_kept() -> None:
    """As the lead type says; what is kept is text, number or boolean."""
    body = {"fields": {**MINIMAL, "foo": " x ", "n": 3, "b": True, "e": ""}, "top": 1, "consent": {"bar": 1}}
    assert set(build(body, schemas(unknown_fields="drop")).fields) == set(MINIMAL)
    kept = build(body, schemas(unknown_fields="keep")).fields
    assert {name: kept[name] for name in kept.keys() - MINIMAL.keys()} == {"foo": "x", "n": 3, "b": True}
    deep = {"fields": {**MINIMAL, "foo": {"a": 1}}}
    assert faults(deep, schemas(unknown_fields="keep")) == [("fields.foo", "wrong_type")]
    assert faults({"fields": {**MINIMAL, "n": 10**30}}, schemas(unknown_fields="keep")) == [("fields.n", "too_large")]
    assert faults({**MINIMAL, "foo": 1}) == [("fields.foo", "unknown_field")]


def test_a_source_s_names_are_renamed_in_both_shapes() -> None:
    """Errors name the field that is meant, not the incoming name."""
    sender = source(map={"zip": "postal_code", "tel": "phone", "tcpa": "consent_text", "ref": "external_id"})
    given = {"first_name": "Ana", "tel": "(512) 555-0147", "zip": "78701"}
    assert build({"fields": given}, sender=sender).fields == build({"fields": MINIMAL}).fields
    lead = build({**given, "tcpa": "I agree", "ref": "a-1"}, sender=sender)
    assert (lead.consent, lead.external_id) == (Consent(text="I agree"), "a-1")
    assert faults({"fields": {**given, "zip": "2134"}}, sender=sender) == [("fields.postal_code", "invalid")]
    assert faults({**given, "zip": "2134"}, sender=sender) == [("fields.postal_code", "invalid")]


def test_two_names_for_one_field_must_agree() -> None:
    """Equal values or an empty one are fine; two values are a conflict, named by the field."""
    sender = source(map={"zip": "postal_code", "zipcode": "postal_code", "cert": "consent_trustedform_cert_url"})
    rest = {"first_name": "Ana", "phone": "(512) 555-0147"}
    assert build({**rest, "zip": "78701", "postal_code": "78701", "zipcode": ""}, sender=sender).postal_code == "78701"
    assert build({"fields": {**rest, "zip": None, "postal_code": "78701"}}, sender=sender).postal_code == "78701"
    assert faults({**rest, "zip": "78701", "zipcode": "78702"}, sender=sender) == [("fields.postal_code", "conflict")]
    assert faults({"fields": {**rest, "zip": "1", "postal_code": 1}}, sender=sender) == [
        ("fields.postal_code", "conflict")
    ]
    assert faults({**MINIMAL, "xxTrustedFormCertUrl": "a", "trustedform_cert_url": "b"}) == [
        ("consent.trustedform_cert_url", "conflict")
    ]
    assert faults({**MINIMAL, "cert": "a", "consent_trustedform_cert_url": "b"}, sender=sender) == [
        ("consent.trustedform_cert_url", "conflict")
    ]


def test_a_schema_may_have_a_field_with_a_certificate_s_name() -> None:
    """Then a flat body fills both."""
    lead = build({"universal_leadid": "y"}, schemas({"universal_leadid": FieldTerms(type="string")}))
    assert lead.fields == {"universal_leadid": "y"}
    assert lead.consent == Consent(jornaya_lead_id="y")


# -- types ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "raw", "value"),
    [
        (FieldTerms(type="string"), "  Ana  ", "Ana"),
        (FieldTerms(type="phone"), "512.555.0147", "+15125550147"),
        (FieldTerms(type="phone"), "+44 20 7946 0958", "+442079460958"),
        (FieldTerms(type="phone"), "1-416-555-0147", "+14165550147"),
        (FieldTerms(type="phone"), "tel:+1-512-555-0147", "+15125550147"),
        (FieldTerms(type="phone"), "+1 809 555 0147", "+18095550147"),
        (FieldTerms(type="email"), " Ana.B+x@Mail.Example.COM ", "ana.b+x@mail.example.com"),
        (FieldTerms(type="email"), "ana@staging.test", "ana@staging.test"),
        (FieldTerms(type="email"), "Jörg@bücher.example", "jörg@bücher.example"),
        (FieldTerms(type="postal_code"), " 78701-1234 ", "78701"),
        (FieldTerms(type="state"), "texas", "TX"),
        (FieldTerms(type="state"), "tx", "TX"),
        (FieldTerms(type="country"), "us", "US"),
        (FieldTerms(type="integer"), " -12 ", -12),
        (FieldTerms(type="integer"), "+007", 7),
        (FieldTerms(type="integer"), 12.0, 12),
        (FieldTerms(type="integer"), " 12.0", 12),
        (FieldTerms(type="number"), "12", 12.0),
        (FieldTerms(type="number"), ".5", 0.5),
        (FieldTerms(type="number"), "1e3", 1000.0),
        (FieldTerms(type="number"), 3, 3.0),
        (FieldTerms(type="boolean"), "YES", True),
        (FieldTerms(type="boolean"), "0", False),
        (FieldTerms(type="boolean"), 1, True),
        (FieldTerms(type="boolean"), False, False),
        (FieldTerms(type="date"), "2024-02-29", "2024-02-29"),
        (FieldTerms(type="datetime"), "2026-11-23T12:00:00.5-05:00", "2026-11-23T17:00:00.500Z"),
        (FieldTerms(type="enum", one_of=("gas", "oil")), " gas ", "gas"),
        (FieldTerms(type="url"), "HTTPS://a.example:8443/ü?x=[1]", "HTTPS://a.example:8443/ü?x=[1]"),
        (FieldTerms(type="url"), "http://[2001:db8::1]/", "http://[2001:db8::1]/"),
        (FieldTerms(type="ip"), "203.0.113.9", "203.0.113.9"),
        (FieldTerms(type="ip"), "2001:DB8:0::1", "2001:db8::1"),
    ],
)
def test_values_have_one_normal_form(terms: FieldTerms, raw: Any, value: Any) -> None:
    """Type by type, from what sources really send; the type of the result is exact."""
    normal = one(terms, raw)
    assert normal == value
    assert type(normal) is type(value)


@pytest.mark.parametrize(
    ("terms", "raw", "code"),
    [
        (FieldTerms(type="string"), 5, "wrong_type"),
        (FieldTerms(type="string"), True, "wrong_type"),
        (FieldTerms(type="phone"), 5125550147, "wrong_type"),
        (FieldTerms(type="phone"), "555-0147", "invalid"),
        (FieldTerms(type="phone"), "5125550147 x12", "invalid"),
        (FieldTerms(type="phone"), "5125550147#12", "invalid"),
        (FieldTerms(type="phone"), "512-555-CALL", "invalid"),
        (FieldTerms(type="phone"), "none 5125550147", "invalid"),
        (FieldTerms(type="phone"), "(012) 555-0147", "invalid"),
        (FieldTerms(type="phone"), "+999 1234567", "invalid"),
        (FieldTerms(type="phone"), "5" * 200, "too_long"),
        (FieldTerms(type="email"), "ana", "invalid"),
        (FieldTerms(type="email"), "ana@localhost", "invalid"),
        (FieldTerms(type="email"), "ana@test", "invalid"),
        (FieldTerms(type="email"), "ana@host.invalid", "invalid"),
        (FieldTerms(type="email"), "a..b@example.com", "invalid"),
        (FieldTerms(type="email"), f"{'a' * 65}@example.com", "invalid"),
        (FieldTerms(type="email"), f"{'a' * 5000}@example.com", "too_long"),
        (FieldTerms(type="email"), "Ana <ana@example.com>", "invalid"),
        (FieldTerms(type="postal_code"), "2134", "invalid"),
        (FieldTerms(type="postal_code"), 78701, "wrong_type"),
        (FieldTerms(type="postal_code"), "787XX", "invalid"),
        (FieldTerms(type="state"), "Texsa", "invalid"),
        (FieldTerms(type="state"), "ON", "invalid"),
        (FieldTerms(type="country"), "USA", "invalid"),
        (FieldTerms(type="country"), "XX", "invalid"),
        (FieldTerms(type="integer"), "12.5", "invalid"),
        (FieldTerms(type="integer"), "1,200", "invalid"),
        (FieldTerms(type="integer"), "1_000", "invalid"),
        (FieldTerms(type="integer"), "١٢", "invalid"),
        (FieldTerms(type="integer"), 12.5, "wrong_type"),
        (FieldTerms(type="integer"), True, "wrong_type"),
        (FieldTerms(type="integer"), 2**63, "too_large"),
        (FieldTerms(type="integer"), -(2**63), "too_small"),
        (FieldTerms(type="number"), "inf", "invalid"),
        (FieldTerms(type="number"), "nan", "invalid"),
        (FieldTerms(type="number"), "1e999", "too_large"),
        (FieldTerms(type="number"), "-1e999", "too_small"),
        (FieldTerms(type="number"), 10**400, "too_large"),
        (FieldTerms(type="number"), False, "wrong_type"),
        (FieldTerms(type="boolean"), "maybe", "invalid"),
        (FieldTerms(type="boolean"), 2, "invalid"),
        (FieldTerms(type="boolean"), 1.0, "wrong_type"),
        (FieldTerms(type="date"), "11/23/2026", "invalid"),
        (FieldTerms(type="date"), "2026-02-29", "invalid"),
        (FieldTerms(type="date"), "20261123", "invalid"),
        (FieldTerms(type="datetime"), "2026-11-23T17:00:00", "invalid"),
        (FieldTerms(type="datetime"), "2026-13-23T17:00:00Z", "invalid"),
        (FieldTerms(type="datetime"), "2026-11-23T24:00:00Z", "invalid"),
        (FieldTerms(type="datetime"), "2026-11-23T17:00:60Z", "invalid"),
        (FieldTerms(type="enum", one_of=("gas", "oil")), "Gas", "not_allowed"),
        (FieldTerms(type="enum", one_of=("1", "2")), 1, "wrong_type"),
        (FieldTerms(type="url"), "a.example/x", "invalid"),
        (FieldTerms(type="url"), "ftp://a.example/", "invalid"),
        (FieldTerms(type="url"), "https://", "invalid"),
        (FieldTerms(type="url"), "https://user:pw@a.example/", "invalid"),
        (FieldTerms(type="url"), "https://a.example/a b", "invalid"),
        (FieldTerms(type="url"), "https://a.example:99999/", "invalid"),
        (FieldTerms(type="url"), "https://[::1/", "invalid"),
        (FieldTerms(type="url"), "https://a.example\\@b.example/", "invalid"),
        (FieldTerms(type="url"), "https://a.example/" + "x" * 5000 + "\u00fc", "too_long"),
        (FieldTerms(type="ip"), "203.0.113.256", "invalid"),
        (FieldTerms(type="ip"), "203.0.113", "invalid"),
        (FieldTerms(type="ip"), "01.2.3.4", "invalid"),
        (FieldTerms(type="ip"), "fe80::1%eth0", "invalid"),
        (FieldTerms(type="integer", min=0), -1, "too_small"),
        (FieldTerms(type="integer", max=120), "121", "too_large"),
        (FieldTerms(type="number", min=0.5, max=1), 0.4, "too_small"),
        (FieldTerms(type="string", min_length=3), "ab", "too_short"),
        (FieldTerms(type="string", max_length=3), "abcd", "too_long"),
        (FieldTerms(type="string", pattern="[a-z]+"), "abc1", "pattern"),
        (FieldTerms(type="string", one_of=("a",)), "b", "not_allowed"),
        (FieldTerms(type="phone", line_types=("mobile",)), "+15125550147", "not_allowed"),
    ],
)
def test_values_that_do_not_fit(terms: FieldTerms, raw: Any, code: str) -> None:
    """Each has the code that says why; nothing is guessed, rounded or cut."""
    assert fault(terms, raw) == code


@pytest.mark.parametrize(
    ("terms", "raw"),
    [
        (FieldTerms(type="integer", min=0, max=120), 0),
        (FieldTerms(type="integer", min=0, max=120), 120),
        (FieldTerms(type="string", min_length=3, max_length=3, pattern="[a-z]{3}", one_of=("abc", "abd")), "abc"),
        (FieldTerms(type="phone", line_types=("mobile", "fixed_line_or_mobile")), "+15125550147"),
    ],
)
def test_limits_are_inclusive(terms: FieldTerms, raw: Any) -> None:
    """The limit itself is allowed, and all of several limits may hold."""
    assert one(terms, raw) == raw


@pytest.mark.parametrize(
    ("code", "canonical", "country"),
    [
        ("78701", "78701", "US"),
        ("m5v 3l9", "M5V 3L9", "CA"),
        ("sw1a1aa", "SW1A 1AA", "GB"),
        ("78701-1234", "78701", "US"),
    ],
)
@pytest.mark.parametrize("default", ["US", "CA", "GB", "DE"])
def test_a_postal_code_tells_the_country_of_a_lead_that_names_none(
    code: str, canonical: str, country: str, default: str
) -> None:
    """No code fits two countries, so the default is for leads whose code tells nothing."""
    lead = build_lead(
        {"postal_code": code}, schemas({"postal_code": FieldTerms(type="postal_code")}), source(),
        lead_id="L1", received_at_ns=NOW, default_country=default,
    )  # fmt: skip
    assert (lead.country, lead.postal_code) == (country, canonical)


def test_the_lead_s_own_country_decides() -> None:
    """Where a lead says its country, postal code, state and phone number are read as of there."""
    assert one(FieldTerms(type="postal_code"), "m5v3l9", country="ca") == "M5V 3L9"
    assert one(FieldTerms(type="postal_code"), "sw1a1aa", country="GB") == "SW1A 1AA"
    assert one(FieldTerms(type="state"), "Ontario", country="CA") == "ON"
    assert one(FieldTerms(type="phone"), "020 7946 0958", country="GB") == "+442079460958"
    assert fault(FieldTerms(type="postal_code"), "78701", country="CA") == "invalid"
    assert fault(FieldTerms(type="postal_code"), "10115", country="DE") == "invalid"
    assert fault(FieldTerms(type="state"), "Kent", country="GB") == "invalid"
    fields = {"x": FieldTerms(type="postal_code"), "country": FieldTerms(type="country")}
    assert build({"x": "m5v3l9", "country": "CA"}, schemas(fields)).country == "CA"
    assert build({"x": "78701", "country": ""}, schemas(fields)).country == "US"
    assert faults({"x": "78701", "country": "Mars"}, schemas(fields)) == [("fields.country", "invalid")]


def test_the_default_country_may_be_given() -> None:
    """It stands in for the one the schema was compiled with."""
    lead = build_lead(
        {"postal_code": "m5v3l9"}, schemas({"postal_code": FieldTerms(type="postal_code")}), source(),
        lead_id="L1", received_at_ns=NOW, default_country="CA",
    )  # fmt: skip
    assert (lead.country, lead.postal_code) == ("CA", "M5V 3L9")


# -- consent, times, ids --------------------------------------------------------------------------------


def test_submitted_at_is_never_after_receipt() -> None:
    """A clock a little ahead is taken for receipt, one far ahead is refused."""
    ahead = {"fields": MINIMAL, "submitted_at": "2026-11-23T17:05:05Z"}
    assert build(ahead).submitted_at_ns == NOW
    assert faults({**ahead, "submitted_at": "2026-11-23T17:05:05.000000001Z"}) == [("submitted_at", "in_future")]
    past = build({**ahead, "submitted_at": "2026-11-23T11:00:05-05:00"})
    assert past.submitted_at_ns == NOW - 60 * NS_MINUTE


def test_consent_in_the_future_is_refused() -> None:
    """Or it would never be too old."""
    body = {"fields": MINIMAL, "consent": {"given_at": "2026-11-23T17:02:00Z"}}
    assert build(body).consent == Consent(given_at_ns=NOW)
    body["consent"] = {"given_at": "2027-11-23T17:02:00Z"}
    assert faults(body) == [("consent.given_at", "in_future")]


@pytest.mark.parametrize(
    ("consent", "code"),
    [
        ({"ip": "x"}, ("consent.ip", "invalid")),
        ({"url": "javascript:alert(1)"}, ("consent.url", "invalid")),
        ({"text": 5}, ("consent.text", "wrong_type")),
        ({"sellers": {"a": 1}}, ("consent.sellers", "wrong_type")),
        ({"sellers": ["a", 1]}, ("consent.sellers", "wrong_type")),
        ({"sellers": ["a"] * 1001}, ("consent.sellers", "too_long")),
    ],
)
def test_consent_that_cannot_be_read(consent: dict[str, Any], code: tuple[str, str]) -> None:
    """Each part has a type; the certificates' form is a contract's business."""
    assert faults({"fields": MINIMAL, "consent": consent}) == [code]


def test_external_ids() -> None:
    """Text or a whole number, of 255 characters at most."""
    assert build({"fields": MINIMAL, "external_id": 42}).external_id == "42"
    assert build({"fields": MINIMAL, "external_id": " a "}).external_id == "a"
    assert faults({"fields": MINIMAL, "external_id": "x" * 256}) == [("external_id", "too_long")]


def test_parsed_and_built() -> None:
    """The two steps fit together."""
    lead = build(parse_json(json.dumps({"lead_type": "solar", "fields": MINIMAL}).encode()))
    assert lead.fields["phone"] == "+15125550147"

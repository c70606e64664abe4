"""Fields of a lead type, and the tests that criteria and field rules put on them.

A test that can never come out true is worse than a typing error, because it looks like terms: `one_of = ["tx"]` on a
state, `equals = "650"` on a number. So every test is held against the type of its field and the form its values have.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from phonenumbers import PhoneNumberType

from router.model.times import parse_instant
from router.terms.checks.page import Page
from router.terms.checks.values import (
    judge_at_least,
    judge_date,
    judge_distinct,
    judge_pattern,
    judge_range,
    judge_reference,
    shown,
)
from router.terms.postal import COUNTRIES, canonical_postal_code
from router.terms.schema import Criterion, FieldRule, FieldTerms, LeadType, Scalar
from router.terms.template import below

NUMBERS: Final = ("integer", "number")
TIMES: Final = ("date", "datetime")
#: Keys that mean something of their own in a flat body or in a template.
_OUR_OWN: Final = frozenset(
    ("lead_type", "external_id", "submitted_at", "test", "fields", "consent", "xxTrustedFormCertUrl",
     "universal_leadid", "source_id", "lead_id", "delivery_id", "contract_id", "price", "received_at", "ping")
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
#: Every kind of line a phone number can be told to have.
LINE_TYPES: Final = frozenset(
    name.lower() for name in dir(PhoneNumberType) if name.isupper() and isinstance(getattr(PhoneNumberType, name), int)
)

#: The form of normalised values of a type, and how to say it. A value in another form is never equal to one.
_FORMS: Final[dict[str, tuple[re.Pattern[str], str]]] = {
    "state": (re.compile(r"[A-Z]{2}", re.ASCII), 'two capitals, such as "TX"'),
    "country": (re.compile(r"[A-Z]{2}", re.ASCII), 'two capitals, such as "US"'),
    "phone": (re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII), 'E.164, such as "+15125550147"'),
    "email": (re.compile(r"[^A-Z\s@]+@[^A-Z\s@]+"), 'lower case, such as "ana@example.com"'),
}


def judge_schema(page: Page, fields: Mapping[str, FieldTerms]) -> None:
    """The `[fields.*]` tables of a lead type."""
    for name, terms in fields.items():
        if _NAME.fullmatch(name) is None:
            mend = "Use letters, digits, dashes and underscores, a letter first; source.map takes other names in"
            page.error(below("fields", name), "this cannot be the name of a field", mend)
            continue
        if name in _OUR_OWN or name.startswith("consent_"):
            mend = "Give the field another name, and let the sources' map translate"
            page.warn(f"fields.{name}", "in a flat body and in templates this name means something else", mend)
        _judge_field(page.at(f"fields.{name}"), terms)
    postal = fields.get("postal_code")
    if postal is not None and postal.type != "postal_code":
        mend = 'Write type = "postal_code", or name the field otherwise'
        page.error("fields.postal_code.type", f"coverage is judged by this field, and it is a {postal.type}", mend)


def _judge_field(page: Page, terms: FieldTerms) -> None:
    kind = terms.type
    for key in ("min", "max"):
        if getattr(terms, key) is not None and kind not in NUMBERS:
            page.error(
                key, f"a {kind} has no {key}", "It belongs to integer and number; texts have min_length and max_length"
            )
    judge_range(page, "min", terms.min, "max", terms.max)
    if terms.one_of is not None and kind not in ("enum", "string", "state", "country", "postal_code"):
        page.error("one_of", f"a {kind} has no one_of", 'Write type = "enum" for a choice of texts')
    elif terms.one_of is not None:
        _judge_choices(page, terms)
    elif kind == "enum":
        page.error("one_of", "an enum says which values it has", 'Write one_of = ["owner", "renter"] or so')
    _judge_text_tests(page, terms, kind)


def _judge_choices(page: Page, terms: FieldTerms) -> None:
    choices = terms.one_of or ()
    if not choices:
        page.error("one_of", "no value is named, so the field could never be filled", "Name its values")
    judge_distinct(page, "one_of", choices)
    for index, choice in enumerate(choices):
        if not choice.strip():
            page.error(f"one_of[{index}]", "empty text counts as missing and cannot be a value", "Take it out")
        else:
            _judge_form(page, f"one_of[{index}]", choice, terms.type)


def _judge_text_tests(page: Page, terms: FieldTerms | FieldRule, kind: str | None) -> None:
    if kind in (*NUMBERS, "boolean"):
        for key in ("min_length", "max_length", "pattern"):
            if getattr(terms, key) is not None:
                page.error(key, f"a {kind} is not text", "Use min and max" if kind in NUMBERS else "Use one_of")
    judge_at_least(page, "min_length", terms.min_length, 0)
    judge_at_least(page, "max_length", terms.max_length, 1)
    judge_range(page, "min_length", terms.min_length, "max_length", terms.max_length)
    judge_pattern(page, "pattern", terms.pattern)
    _judge_line_types(page, terms.line_types, kind)


def _judge_line_types(page: Page, line_types: tuple[str, ...] | None, kind: str | None) -> None:
    if line_types is None:
        return
    if kind not in (None, "phone"):
        page.error("line_types", f"a {kind} has no kind of line", "It belongs to phone fields")
    for index, name in enumerate(line_types):
        judge_reference(page, f"line_types[{index}]", name, LINE_TYPES, "kind of line")
    if not line_types:
        page.error("line_types", "no kind of line is named, so nothing can pass", "Name some, or take it out")
    if "mobile" in line_types and "fixed_line_or_mobile" not in line_types:
        message = "North American numbers cannot be told apart, and most mobiles there are fixed_line_or_mobile"
        page.warn("line_types", message, 'Add "fixed_line_or_mobile", unless you sell outside North America only')


# -- tests of criteria and field rules -----------------------------------------------------------


def judge_name(page: Page, key: str, name: str, lead_type: LeadType) -> bool:
    """Whether a lead of this type can have the field; writes it down when not."""
    if lead_type.unknown_fields == "keep":
        return True
    return judge_reference(page, key, name, lead_type.fields, f"field of {lead_type.id} named")


def judge_names(page: Page, key: str, names: Iterable[str], lead_type: LeadType) -> None:
    """Every name of a list of fields."""
    for index, name in enumerate(names):
        judge_name(page, f"{key}[{index}]", name, lead_type)


def judge_key_sets(page: Page, key: str, sets: tuple[tuple[str, ...], ...], lead_type: LeadType) -> None:
    """`keys` of a dedup: an OR of ANDs of fields, none empty."""
    if not sets:
        page.error(key, "no field is named, so nothing is ever a duplicate", 'Write [["phone"], ["email"]] or so')
    for index, names in enumerate(sets):
        if not names:
            page.error(f"{key}[{index}]", "an empty set of fields never applies", "Name a field, or take it out")
        judge_names(page, f"{key}[{index}]", names, lead_type)


def judge_criterion(page: Page, key: str, node: Criterion, lead_type: LeadType) -> None:
    """A node of a criteria tree: one form, fields that exist, tests that can come out true."""
    forms = [node.field_ is not None, node.all_ is not None, node.any_ is not None, node.not_ is not None]
    if sum(forms) != 1:
        page.error(key, "a criterion is exactly one of field, all, any or not", "Split it, or say which one is meant")
        return
    inner = page.at(key)
    for word, parts in (("all", node.all_), ("any", node.any_)):
        if parts is not None and not parts:
            inner.error(word, "it holds no criterion", "Write one into it, or take it out")
        for index, part in enumerate(parts or ()):
            judge_criterion(inner, f"{word}[{index}]", part, lead_type)
    if node.not_ is not None:
        judge_criterion(inner, "not", node.not_, lead_type)
    if node.field_ is None:
        _judge_no_tests(inner, node)
    elif judge_name(inner, "field", node.field_, lead_type):
        _judge_tests(inner, node, lead_type.fields.get(node.field_))
        judge_pattern(inner, "pattern", node.pattern)


def _judge_no_tests(page: Page, node: Criterion) -> None:
    for key in ("min", "max", "equals", "one_of", "not_one_of", "pattern"):
        if getattr(node, key) is not None:
            page.error(key, "a test needs its field beside it", "Write field = ... here, or move the test to its field")


def judge_rule(page: Page, name: str, rule: FieldRule, lead_type: LeadType) -> None:
    """One entry of `[contracts.fields.rules]`."""
    if not judge_name(page, "", name, lead_type):
        return
    terms = lead_type.fields.get(name)
    kind = terms.type if terms else None
    _judge_tests(page, rule, terms)
    _judge_text_tests(page, rule, kind)
    for key in ("min_age", "max_age"):
        if getattr(rule, key) is not None and kind not in (None, *TIMES):
            page.error(
                key,
                f"a {kind} has no age in years",
                "It belongs to date and datetime fields; for numbers use min and max",
            )
        judge_at_least(page, key, getattr(rule, key), 0)
    judge_range(page, "min_age", rule.min_age, "max_age", rule.max_age)
    if rule.not_domains is not None and kind not in (None, "email"):
        page.error("not_domains", f"a {kind} has no domain", "It belongs to email fields")
    for index, domain in enumerate(rule.not_domains or ()):
        if not domain or "@" in domain:
            page.error(f"not_domains[{index}]", f"{shown(domain)} is not a domain", 'Write "mailinator.com" or so')


def _judge_tests(page: Page, node: Criterion | FieldRule, terms: FieldTerms | None) -> None:
    if terms is not None:
        _judge_bounds(page, node, terms)
        for key, value in _compared(node):
            _judge_value(page, key, value, terms)
    for key in ("one_of", "not_one_of"):
        if getattr(node, key) == ():
            page.error(key, "no value is named", "Name some, or take it out")


def _judge_bounds(page: Page, node: Criterion | FieldRule, terms: FieldTerms) -> None:
    low, high, kind = node.min, node.max, terms.type
    for key, bound in (("min", low), ("max", high)):
        if bound is None:
            continue
        if kind in NUMBERS:
            if isinstance(bound, str | bool):
                page.error(key, f"the field is a {kind}, and this is not a number", "Write it without quotes")
        elif kind in TIMES:
            _judge_time(page, key, bound, kind)
        else:
            page.error(key, f"a {kind} is neither more nor less than anything", "Use one_of, equals or pattern")
    if isinstance(low, int | float) and isinstance(high, int | float):
        judge_range(page, "min", low, "max", high)
    elif isinstance(low, str) and isinstance(high, str) and low > high:
        page.error("min", f"{shown(low)} is after max = {shown(high)}, so nothing can pass", "Swap or correct them")


def _judge_time(page: Page, key: str, bound: Scalar, kind: str) -> None:
    if not isinstance(bound, str):
        page.error(key, f"the field is a {kind}, and this is not one", 'Write it as text: "2026-11-24"')
    elif kind == "date":
        judge_date(page, key, bound)
    else:
        try:
            parse_instant(bound)
        except ValueError as error:
            page.error(key, f"{shown(bound)} cannot be read", str(error))


def _compared(node: Criterion | FieldRule) -> list[tuple[str, Scalar]]:
    found: list[tuple[str, Scalar]] = []
    if isinstance(node, Criterion) and node.equals is not None:
        found.append(("equals", node.equals))
    for key in ("one_of", "not_one_of"):
        found += [(f"{key}[{index}]", value) for index, value in enumerate(getattr(node, key) or ())]
    return found


def _judge_value(page: Page, key: str, value: Scalar, terms: FieldTerms) -> None:
    kind = terms.type
    if kind == "boolean":
        if not isinstance(value, bool):
            page.error(key, "the field is a boolean, and this never equals one", "Write true or false, without quotes")
    elif kind in NUMBERS:
        if isinstance(value, str | bool):
            page.error(key, f"the field is a {kind}, and this never equals one", "Write a number, without quotes")
    elif not isinstance(value, str):
        page.error(key, f"the field is a {kind}, and this never equals one", "Put it in quotes")
    elif terms.one_of is not None:
        judge_reference(page, key, value, terms.one_of, "value of this field named")
    else:
        _judge_form(page, key, value, kind)


def _judge_form(page: Page, key: str, value: str, kind: str) -> None:
    if kind == "postal_code":
        if not any(canonical_postal_code(value, country) == value for country in COUNTRIES):
            page.error(
                key, f"{shown(value)} is no postal code in canonical form", 'Write "78701", "M5V 3L9" or "SW1A 1AA"'
            )
        return
    if kind == "date":
        judge_date(page, key, value)
        return
    form = _FORMS.get(kind)
    if form is not None and form[0].fullmatch(value) is None:
        page.error(key, f"{shown(value)} never equals a {kind}", f"Values are written as {form[1]}")

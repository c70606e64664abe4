"""Criteria trees and field rules: tests of one lead's fields, in three-valued logic.

A missing field makes its leaf unknown (None), unless the leaf says `missing = "pass"`. `any` is true if one part is
true, `all` false if one part is false, `not` keeps unknown; an unknown result fails.
"""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumberType

from router.core.rules.finding import shown
from router.model.lead import Value
from router.terms.patterns import compile_pattern
from router.terms.schema import Criterion, FieldRule, FieldTerms, Scalar

_LINE_TYPES = {
    getattr(PhoneNumberType, name): name.lower()
    for name in dir(PhoneNumberType)
    if name.isupper() and isinstance(getattr(PhoneNumberType, name), int)
}


def same(left: object, right: object) -> bool:
    """Equality that tells booleans from numbers: `true` is not `1`."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def holds(node: Criterion, fields: Mapping[str, Value]) -> bool | None:
    """A criterion's truth for a lead: true, false, or None for unknown."""
    if node.all_ is not None:
        parts = [holds(part, fields) for part in node.all_]
        return False if False in parts else None if None in parts else True
    if node.any_ is not None:
        parts = [holds(part, fields) for part in node.any_]
        return True if True in parts else None if None in parts else False
    if node.not_ is not None:
        inner = holds(node.not_, fields)
        return None if inner is None else not inner
    assert node.field_ is not None
    value = fields.get(node.field_)
    if value is None:
        return True if node.missing == "pass" else None
    return leaf_holds(node, value)


def leaf_holds(node: Criterion | FieldRule, value: Value) -> bool:
    """Whether a present value passes every test a leaf names."""
    return (
        (node.min is None or _ordered(node.min, value))
        and (node.max is None or _ordered(value, node.max))
        and (not isinstance(node, Criterion) or node.equals is None or same(node.equals, value))
        and (node.one_of is None or any(same(value, one) for one in node.one_of))
        and (node.not_one_of is None or not any(same(value, one) for one in node.not_one_of))
        and (node.pattern is None or (isinstance(value, str) and matches(node.pattern, value)))
    )


def rule_holds(rule: FieldRule, value: Value, today: date) -> bool:
    """Whether a present value passes a contract's field rule. `today` is the date ages are counted to."""
    return (
        leaf_holds(rule, value)
        and (rule.min_length is None or len(str(value)) >= rule.min_length)
        and (rule.max_length is None or len(str(value)) <= rule.max_length)
        and (rule.min_age is None or _age(value, today) >= rule.min_age)
        and (rule.max_age is None or 0 <= _age(value, today) <= rule.max_age)
        and (rule.line_types is None or line_type(str(value)) in rule.line_types)
        and (rule.not_domains is None or not _in_domains(str(value), rule.not_domains))
    )


def _ordered(low: Scalar, high: Scalar) -> bool:
    if isinstance(low, str) and isinstance(high, str):
        return low <= high
    if isinstance(low, str) or isinstance(high, str):
        return False
    return low <= high


def matches(pattern: str, value: str) -> bool:
    """Whether the whole value matches; one longer than the pattern may safely be shown does not."""
    safe = compile_pattern(pattern)
    return len(value) <= safe.shown and safe.regex.fullmatch(value) is not None


def _age(value: Value, today: date) -> int:
    """Whole years from a date to today; -1 when the value is not a date."""
    try:
        born = date.fromisoformat(str(value)[:10])
    except ValueError:
        return -1
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


@lru_cache(maxsize=65536)
def line_type(number: str) -> str:
    """The kind of line of an E.164 number: `mobile`, `fixed_line`, `fixed_line_or_mobile`, `voip`, ..."""
    try:
        kind = phonenumbers.number_type(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return "unknown"
    return _LINE_TYPES.get(kind, "unknown")


def _in_domains(address: str, domains: tuple[str, ...]) -> bool:
    domain = address.rpartition("@")[2].casefold()
    return any(domain == one.casefold() or domain.endswith("." + one.casefold()) for one in domains)


def say(node: Criterion | FieldRule, name: str | None = None) -> str:
    """A test in words: `credit_score >= 650`, `any of (utility in [oncor], monthly_bill >= 120)`."""
    if isinstance(node, Criterion):
        if node.all_ is not None:
            return f"all of ({', '.join(say(part) for part in node.all_)})"
        if node.any_ is not None:
            return f"any of ({', '.join(say(part) for part in node.any_)})"
        if node.not_ is not None:
            return f"not ({say(node.not_)})"
        name = node.field_
    return f"{name} " + " and ".join(_tests(node))


def _tests(node: Criterion | FieldRule) -> list[str]:
    words = [
        ("min", ">= {}"), ("max", "<= {}"), ("equals", "= {}"), ("one_of", "in [{}]"), ("not_one_of", "not in [{}]"),
        ("pattern", "matches {}"), ("min_length", "at least {} characters"), ("max_length", "at most {} characters"),
        ("min_age", "at least {} years ago"), ("max_age", "at most {} years ago"), ("line_types", "line type in [{}]"),
        ("not_domains", "domain not in [{}]"),
    ]  # fmt: skip
    said = []
    for key, form in words:
        value = getattr(node, key, None)
        if value is not None:
            said.append(form.format(", ".join(map(_word, value)) if isinstance(value, tuple) else _word(value)))
    return said or ["is present"]


def _word(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def seen(node: Criterion, fields: Mapping[str, Value], schema: Mapping[str, FieldTerms]) -> str:
    """What a failing criterion saw: each field it reads with its value, personal ones only as present."""
    names = dict.fromkeys(_fields(node))
    return ", ".join(f"{name} {shown(fields.get(name), schema.get(name))}" for name in names)


def _fields(node: Criterion) -> list[str]:
    if node.field_ is not None:
        return [node.field_]
    parts = node.all_ or node.any_ or ((node.not_,) if node.not_ is not None else ())
    return [name for part in parts for name in _fields(part)]

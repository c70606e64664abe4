"""Made-up leads satisfy the terms they are made for, are nobody's, and differ from one another."""

import re
from pathlib import Path
from typing import Any

import pytest

from router.core.rules.static import consent_rule, coverage_rule, criteria_rule, fields_rule
from router.onboarding.made_up import MadeUp, code_in, make_up, ways
from router.onboarding.matching import text_for
from router.terms.compile import compile_book
from router.terms.load import load
from tests import factory
from tests.factory import NOON, contract

SAMPLE = Path(__file__).parents[2] / "config"


def made(number: int = 0, given: dict[str, Any] | None = None, lead_type: Any = None, **terms: Any) -> MadeUp:
    """A lead made up for one contract with these terms."""
    book = factory.book(factory.buyer("b", contract("c", **terms)), lead_type=lead_type)
    return make_up(book, book.contracts["c"], lead_id="m", at_ns=NOON, number=number, given=given)


def test_every_contract_of_the_sample_gets_its_lead() -> None:
    """Coverage, fields, consent and criteria all pass, as in a decision; the lead is marked test."""
    terms = load(SAMPLE).terms
    assert terms is not None
    book = compile_book(terms)
    for number, plan in enumerate(book.contracts.values()):
        one = make_up(book, plan, lead_id="m", at_ns=NOON, number=number)
        assert one.missed == (), plan.id
        rules = (coverage_rule, fields_rule, consent_rule, criteria_rule)
        assert [finding for rule in rules for finding in rule(book, plan, one.lead)] == []
        assert one.lead.test


@pytest.mark.parametrize(
    "criteria",
    [
        [{"field": "credit_score", "min": 650, "max": 655}],
        [{"field": "credit_score", "not_one_of": [10, 1, 0]}],
        [{"field": "homeowner", "equals": False}],
        [{"not": {"field": "credit_score", "min": 1}}],
        [{"not": {"any": [{"field": "homeowner", "equals": True}, {"field": "credit_score", "max": 900}]}}],
        [{"any": [{"all": [{"field": "utility", "one_of": ["x"]}, {"field": "utility", "one_of": ["y"]}]},
                  {"field": "monthly_bill", "min": 120}]}],
        [{"field": "utility", "pattern": "[A-Z]{3}-\\d{2,4}(x|y)?"}],
        [{"field": "state", "one_of": ["OK"]}],
    ],
)  # fmt: skip
def test_criteria_are_satisfied_one_way_or_another(criteria: Any) -> None:
    """Trees are walked for a way that works; what must not hold does not."""
    assert made(criteria=criteria).missed == ()


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        ({"birth_date": {"min_age": 18, "max_age": 21}}, r"200[4-8]-.*"),
        ({"birth_date": {"max_age": 0}}, r"2026-.*|2025-.*"),
        ({"email": {"not_domains": ["example.com"]}}, r".*@example\.org"),
        ({"first_name": {"min_length": 12}}, r".{12,}"),
        ({"first_name": {"max_length": 2}}, r".{1,2}"),
        ({"first_name": {"pattern": "[^T][a-z]+"}}, r"[^T][a-z]+"),
        ({"phone": {"line_types": ["toll_free"]}}, r"\+1(8..).*"),
    ],
)
def test_field_rules_are_satisfied(rules: Any, seen: str) -> None:
    """Ages, domains, lengths, patterns and kinds of line."""
    one = made(fields={"required": list(rules), "rules": rules})
    assert one.missed == ()
    assert re.fullmatch(seen, str(one.lead.fields[next(iter(rules))]))


@pytest.mark.parametrize(
    "coverage",
    [
        {"everywhere": True},
        {"postal_codes": ["60601"]},
        {"postal_codes": ["787*"], "exclude": {"postal_codes": ["7870*"]}},
        {"country": "CA", "postal_codes": ["M5*"]},
        {"country": "CA", "postal_codes": ["K1A 0B1"]},
        {"country": "GB", "postal_codes": ["SW1A"]},
        {"country": "GB", "postal_codes": ["B3*"]},
    ],
)
def test_the_postal_code_lies_in_the_coverage(coverage: Any) -> None:
    """A code that is in use, of the coverage's country, and not one of those excluded."""
    one = made(coverage=coverage)
    assert one.missed == (), one
    assert one.lead.country == coverage.get("country", "US")


def test_nobody_s_data_and_always_another_person() -> None:
    """Numbers that nobody has, addresses that go nowhere; another number, another person."""
    people = [made(number).lead.fields for number in range(150)]
    assert all(re.fullmatch(r"\+1\d{3}55501\d{2}", str(one["phone"])) for one in people)
    assert all(str(one["email"]).endswith("@example.com") for one in people)
    assert len({one["phone"] for one in people}) == len({one["email"] for one in people}) == 150


def test_given_values_are_taken_as_intake_would() -> None:
    """Text becomes what the field is; what is no field, or breaks a rule, is said."""
    one = made(given={"postal_code": "78702", "credit_score": "700"})
    assert (one.missed, one.lead.fields["postal_code"], one.lead.fields["credit_score"]) == ((), "78702", 700)
    assert made(given={"shoe_size": 43}).missed == ("shoe_size is no field of solar",)
    assert made(given={"credit_score": "many"}).missed == ("credit_score cannot be what was given",)
    outside = made(given={"postal_code": "60601"}, coverage={"postal_codes": ["787*"]})
    assert outside.missed == ("out_of_coverage: a covered postal code",)


def test_terms_that_contradict_each_other_are_said() -> None:
    """What no lead can satisfy, none is pretended to."""
    criteria = [{"field": "credit_score", "min": 700}, {"field": "credit_score", "max": 600}]
    assert made(criteria=criteria).missed == (
        "criteria_failed: credit_score >= 700",
        "criteria_failed: credit_score <= 600",
    )
    needed = {"fields": {"utility": {"type": "string", "required": True, "pattern": "(?=a)b"}}}
    kind = {**factory.LEAD_TYPE, "fields": {**factory.LEAD_TYPE["fields"], **needed["fields"]}}
    assert made(lead_type=kind).missed == ("utility: no value was found that its rules take",)


def test_ways_are_bounded() -> None:
    """A tree with thousands of ways is not walked to its end."""
    node = {"any": [{"field": "credit_score", "equals": n} for n in range(9)]}
    book = factory.book(factory.buyer("b", contract("c", criteria=[node] * 9)))
    assert len(list(ways(book.contracts["c"].terms.criteria))) == 200


def test_a_code_where_none_can_be_found() -> None:
    """Coverage that excludes all it names gives the usual code; the lead then says that it is not covered."""
    book = factory.book(factory.buyer("b", contract("c", coverage={"postal_codes": ["99999"]})))
    assert code_in(book.contracts["c"].coverage) == "99999"


@pytest.mark.parametrize(
    "pattern",
    ["abc", "a|bc", "[a-f0-9]{6}", r"\d{3}-\d{4}", r"[^a]b?c*d+", r"(?:x|y)(z{2,3})", ".", r"\w+\s\S+", r"[^\d\w]",
     r"(?i)Test", r"^start.*end$", r"\D\W"],
)  # fmt: skip
def test_texts_match_their_patterns(pattern: str) -> None:
    """The text made for a pattern is one the pattern matches as a whole."""
    text = text_for(pattern)
    assert text is not None
    assert re.fullmatch(pattern, text)


def test_a_pattern_nobody_can_read() -> None:
    """None, instead of an error."""
    assert text_for("(") is None

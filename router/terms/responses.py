"""Response rules: what a buyer's answer means, compiled when terms are loaded.

The rules are tried in order and the first that holds decides; a rule holds when everything its `when` names holds.
What the specification leaves open is decided here:

* A `path` is looked up only in an answer that is JSON, an `xpath` only in one that is XML; in any other answer the rule
  does not hold, not even with `exists = false`, so that an error page never reads as success. Namespaces of an answer
  are dropped: an xpath names elements without prefixes. One of several nodes that passes is enough.
* `path`, `xpath` or `header` without a test means that it exists and is not `false`, so that a path can be a condition
  of its own (`price && price > `0``). `exists` itself asks only whether there is a value; null is none. Several tests
  must all hold.
* `equals` and `one_of` compare text exactly (case counts, white space around does not) and numbers by value. A number
  also equals text that spells it (`1`, `"1"`, `"1.0"`), a boolean also the text `true` or `false` in any case, since
  XML and headers have nothing but text. A boolean never equals a number.
* `pattern` is searched for in the text of the value (`^` and `$` anchor it).
* `price`, `reason`, `reference` and `redirect_url` are XPaths when they start with `/` or `.`, else JMESPaths.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from router.model.codes import Outcome
from router.terms.answers import Reading, folded, holds_words, plain_text
from router.terms.paths import Find, PathError, compile_extraction, compile_header, compile_path, compile_xpath
from router.terms.patterns import PatternError, compile_pattern
from router.terms.problems import Problem
from router.terms.schema import ResponseRule, Scalar, When

Test = Callable[[Reading], bool]

_STATUSES: Final = frozenset(range(100, 600))
_CLASS: Final = re.compile(r"([1-5])xx", re.ASCII | re.IGNORECASE)
_SOURCES: Final = ("path", "xpath", "header")
_VALUE_TESTS: Final = ("equals", "one_of", "exists", "pattern")


class Rule(Struct, frozen=True):
    """One compiled rule. `name` is its place (`responses[0]`); the extractions give the first value found, or None."""

    name: str
    outcome: Outcome
    tests: tuple[Test, ...]
    price: Find | None = None
    reason: Find | None = None
    reference: Find | None = None
    redirect_url: Find | None = None

    def holds(self, reading: Reading) -> bool:
        """Whether everything the rule names holds for the answer."""
        for test in self.tests:  # noqa: SIM110  # a generator costs more than most tests
            if not test(reading):
                return False
        return True


class Rules(Struct, frozen=True):
    """The rules of one endpoint in their order."""

    rules: tuple[Rule, ...]

    def match(self, reading: Reading) -> Rule | None:
        """The first rule that holds, or None."""
        for rule in self.rules:
            if rule.holds(reading):
                return rule
        return None


# -- tests ---------------------------------------------------------------------------------------


def same(expected: Scalar, actual: Any) -> bool:
    """Whether a value of an answer is the expected one; see the module's text for what counts as equal."""
    if isinstance(expected, bool) or isinstance(actual, bool):
        return _same_truth(expected, actual)
    if isinstance(expected, str) and isinstance(actual, str):
        return actual.strip() == expected.strip()
    if not isinstance(actual, str | int | float):
        return False
    return _number(expected) is not None and _number(expected) == _number(actual)


def _same_truth(expected: Scalar, actual: Any) -> bool:
    def spelled(value: Any) -> str | None:
        text = plain_text(value) if isinstance(value, bool | str) else None
        return None if text is None else text.strip().lower()

    return spelled(expected) is not None and spelled(expected) == spelled(actual)


def _number(value: float | str) -> Decimal | None:
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _equals(find: Find, expected: Scalar) -> Test:
    def test(reading: Reading) -> bool:
        found = find(reading)
        return bool(found) and any(same(expected, value) for value in found or ())

    return test


def _one_of(find: Find, expected: tuple[Scalar, ...]) -> Test:
    def test(reading: Reading) -> bool:
        found = find(reading)
        return bool(found) and any(same(one, value) for value in found or () for one in expected)

    return test


def _pattern(find: Find, text: str) -> Test:
    pattern = compile_pattern(text)

    def test(reading: Reading) -> bool:
        return any(pattern.search(plain_text(value) or "") for value in find(reading) or ())

    return test


def _is_so(find: Find) -> Test:
    return lambda reading: any(value is not False for value in find(reading) or ())


def _exists(find: Find, wanted: bool) -> Test:
    def test(reading: Reading) -> bool:
        found = find(reading)
        return found is not None and bool(found) == wanted

    return test


def _keyword(words: str) -> Test:
    return lambda reading: holds_words(reading.folded, words)


def _status(statuses: frozenset[int]) -> Test:
    return lambda reading: reading.status in statuses


# -- what a rule asks, for judging rules against each other --------------------------------------


class _Ask(NamedTuple):
    """One `when`, normalised. `source` is (kind, text) of what the value tests are put to."""

    statuses: frozenset[int]
    source: tuple[str, str] | None
    equals: tuple[Scalar, ...] | None  # of `equals` or `one_of`: one of these
    exists: bool | None
    pattern: str | None
    keyword: str | None

    def covers(self, other: "_Ask") -> bool:
        """Whether every answer that passes `other` passes this one too (certainly; false when in doubt)."""
        return (
            other.statuses <= self.statuses
            and (self.keyword is None or (other.keyword is not None and holds_words(other.keyword, self.keyword)))
            and (self.source is None or (self.source == other.source and self._covers_value(other)))
        )

    @property
    def bare(self) -> bool:
        """Whether a place is named without a test."""
        return self.source is not None and self.equals is None and self.exists is None and self.pattern is None

    def _covers_value(self, other: "_Ask") -> bool:
        if self.bare:
            return other.bare or bool(other.equals and not any(same(False, one) for one in other.equals))
        if self.exists is False or other.exists is False:
            return self.exists is other.exists
        passed = other.equals
        if self.equals is not None and not (passed is not None and all(_among(one, self.equals) for one in passed)):
            return False
        if self.pattern is None or self.pattern == other.pattern:
            return True
        pattern = compile_pattern(self.pattern)
        return passed is not None and all(isinstance(one, str) and pattern.search(one) for one in passed)

    @property
    def impossible(self) -> bool:
        """Whether no answer can pass."""
        return not self.statuses or self.equals == () or (self.exists is False and bool(self.equals or self.pattern))


def _among(value: Scalar, values: Iterable[Scalar]) -> bool:
    return any(type(value) is type(one) and value == one for one in values)


# -- compiling -----------------------------------------------------------------------------------


class _Wrong(Exception):  # noqa: N818  # a finding on its way out of one rule, not an error of the program
    def __init__(self, key: str, message: str, mend: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message
        self.mend = mend


def _statuses(given: str | int | tuple[int, ...] | None) -> frozenset[int]:
    if given is None:
        return _STATUSES
    if isinstance(given, str):
        match = _CLASS.fullmatch(given)
        if match is None:
            raise _Wrong(".status", f'"{given}" is no status', 'Write 200, [200, 201] or a class such as "2xx"')
        return frozenset(range(int(match[1]) * 100, int(match[1]) * 100 + 100))
    wanted = frozenset((given,) if isinstance(given, int) else given)
    if not wanted <= _STATUSES:
        raise _Wrong(".status", "a status lies between 100 and 599", 'Write 200, [200, 201] or a class such as "2xx"')
    return wanted


def _source(when: When) -> tuple[str, str] | None:
    named = [(kind, text) for kind in _SOURCES if (text := getattr(when, kind)) is not None]
    if len(named) > 1:
        raise _Wrong("", f"it names {' and '.join(kind for kind, _ in named)}; a rule looks in one place",
                     "Keep one of path, xpath and header")  # fmt: skip
    tests = [test for test in _VALUE_TESTS if getattr(when, test) is not None]
    if tests and not named:
        raise _Wrong(f".{tests[0]}", f"{tests[0]} is put to nothing",
                     "Name a path, xpath or header beside it; for a word in the body use keyword")  # fmt: skip
    return named[0] if named else None


def _ask(when: When) -> _Ask:
    source = _source(when)
    if source is None and when.status is None and when.keyword is None:
        raise _Wrong("", "it names nothing and would hold for every answer, a 404 too",
                     "Name a status, path, xpath, header or keyword")  # fmt: skip
    keyword = folded(when.keyword) if when.keyword is not None else None
    if keyword == "":
        raise _Wrong(".keyword", "the keyword is empty", "Write the words to look for")
    equals: tuple[Scalar, ...] | None = None if when.equals is None else (when.equals,)
    if when.one_of is not None:
        equals = when.one_of if equals is None else tuple(one for one in equals if _among(one, when.one_of))
    return _Ask(_statuses(when.status), source, equals, when.exists, when.pattern, keyword)


def _finder(source: tuple[str, str]) -> Find:
    kind, text = source
    compilers: dict[str, Callable[[str], Find]] = {
        "path": compile_path,
        "xpath": compile_xpath,
        "header": compile_header,
    }
    try:
        return compilers[kind](text)
    except PathError as error:
        raise _Wrong(f".{kind}", str(error), "Try it out on an answer of the buyer") from None


def _tests(when: When, ask: _Ask) -> tuple[Test, ...]:
    """The cheapest first: they are tried in order."""
    tests: list[Test] = []
    if when.status is not None:
        tests.append(_status(ask.statuses))
    if ask.source is not None:
        find = _finder(ask.source)
        if when.equals is not None:
            tests.append(_equals(find, when.equals))
        if when.one_of is not None:
            tests.append(_one_of(find, when.one_of))
        if when.pattern is not None:
            tests.append(_pattern_test(find, when.pattern))
        if when.exists is not None:
            tests.append(_exists(find, when.exists))
        if ask.bare:
            tests.append(_is_so(find))
    if ask.keyword is not None:
        tests.append(_keyword(ask.keyword))
    return tuple(tests)


def _pattern_test(find: Find, text: str) -> Test:
    try:
        return _pattern(find, text)
    except PatternError as error:
        raise _Wrong(".pattern", str(error), "Write it without repeats inside repeats, or use one_of") from None


def _extraction(rule: ResponseRule, name: str, place: str, problems: list[Problem]) -> Find | None:
    text = getattr(rule, name)
    if text is None:
        return None
    try:
        return compile_extraction(text)
    except PathError as error:
        problems.append(Problem("", f"{place}.{name}", str(error), "Write a path to the value in the answer"))
        return None


def _rule(rule: ResponseRule, place: str, problems: list[Problem]) -> tuple[Rule, _Ask] | None:
    finders = {
        name: _extraction(rule, name, place, problems) for name in ("price", "reason", "reference", "redirect_url")
    }
    try:
        ask = _ask(rule.when)
        return Rule(place, rule.outcome, _tests(rule.when, ask), **finders), ask
    except _Wrong as wrong:
        problems.append(Problem("", f"{place}.when{wrong.key}", wrong.message, wrong.mend))
        return None


@lru_cache(maxsize=4096)
def _compiled(encoded: bytes) -> tuple[Rules | None, tuple[Problem, ...]]:
    """The rules of an endpoint from their JSON: many endpoints share one set. JSON keeps `1`, `1.0` and `true` apart,
    which are one key to a dictionary.
    """
    responses = msgspec.json.decode(encoded, type=tuple[ResponseRule, ...])
    problems: list[Problem] = []
    found = [_rule(rule, f"responses[{index}]", problems) for index, rule in enumerate(responses)]
    kept = [pair for pair in found if pair is not None]
    if len(kept) == len(found):
        problems.extend(_judged(kept))
    if any(problem.severity == "error" for problem in problems):
        return None, tuple(problems)
    return Rules(tuple(rule for rule, _ in kept)), tuple(problems)


def _judged(pairs: Sequence[tuple[Rule, _Ask]]) -> list[Problem]:
    """What is wrong with the rules together: dead ones, bold ones, and none that accepts."""
    problems: list[Problem] = []
    accepting = False
    for index, (rule, ask) in enumerate(pairs):
        dead = _dead(rule, ask, pairs[:index])
        if dead is not None:
            problems.append(dead)
        elif rule.outcome == "accepted":
            accepting = True
            if ask.source is None and ask.keyword is None:
                message = "a status alone counts as a sale, whatever the answer says"
                mend = "Name a path, xpath, header or keyword that only a sale has"
                problems.append(Problem("", f"{rule.name}.when", message, mend, "warning"))
    if not accepting:
        message = "no rule can ever give the outcome accepted, so nothing could be sold"
        mend = 'Add a rule with outcome = "accepted" and a when that only a sale meets'
        problems.append(Problem("", "responses", message, mend))
    return problems


def _dead(rule: Rule, ask: _Ask, earlier: Sequence[tuple[Rule, _Ask]]) -> Problem | None:
    """A warning when the rule can never decide anything."""
    if ask.impossible:
        message = "no answer can meet all of this at once"
        return Problem("", f"{rule.name}.when", message, "Remove one of the tests", "warning")
    shadow = next((before.name for before, its in earlier if its.covers(ask)), None)
    if shadow is None:
        return None
    message = f"{shadow} comes first and holds for every answer this rule would"
    return Problem("", rule.name, message, f"Put it before {shadow}, or remove it", "warning")


def compile_rules(responses: tuple[ResponseRule, ...]) -> tuple[Rules | None, list[Problem]]:
    """The rules of an endpoint -> (rules, warnings), or (None, every problem); keys are relative to the endpoint."""
    rules, problems = _compiled(msgspec.json.encode(responses))
    return rules, list(problems)

"""Judgments on single values that several tables hold: ids, tokens, durations, zones, dates, ranges, patterns."""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from router.terms.checks.page import Page
from router.terms.decode import suggestion
from router.terms.patterns import PatternError, compile_pattern

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_YEARS: Final = range(1970, 2201)  # as of every instant
_NOTHING_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_HOW_TO_HASH: Final = "`lead-router token new` makes a token and its hash"

Numbers = int | float | None


def judge_id(page: Page, key: str, text: str) -> None:
    """Ids stand in URLs, metrics and file names: letters, digits, `.`, `_` and `-`, at most 64."""
    if _ID.fullmatch(text) is None:
        mend = "Use 1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first"
        page.error(key, f"{shown(text)} cannot be an id", mend)


def judge_reference(page: Page, key: str, text: str, known: Iterable[str], word: str) -> bool:
    """Whether `text` is one of the known names; if not, the nearest one is named. `word` says what it should be."""
    names = list(known)
    if text in names:
        return True
    meant = suggestion(text, names)
    if meant:
        mend = f'Did you mean "{meant}"?'
    else:
        mend = f"There are {', '.join(sorted(names)[:10])}" if names else f"There is no {word} yet; write one"
    page.error(key, f"there is no {word} {shown(text)}", mend)
    return False


def judge_token_hash(page: Page, key: str, text: str) -> None:
    """A token's hash: 64 lower-case hexadecimal digits. What stands there is never shown: it may be the token."""
    if _SHA256.fullmatch(text) is None:
        if _SHA256.fullmatch(text.lower()):
            page.error(key, "this hash has upper-case letters and would never match", "Write it in lower case")
        else:
            page.error(key, "this is not the SHA-256 of a token in 64 hexadecimal digits", _HOW_TO_HASH)
    elif text == _NOTHING_SHA256:
        page.error(key, "this is the hash of empty text", _HOW_TO_HASH)


def judge_token_hashes(page: Page, key: str, hashes: Sequence[str]) -> None:
    """The live tokens of a source or buyer: at most two, for rotation."""
    for index, text in enumerate(hashes):
        judge_token_hash(page, f"{key}[{index}]", text)
    if len(hashes) > 2:
        page.error(key, f"{len(hashes)} tokens are live, and two are enough to rotate them", "Take the oldest out")


def judge_zone(page: Page, key: str, name: str) -> None:
    """An IANA time zone; schedules and windows are judged in it."""
    if name not in _zones() or not is_zone(name):
        meant = suggestion(name, _zones())
        mend = f'Did you mean "{meant}"?' if meant else 'Write an IANA name such as "America/Chicago"'
        page.error(key, f"there is no time zone {shown(name)}", mend)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


@cache
def is_zone(name: str) -> bool:
    """Whether a zone can be loaded under this name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError):
        return False
    return True


def judge_positive(page: Page, key: str, ns: int | None, why: str) -> None:
    """A duration that must be longer than nothing."""
    if ns is not None and ns <= 0:
        page.error(key, f"a duration of nothing: {why}", 'Write a longer one, such as "30s"')


def judge_at_least(page: Page, key: str, number: Numbers, least: int) -> None:
    """A number with a smallest sensible value."""
    if number is not None and number < least:
        page.error(key, f"{number} is less than {least}, which means nothing here", f"Write {least} or more")


def judge_share(page: Page, key: str, share: float | None) -> None:
    """A share of a whole lies between 0 and 1."""
    if share is not None and not 0 <= share <= 1:
        page.error(key, f"{share:g} is not a share of a whole", "Write it between 0 and 1: a quarter is 0.25")


def judge_range(page: Page, low_key: str, low: Numbers, high_key: str, high: Numbers) -> None:
    """A lower bound above its upper bound lets nothing through."""
    if low is not None and high is not None and low > high:
        page.error(low_key, f"{low} is more than {high_key} = {high}, so nothing can pass", "Swap or correct them")


def judge_date(page: Page, key: str, text: str) -> date | None:
    """A calendar date `YYYY-MM-DD`, or None when it is not one."""
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
            if day.year in _YEARS:
                return day
            page.error(key, f"{shown(text)} lies outside the years that are counted", "Write one from 1970 to 2200")
            return None
    except ValueError:
        pass  # the form is right and the day does not exist
    page.error(key, f"{shown(text)} is not a date", 'Write it as year, month and day: "2026-11-24"')
    return None


def judge_pattern(page: Page, key: str, text: str | None) -> None:
    """A regular expression must compile, and no text may make it run for long."""
    if text is None:
        return
    try:
        compile_pattern(text)
    except PatternError as error:
        page.error(key, str(error), "Write it plainer: bounded repeats, none inside another, or one_of")


def judge_distinct(page: Page, key: str, entries: Sequence[str]) -> None:
    """The same entry twice in a list is a slip of the pen."""
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        if entry in seen:
            page.error(f"{key}[{index}]", f"{shown(entry)} stands here twice", "Take one of them out")
        seen.add(entry)


def shown(text: str) -> str:
    """What an operator wrote, in quotes, shortened, and safe on a terminal."""
    short = text if len(text) <= 60 else f"{text[:60]}…"
    return '"' + "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in short) + '"'

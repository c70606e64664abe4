"""What would change between two sets of terms, in words and in numbers: for `dry_run`, `lead-router diff` and reloads.

Structs are compared as what an operator wrote, key by key; coverage as the postal codes it comes to, because that is
what a buyer will ask about. Nothing secret is shown: terms hold references, and hashes of tokens are not repeated.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from router.model.money import Money, format_money
from router.model.times import Duration, format_duration
from router.terms.book import Book, ContractPlan
from router.terms.codes import Packed
from router.terms.coverage import Coverage
from router.terms.geography import us
from router.terms.schema import Buyer, Endpoint

_SHOWN_MAX: Final = 80
_EXAMPLES: Final = 10
_HASHES: Final = "token_sha256"
#: Compared apart, each under its own subject.
_APART: Final = {"endpoints", "contracts", "coverage"}


class Change(Struct, frozen=True, kw_only=True):
    """One difference. `before` and `after` are short texts, None where there was or will be nothing.

    `key` is empty where the whole subject is new or gone. `numbers` hold what can be counted.
    """

    subject: str
    key: str = ""
    before: str | None = None
    after: str | None = None
    words: str
    numbers: dict[str, int] = {}


def changes(old: Book, new: Book) -> Iterator[Change]:
    """Every difference, in the order of the files: the daemon, lead types, sources, buyers with all that is theirs."""
    yield from _compared("router", old.router, new.router)
    for word, before, after in (
        ("lead_type", old.lead_types, new.lead_types),
        ("source", old.sources, new.sources),
        ("buyer", old.buyers, new.buyers),
    ):
        for id_ in _both(before, after):
            yield from _of(f"{word}:{id_}", before.get(id_), after.get(id_))
    for id_ in _both(old.buyers, new.buyers):
        yield from _endpoints(old.buyers.get(id_), new.buyers.get(id_))
    for id_ in _both(old.contracts, new.contracts):
        yield from _contract(old.contracts.get(id_), new.contracts.get(id_))


def _both(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The keys of both whose values are not the same, those of `after` first."""
    keys = dict.fromkeys((*after, *before))
    return [key for key in keys if before.get(key) is not after.get(key)]


def _of(subject: str, before: Struct | None, after: Struct | None) -> Iterator[Change]:
    """A subject that is there, new or gone."""
    if before is not None and after is not None:
        yield from _compared(subject, before, after)
    elif before is None:
        yield Change(subject=subject, after="new", words=f"{subject} is new")
    else:
        yield Change(subject=subject, before="there", words=f"{subject} is gone")


def _compared(subject: str, before: Struct, after: Struct) -> Iterator[Change]:
    for key, was, is_ in _differences("", _plain(before), _plain(after)):
        if _HASHES in key:
            yield Change(subject=subject, key=key, words=f"{subject}: {key} changes")
            continue
        was_text, is_text = _text(was), _text(is_)
        shown = f"{'nothing' if was_text is None else was_text} -> {'nothing' if is_text is None else is_text}"
        yield Change(subject=subject, key=key, before=was_text, after=is_text, words=f"{subject}: {key}: {shown}")


# -- as an operator wrote it ---------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A struct as the tree it was decoded from: money and durations as text, what is compared apart left out."""
    if isinstance(value, Struct):
        names = {field.name: field.encode_name for field in msgspec.structs.fields(value)}
        apart = _APART if isinstance(value, Buyer) or "lead_type" in names else frozenset[str]()
        return {shown: _plain(getattr(value, name)) for name, shown in names.items() if shown not in apart}
    if isinstance(value, Money):
        return format_money(value)
    if isinstance(value, Duration):
        return format_duration(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | Packed):
        return [_plain(one) for one in value]
    return None if value is msgspec.UNSET else value


def _differences(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """(key path, before, after) of all that differs; tables are entered, lists only where their entries have ids."""
    if before == after:
        return
    was, is_ = _table(before), _table(after)
    if was is None or is_ is None:
        yield path, before, after
        return
    for key in dict.fromkeys((*was, *is_)):
        yield from _differences(f"{path}.{key}" if path else str(key), was.get(key), is_.get(key))


def _table(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, dict):
        return value
    named = isinstance(value, list) and value and all(isinstance(one, dict) and one.get("id") for one in value)
    return {one["id"]: one for one in value} if named else None


def _text(value: Any) -> str | None:
    if value is None or value in ([], {}):
        return None
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if one not in (None, [], {})}
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


# -- buyers --------------------------------------------------------------------------------------


def _endpoints(before: Buyer | None, after: Buyer | None) -> Iterator[Change]:
    was: Mapping[str, Endpoint] = before.endpoints if before is not None else {}
    is_: Mapping[str, Endpoint] = after.endpoints if after is not None else {}
    owner = after or before
    for name in _both(was, is_):
        if was.get(name) != is_.get(name):
            assert owner is not None
            yield from _of(f"endpoint:{owner.id}/{name}", was.get(name), is_.get(name))


def _contract(before: ContractPlan | None, after: ContractPlan | None) -> Iterator[Change]:
    if after is None:
        assert before is not None
        yield Change(subject=before.owner, before="there", words=f"{before.owner} is gone", numbers=_size(before, -1))
        return
    if before is None:
        count = _count(after.coverage)
        what = "everywhere" if after.coverage.everywhere else f"{count} postal codes"
        words = f"{after.owner} is new: {after.lead_type}, {format_money(after.price)} a lead, {what}"
        yield Change(subject=after.owner, after="new", words=words, numbers=_size(after, 1))
        return
    yield from _compared(after.owner, before.terms, after.terms)
    if before.coverage != after.coverage:
        yield from _coverage(after.owner, before.coverage, after.coverage)


def _size(plan: ContractPlan, sign: int) -> dict[str, int]:
    count = _count(plan.coverage)
    return {"codes_added" if sign > 0 else "codes_removed": count}


def _coverage(subject: str, before: Coverage, after: Coverage) -> Iterator[Change]:
    was, is_ = codes_of(before), codes_of(after)
    more, fewer = sorted(is_ - was), sorted(was - is_)
    said = [f"{len(more)} postal codes more{_some(more)}"] if more else []
    said += [f"{len(fewer)} fewer{_some(fewer)}"] if fewer else []
    if before.everywhere != after.everywhere:
        said.insert(0, "everywhere from now on" if after.everywhere else "not everywhere any more")
    if said:
        yield Change(
            subject=subject,
            key="coverage",
            before=_extent(before, was),
            after=_extent(after, is_),
            words=f"{subject}: coverage: {', '.join(said)}",
            numbers={"codes_added": len(more), "codes_removed": len(fewer), "codes": len(is_)},
        )


def _some(codes: list[str]) -> str:
    more = ", …" if len(codes) > _EXAMPLES else ""
    return f" ({', '.join(codes[:_EXAMPLES])}{more})"


def _extent(coverage: Coverage, codes: frozenset[str]) -> str:
    return "everywhere" if coverage.everywhere else f"{len(codes)} postal codes"


def _count(coverage: Coverage) -> int:
    return len(codes_of(coverage))


def codes_of(coverage: Coverage) -> frozenset[str]:
    """The postal codes a coverage comes to. A US prefix counts as the codes in use below it, another as one."""
    found = set(coverage.codes)
    for prefix in coverage.prefixes:
        found.update(us().starting(prefix) if coverage.country == "US" else (f"{prefix}*",))
    if coverage.everywhere and coverage.country == "US":
        found.update(us().starting(""))
    if coverage.excluded:
        found = {code for code in found if coverage.exclusion_for(code) is None}
    return frozenset(found)

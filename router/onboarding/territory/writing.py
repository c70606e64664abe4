"""A territory -> the files of a configuration: a list of postal codes, and the TOML of the coverage that names it."""

import json
from collections.abc import Iterable
from typing import Final

from router.onboarding.territory.reading import Territory
from router.terms.coverage import Coverage, CoverageProblem, expand
from router.terms.schema import CoverageTerms, Exclude, Radius

_INLINE_MAX: Final = 24
_COLUMN: Final = "postal_code"


def as_terms(territory: Territory, list_name: str) -> CoverageTerms:
    """The coverage table, with the codes in the list of that name."""
    without_file = len(territory.without_codes) > _INLINE_MAX
    return CoverageTerms(
        country=None if territory.country == "US" else territory.country,
        states=territory.states,
        counties=territory.counties,
        cities=territory.cities,
        radius=tuple(Radius(center=center, miles=miles) for center, miles in territory.radius),
        files=(list_name,) if territory.postal_codes else (),
        exclude=Exclude(
            postal_codes=() if without_file else territory.without_codes,
            states=territory.without_states,
            files=(without_name(list_name),) if without_file else (),
        ),
    )


def without_name(list_name: str) -> str:
    """The list of what is left out, beside that of what is covered."""
    stem, dot, suffix = list_name.rpartition(".")
    return f"{stem}-except{dot}{suffix}" if dot else f"{list_name}-except"


def lists(territory: Territory, list_name: str) -> dict[str, str]:
    """The text of every list to write, by its name."""
    terms = as_terms(territory, list_name)
    named = dict.fromkeys(terms.files, territory.postal_codes)
    named |= dict.fromkeys(terms.exclude.files, territory.without_codes)
    return {name: "\n".join((_COLUMN, *entries, "")) for name, entries in named.items()}


def toml(terms: CoverageTerms) -> str:
    """`[contracts.coverage]` as it can be pasted into a buyer's file."""
    lines = ["[contracts.coverage]"]
    if terms.country is not None:
        lines.append(f"country = {_text(terms.country)}")
    for key in ("files", "postal_codes", "states", "counties", "cities"):
        if getattr(terms, key):
            lines.append(f"{key} = {_texts(getattr(terms, key))}")
    if terms.radius:
        circles = ", ".join(f"{{ center = {_text(one.center)}, miles = {one.miles:g} }}" for one in terms.radius)
        lines.append(f"radius = [{circles}]")
    left_out = [
        f"{key} = {_texts(getattr(terms.exclude, key))}"
        for key in ("files", "postal_codes", "states")
        if getattr(terms.exclude, key)
    ]
    if left_out:
        lines.append(f"exclude = {{ {', '.join(left_out)} }}")
    return "\n".join((*lines, ""))


def expanded(territory: Territory, list_name: str) -> tuple[Coverage, list[CoverageProblem]]:
    """What a contract with that coverage would cover, and what `check` would say of it."""
    return expand(as_terms(territory, list_name), lists=lists(territory, list_name), country=territory.country)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _texts(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"

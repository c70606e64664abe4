"""Postal areas: a country's codes that start with the same character, each with a bit space of its own where one for
all contracts of a lead type would be long (`core.index`).

A lead lies in one area, and most contracts buy in one or two. So the board of an area holds a sixth or so of the
contracts, and every mask over it is as much shorter: to AND, to keep for each code in use, to write into the ledger.
Few contracts are better kept together: their masks are short anyhow, and fewer tables stay in the processor's cache.

An area is named by its country and the character: `US7`, `CAM`. The country alone is the area of leads without a code,
and of codes that only contracts for the whole country take. `""` is no area: all contracts of the lead type.
"""

from collections.abc import Sequence
from typing import Final

from router.model.lead import Lead
from router.terms.book import ContractPlan
from router.terms.steps import Steps, each

#: No area: with up to so many contracts a lead type has one board for all of them.
WHOLE: Final = ""
WHOLE_MAX = 4096


def areas_of(lead: Lead) -> tuple[str, str]:
    """The areas a lead may be decided in: its own if any contract takes a code there, else its country."""
    code = lead.fields.get("postal_code")
    return (lead.country + code[:1] if isinstance(code, str) else lead.country), lead.country


def on_boards(plans: Sequence[ContractPlan]) -> Steps[dict[str, Sequence[ContractPlan]]]:
    """The contracts of a lead type that each of its boards holds, in the order given, by area.

    One board for all of them, or one for each area and an empty one for leads that lie in none.
    """
    if len(plans) <= WHOLE_MAX:
        return {WHOLE: plans}
    found = yield from by_area(plans)
    return {**found, WHOLE: ()}


def by_area(plans: Sequence[ContractPlan]) -> Steps[dict[str, list[ContractPlan]]]:
    """The contracts that take codes of an area, by area; those for a whole country are in each area of it."""
    kinds = dict.fromkeys(plan.areas for plan in plans)
    found: dict[str, list[ContractPlan]] = {area: [] for areas in kinds for area in areas}
    within = {area: [found[one] for one in found if one.startswith(area)] for area in found}

    def take(plan: ContractPlan) -> None:
        for area in plan.areas:
            for here in within[area]:
                here.append(plan)

    yield from each(plans, take)
    return found

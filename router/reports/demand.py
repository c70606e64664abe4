"""Where leads came from: counted once over the past, for whatever weighs codes by them."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from router.ledger.past import Past, open_past
from router.reports.coverage import Spot


class Demand(NamedTuple):
    """Leads by postal code. `of_type` counts all of a type; `unknown`: without a code, `forgotten`: erased since."""

    spots: Counter[Spot]
    of_type: Counter[str]
    unknown: int
    forgotten: int

    @property
    def total(self) -> int:
        """All leads that were looked at."""
        return self.of_type.total()


def demand(state_dir: Path, *, since_ns: int = 0) -> Demand | None:
    """The demand in a state directory; None where there is no ledger. Raises LedgerError."""
    with open_past(state_dir) as past:
        return None if past is None else demand_in(past, since_ns)


def demand_in(past: Past, since_ns: int) -> Demand:
    """The leads received since then, tests and duplicates left out."""
    spots: Counter[Spot] = Counter()
    of_type: Counter[str] = Counter()
    unknown = forgotten = 0
    for lead in past.leads(since_ns):
        if lead.test or lead.status == "duplicate":
            continue
        of_type[lead.lead_type] += 1
        if lead.postal_code is not None and lead.country is not None:
            spots[Spot(lead.lead_type, lead.country, lead.postal_code)] += 1
        elif lead.erased:
            forgotten += 1
        else:
            unknown += 1
    return Demand(spots, of_type, unknown, forgotten)

"""What became of the leads of a demo, and the sums that must hold. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from router.demo.farm import Received
from router.demo.people import Kind


class Fate(Struct, frozen=True, kw_only=True):
    """One lead that was sent: the HTTP status, and the daemon's answer (or the problem it gave)."""

    kind: Kind
    http: int
    answer: dict[str, Any]
    took_s: float

    @property
    def lead_id(self) -> str | None:
        """Its id, when it was taken."""
        return str(self.answer["lead_id"]) if self.taken else None

    @property
    def taken(self) -> bool:
        """Whether the daemon acknowledged it."""
        return self.http in (201, 202)


class Tally:
    """The running count, kept by lead so that a later look at the same lead replaces the earlier."""

    def __init__(self) -> None:
        self.sent = 0
        self.fates: dict[int, Fate] = {}

    def note(self, number: int, fate: Fate) -> None:
        """The present fate of the `number`-th lead."""
        self.fates[number] = fate

    def statuses(self) -> Counter[str]:
        """How many leads are in which status; those that were not taken are `refused`."""
        return Counter(str(fate.answer.get("status")) if fate.taken else "refused" for fate in self.fates.values())

    def reasons(self) -> Counter[str]:
        """Why the unsold ones are unsold."""
        return Counter(
            str(fate.answer.get("reason"))
            for fate in self.fates.values()
            if fate.taken and fate.answer.get("status") == "unsold"
        )

    def refused_by(self) -> Counter[str]:
        """The code of each refused lead's first error, with its field."""
        return Counter(_first_error(fate) for fate in self.fates.values() if not fate.taken)

    def copies(self) -> int:
        """Copies sold, as the daemon answered."""
        return sum(int(fate.answer.get("copies") or 0) for fate in self.fates.values() if fate.taken)


def _first_error(fate: Fate) -> str:
    errors = fate.answer.get("errors") or ()
    if errors:
        return f"{errors[0].get('field')}: {errors[0].get('code')}"
    return str(fate.answer.get("code") or f"status {fate.http}")


def discrepancies(tally: Tally, received: Sequence[Received], outcomes: Mapping[str, str]) -> list[str]:
    """Everything that does not add up, in words; empty when all does.

    `outcomes` maps each delivery id the daemon knows to its outcome: it is compared with what the buyers say.
    """
    found = []
    counted = sum(tally.statuses().values())
    if counted != tally.sent:
        found.append(f"{tally.sent} leads were sent, {counted} have a status")
    unfinished = [status for status in ("routing", "None") if tally.statuses()[status]]
    if unfinished:
        found.append(f"leads are still {', '.join(unfinished)}")
    accepted = {delivery for delivery, outcome in outcomes.items() if outcome == "accepted"}
    if tally.copies() != len(accepted):
        found.append(f"the answers tell of {tally.copies()} sold copies, the deliveries of {len(accepted)}")
    said, told = _said_yes(received)
    if accepted - said:
        found.append(f"{len(accepted - said)} deliveries are booked as accepted and no buyer said so")
    lost = [one for one in told - accepted if outcomes.get(one) != "in_doubt"]
    if lost:
        found.append(f"{len(lost)} deliveries were accepted by a buyer and are not booked so")
    strangers = {one.delivery_id for one in received} - outcomes.keys()
    if strangers:
        found.append(f"{len(strangers)} deliveries reached a buyer and the daemon does not know of them")
    return found


def _said_yes(received: Iterable[Received]) -> tuple[set[str], set[str]]:
    """Deliveries whose buyer meant yes, and those of them where it also got the answer out."""
    said = [one for one in received if one.said == "accepted"]
    return {one.delivery_id for one in said}, {one.delivery_id for one in said if one.told}

"""Every temper x {exclusive, shared} x {idempotent, not}: the outcome, the attempts, and what follows (SPEC section 4).

The real engine and dispatch in virtual time, over the farm's own tempers; what the transport makes of them is held to
the real one by `test_as_the_transport_says`, and the whole is played for real in `test_at_the_farm`.
"""

from typing import Any

import msgspec
import pytest

from router.engine import LeadView
from router.model.facts import Attempted, Paused, Reserved, Settled
from router.model.times import NS_S
from tests import factory
from tests.simulation.router_world import RouterWorld
from tests.tempers.table import MANY
from tests.tempers.trials import DEADLINE_S, SECRET, TRIALS, Mode, Trial, selling
from tests.tempers.virtual import VirtualFarm

named = pytest.mark.parametrize("trial", TRIALS, ids=[one.name for one in TRIALS])


class Played:
    """One trial, from the offer to what became of it."""

    def __init__(self, trial: Trial, mode: Mode) -> None:
        self.trial = trial
        self.farm = VirtualFarm(trial.courses())
        book = factory.book(*trial.buyers(), lead_type={"sell": selling(mode), "deadline": f"{DEADLINE_S}s"})
        world = RouterWorld(book, self.farm.script)
        world.secrets = {"token": SECRET}
        self.farm.loop = world.loop
        self.view: LeadView = world.play(lambda w: w.sell(trial.lead(factory.NOON)))
        self._entries = world.ledger._entries

    def facts(self, kind: type) -> list[Any]:
        """All facts of a kind."""
        return [entry.fact for entry in self._entries if isinstance(entry.fact, kind)]

    @property
    def delivery(self) -> str:
        """The delivery to the first buyer."""
        [one] = [fact for fact in self.facts(Reserved) if fact.buyer_id == self.trial.buyer("first")]
        return str(one.delivery_id)

    def asked(self) -> list[str]:
        """Who was asked, each once, in the order it came to them."""
        places = {self.trial.buyer(place): place for place in ("first", "second", "third")}
        return list(dict.fromkeys(places[one.name] for one in self.farm.received))


def judge_delivery(played: Played) -> None:
    """Outcome, reason and price; as many attempts as said, each recorded and sent once, none after the deadline."""
    row, delivery = played.trial.wanted, played.delivery
    [settled] = [fact for fact in played.facts(Settled) if fact.delivery_id == delivery]
    assert (settled.outcome, settled.reason, settled.price) == (row.outcome, row.reason, row.price)
    attempts = [fact for fact in played.facts(Attempted) if fact.delivery_id == delivery]
    assert [one.n for one in attempts] == list(range(1, len(attempts) + 1))
    assert len(attempts) == row.attempts if row.attempts != MANY else len(attempts) > 3
    assert all(one.sent_at_ns < factory.NOON + DEADLINE_S * NS_S for one in attempts)
    assert len({one.request_sha256 for one in attempts}) == 1
    assert [one.delivery_id for one in played.farm.named(played.trial.buyer("first"))] == [delivery] * len(attempts)


def judge_neighbourhood(played: Played) -> None:
    """Only 410 pauses (one 401 does not), and a buyer that repeats our credentials leaves them in no fact."""
    gone = [f"c-{played.trial.buyer('first')}"] if played.trial.case.temper in ("gone", "410") else []
    assert [fact.id for fact in played.facts(Paused)] == gone
    assert SECRET.encode() not in msgspec.json.encode(played.facts(object))


@named
def test_an_exclusive_lead(trial: Trial) -> None:
    """Accepted: sold, nobody else is asked. In doubt: the lead waits. Else the second in rank gets it."""
    played = Played(trial, "exclusive")
    judge_delivery(played)
    judge_neighbourhood(played)
    follows = {"accepted": ("sold", 1, ["first"]), "in_doubt": ("in_doubt", 0, ["first"])}
    wanted = follows.get(trial.wanted.outcome, ("sold", 1, ["first", "second"]))
    assert (played.view.status, played.view.copies, played.asked()) == wanted
    nobody_else_could_have_it(played)


@named
def test_a_shared_lead(trial: Trial) -> None:
    """Two copies: a doubt holds one, so that no third buyer is asked; a refusal gives it to the third."""
    played = Played(trial, "shared")
    judge_delivery(played)
    judge_neighbourhood(played)
    follows = {"accepted": (2, ["first", "second"]), "in_doubt": (1, ["first", "second"])}
    copies, asked = follows.get(trial.wanted.outcome, (2, ["first", "second", "third"]))
    assert (played.view.status, played.view.copies, played.asked()) == ("sold", copies, asked)


def nobody_else_could_have_it(played: Played) -> None:
    """Seen from the farm: who was asked before has the last word said, and it was no."""
    before: dict[str, Any] = {}
    for one in played.farm.received:
        for name, last in before.items():
            assert name == one.name or (last.told and not last.could_have), f"{one.name} got what {name} could have"
        before[one.name] = one
    assert sum(one.could_have for one in before.values()) <= 1

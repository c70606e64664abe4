"""An outage of one buyer, in virtual time: what it is sent meanwhile, and how its leads fare."""

import asyncio

from router.core.retry_budget import FIRSTS_FOR_ONE, FLOOR
from router.dispatch import BUDGET_SPENT
from router.engine.proof import Proof
from router.model.delivery import HttpRequest
from tests.factory import book, buyer, contract, lead
from tests.simulation.router_world import ACCEPTED, Answer, RouterWorld, answer

LEADS = 400
STORM = {"retry": {"attempts": 5, "backoff": "100ms"}}
LIMITED = answer(429, b"")


def test_an_outage_does_not_become_a_storm() -> None:
    """A buyer answers 429 to everybody, which no breaker opens for. Its retries stay inside the budget instead of
    being four for each lead; every lead is sold to the next in rank; and the attempt says why it was the last.
    """

    def script(lane: str, request: HttpRequest, _number: int) -> tuple[float, Answer]:
        return 0.01, LIMITED if lane == "first" else ACCEPTED

    terms = book(
        buyer("first", contract("first", price="20.00"), endpoint=STORM, max_in_flight=1000),
        buyer("next", contract("next", price="10.00"), max_in_flight=1000),
    )

    async def story(world: RouterWorld) -> list[object]:
        views = []
        for number in range(LEADS):
            views.append(asyncio.create_task(world.sell(lead(f"lead-{number}", phone=f"+1512555{number:04d}"))))
            await asyncio.sleep(0.005)
        sold = [(await view).status for view in views]
        proof = Proof(world.engine)
        trace = await proof.trace(f"lead-{LEADS - 1}")
        return [sold, trace, world.buyers.asked().count("first")]

    sold, trace, asked = RouterWorld(terms, script).play(story)
    assert set(sold) == {"sold"}
    assert LEADS < asked <= LEADS + FLOOR + LEADS // FIRSTS_FOR_ONE
    (first, second) = trace["deliveries"]
    assert (first["outcome"], first["reason"]) == ("failed", "unavailable")
    assert first["attempts"][-1]["detail"].endswith(BUDGET_SPENT)
    assert second["outcome"] == "accepted"

"""All trials at once, for real: one engine, one transport, one farm, real time. At the farm nothing is sold twice."""

import asyncio
from collections import Counter, defaultdict

from router.clock import SystemClock
from router.demo.farm import Farm, Received
from router.engine import Engine
from router.ledger.memory import MemoryLedger
from router.model.facts import Reserved, Settled
from router.transport import AiohttpTransport
from tests import factory
from tests.tempers.table import MANY, SHORT
from tests.tempers.trials import SECRET, TRIALS, Trial, selling

#: Long enough for a machine that does much else; only who is asked until the deadline is not waited for so long.
PATIENT = {"connect_timeout": "60s"}
DEADLINE = "2m"


async def test_at_the_farm() -> None:
    """Each delivery ends as the table says, and no exclusive lead reached a buyer while another could have it.

    Everything happens at the same time: who hangs, drips and floods costs the others nothing. Who is silent and asked
    again and again has little time to be connected to on a busy machine: only what the farm saw of it counts.
    """
    ending = [trial for trial in TRIALS if trial.wanted.attempts != MANY]
    doubtful = [trial for trial in TRIALS if trial.wanted.attempts == MANY and trial.case.timeout != SHORT]
    heard = asyncio.Event()
    async with Farm(heard=lambda _: heard.set()) as farm:
        buyers = [tree for trial in TRIALS for tree in trial.buyers(farm.url, **patience(trial))]
        book = factory.book(*buyers, lead_type={"sell": selling("exclusive"), "deadline": DEADLINE})
        transport, ledger = AiohttpTransport(book.router.network), MemoryLedger()
        engine = Engine(book=book, ledger=ledger, transport=transport, clock=SystemClock(), secrets={"token": SECRET})
        await engine.start()
        for trial in TRIALS:
            await engine.submit(trial.lead(engine.now_ns()))
        async with asyncio.timeout(120):
            views = await asyncio.gather(*(engine.settled(f"lead-{trial.number}", 120) for trial in ending))
            while any(len(farm.named(trial.buyer("first"))) < 2 for trial in doubtful):
                heard.clear()
                await heard.wait()
        still = [engine.state.open[f"lead-{trial.number}"].status for trial in doubtful]
        await engine.drain(0)
        await transport.close()
        engine.failure.cancel()
        entries = ledger._entries
    reserved = {one.fact.delivery_id: one.fact for one in entries if isinstance(one.fact, Reserved)}
    settled = {reserved[one.fact.delivery_id].buyer_id: one.fact for one in entries if isinstance(one.fact, Settled)}
    for trial, view in zip(ending, views, strict=True):
        first = settled[trial.buyer("first")]
        if trial.case.timeout == SHORT and first.reason in ("connect", "no_connection"):
            continue  # the machine was busy: there was no time to connect
        assert (trial.name, first.outcome) == (trial.name, trial.wanted.outcome)
        assert view.status == ("in_doubt" if first.outcome == "in_doubt" else "sold")
    assert Counter(still) == {"routing": len(doubtful)}
    asked: dict[str, list[Received]] = defaultdict(list)
    for one in farm.received:
        asked[reserved[one.delivery_id].lead_id].append(one)
    for requests in asked.values():
        never_while_another_could_have_it(requests)


def patience(trial: Trial) -> dict[str, str]:
    """Little time for who is silent on purpose, much for the others."""
    return PATIENT if trial.case.timeout == SHORT else PATIENT | {"timeout": "60s"}


def never_while_another_could_have_it(requests: list[Received]) -> None:
    """One lead's requests in the order in which they came: another buyer only after a no that was told."""
    last = requests[0]
    for one in requests[1:]:
        assert one.name == last.name or (last.told and not last.could_have), (last, one)
        last = one

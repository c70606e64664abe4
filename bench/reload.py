"""What a change costs while leads come: how long the loop stands still, and how long a lead waits for what changed.

The daemon's own parts are at work: files on disk, read by a process of their own; the engine with a SQLite ledger;
uvloop. A meter runs on the same loop and keeps the longest time between two of its turns, by the wall clock and in
processor time: the wall clock also sees what neighbours on a shared machine take, processor time only what we do.

Small changes are timed alone, over many contracts: what the boards do when they are told (somebody pauses a contract, a
sale fills a cap, midnight empties it), and asking the contract anew when the next lead reaches it.

    python -m bench.reload [--contracts 10000] [--json FILE]
"""

import argparse
import asyncio
import gc
import json
import random
import tempfile
import time
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from bench.decide import rss_mb
from bench.market import NOON, market, stream
from router.clock import SystemClock
from router.configuration.beside import read_beside
from router.configuration.disk import read_candidate
from router.core.calendar import Calendar
from router.core.decide import choose, reserve
from router.core.live import Live, identity_of
from router.core.rules.standing import Moment
from router.core.state import State
from router.daemon.serve import GC_THRESHOLDS
from router.engine import Engine
from router.engine.controls import Controls
from router.ledger.sqlite import SqliteLedger
from router.model.facts import AnyFact, Entry, Paused, Received, Reserved, Resumed, Settled
from router.model.lead import Lead
from router.model.money import Money, format_money
from router.model.times import NS_DAY, NS_HOUR, Duration, format_duration
from router.terms.book import Book
from router.terms.candidate import Candidate
from router.terms.compile import compile_book
from router.terms.schema import Buyer, Cap, Terms
from router.terms.steps import at_once
from router.transport import AiohttpTransport

#: What we want of each figure, at ten thousand contracts.
GOALS: Final = {
    ("events", "pause", "p50_us"): 5,
    ("events", "cap fills", "p50_us"): 5,
    ("events", "midnight, caps reset", "each_us"): 5,
    ("events", "an hour turns over", "worst_board_us"): 5000,
    ("events", "a coverage edit, all boards", "p50_us"): 500,
    ("reloads", "nothing changed", "stall_cpu_ms"): 5,
    ("reloads", "coverage of one contract", "stall_cpu_ms"): 5,
    ("reloads", "every contract", "stall_cpu_ms"): 5,
    ("reloads", "edit, without reading", "took_ms"): 0.5,
    ("reloads", "memory", "at_start_mb"): 100,
}
_ROUNDS: Final = 2000
_TIMES: Final = 5
_EDITS: Final = 50
#: From noon in New York to when its offices close, and Chicago's evening ones open.
_EVENING_NS: Final = 6 * NS_HOUR


# -- terms as files ------------------------------------------------------------------------------


def toml(value: object) -> str:
    """A value of the terms as TOML, structs as inline tables of what differs from its default."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Money):
        return json.dumps(format_money(value))
    if isinstance(value, Duration):
        return json.dumps(format_duration(value))
    if isinstance(value, (str, int, float)):
        return json.dumps(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(map(toml, value))}]"
    tree = value if isinstance(value, Mapping) else written(value)
    return f"{{ {', '.join(f'{json.dumps(name)} = {toml(one)}' for name, one in tree.items() if one is not None)} }}"


def written(struct: Any) -> dict[str, Any]:
    """What of a struct differs from its defaults, by the keys of the configuration."""
    found = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if value is not None and value != default:
            found[field.encode_name] = value
    return found


def put(path: Path, struct: object) -> None:
    """One owner's file."""
    path.parent.mkdir(exist_ok=True)
    lines = (f"{json.dumps(name)} = {toml(value)}\n" for name, value in written(struct).items())
    path.write_text("".join(lines), "utf-8")


def lay_out(terms: Terms, folder: Path) -> None:
    """A configuration directory of these terms."""
    folder.mkdir()
    put(folder / "router.toml", terms.router)
    for name, owners in (("lead_types", terms.lead_types), ("sources", terms.sources), ("buyers", terms.buyers)):
        for id_, owner in owners.items():
            put(folder / name / f"{id_}.toml", owner)


# -- how long the loop stands still --------------------------------------------------------------


class Meter:
    """Runs on the loop and keeps the longest gap between two turns."""

    def __init__(self) -> None:
        self._running = True
        self.wall_ns = self.cpu_ns = 0
        self.spent_ns = 0

    async def run(self) -> None:
        """Until `stop`."""
        wall, cpu = time.perf_counter_ns, time.thread_time_ns
        began = last, last_cpu = wall(), cpu()
        while self._running:
            await asyncio.sleep(0)
            now, now_cpu = wall(), cpu()
            self.wall_ns = max(self.wall_ns, now - last)
            self.cpu_ns = max(self.cpu_ns, now_cpu - last_cpu)
            last, last_cpu = now, now_cpu
        self.spent_ns = last - began[0]

    def stop(self) -> None:
        """It has seen enough."""
        self._running = False


async def watched(work: Awaitable[Any]) -> dict[str, float]:
    """How long some work takes and what it does to the loop, milliseconds."""
    meter = Meter()
    ticking = asyncio.ensure_future(meter.run())
    await asyncio.sleep(0)
    start = time.perf_counter_ns()
    await work
    took = time.perf_counter_ns() - start
    meter.stop()
    await ticking
    return {
        "took_ms": round(took / 1e6, 1),
        "stall_ms": round(meter.wall_ns / 1e6, 2),
        "stall_cpu_ms": round(meter.cpu_ns / 1e6, 2),
    }


async def reloads(contracts: int, folder: Path) -> dict[str, Any]:
    """The running engine takes in other files, and one buyer's edit by itself."""
    gc.set_threshold(*GC_THRESHOLDS)
    terms = market(contracts)
    lay_out(terms, folder / "config")
    state_dir = folder / "state"
    state_dir.mkdir()
    clock = SystemClock()
    candidate = read_candidate(folder / "config", state_dir)
    assert candidate.terms is not None, [problem.line() for problem in candidate.problems[:3]]
    terms = candidate.terms
    before = rss_mb()
    book = compile_book(terms)
    transport = AiohttpTransport(book.router.network, clock=clock)
    engine = Engine(book=book, ledger=SqliteLedger(state_dir), transport=transport, clock=clock, secrets={})
    memory = {"at_start_mb": round(rss_mb() - before, 1)}
    found: dict[str, Any] = {"memory": memory}
    await engine.start()
    controls = Controls(engine, lambda: read_beside(folder / "config", state_dir, engine.book, clock))
    gc.collect()
    gc.freeze()
    try:
        found["nothing changed"] = await watched(controls.reload(by="bench"))
        edited = covering_more(next(iter(terms.buyers.values())))
        put(folder / "config/buyers" / f"{edited.id}.toml", edited)
        found["coverage of one contract"] = await watched(controls.reload(by="bench"))
        found["edit, without reading"] = await watched(edits(controls, engine.book.terms))
        for buyer in terms.buyers.values():
            put(folder / "config/buyers" / f"{buyer.id}.toml", dearer(buyer))
        found["every contract"] = await watched(controls.reload(by="bench"))
        memory["after_reloads_mb"] = round(rss_mb() - before, 1)
    finally:
        gc.unfreeze()
        await engine.drain(0)
        engine.failure.cancel()
        await transport.close()
        await engine.ledger.close()
    return found


async def edits(controls: Controls, terms: Terms) -> None:
    """One buyer's coverage changes: what the loop has to do once it is read and judged."""
    edited = covering_more(list(terms.buyers.values())[1])
    changed = msgspec.structs.replace(terms, buyers=terms.buyers | {edited.id: edited})
    await controls.adopt(Candidate(terms=changed, problems=(), secrets={}), by="bench")


def covering_more(buyer: Buyer) -> Buyer:
    """The buyer's first contract takes two codes more."""
    first = buyer.contracts[0]
    assert first.coverage is not None
    codes = (*first.coverage.postal_codes, "78701", "10001")
    coverage = msgspec.structs.replace(first.coverage, everywhere=False, postal_codes=codes)
    changed = msgspec.structs.replace(first, coverage=coverage)
    return msgspec.structs.replace(buyer, contracts=(changed, *buyer.contracts[1:]))


def dearer(buyer: Buyer) -> Buyer:
    """All of the buyer's contracts pay a cent more."""
    contracts = [msgspec.structs.replace(one, price=Money(one.price + 1)) for one in buyer.contracts]
    return msgspec.structs.replace(buyer, contracts=tuple(contracts))


# -- what one event costs ------------------------------------------------------------------------


class Events:
    """Boards and state as the engine keeps them, and what happens to one contract after the other."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.live = Live(book)
        self.state = State(identity_of(book))
        self.now_ns = NOON
        self._calendar = Calendar()
        self._number = 0

    def moment(self) -> Moment:
        """Now."""
        return Moment(self.now_ns, self.now_ns, self._calendar)

    def ask_all(self) -> None:
        """A lead has reached every contract."""
        for standings in self.live.all():
            standings.blocking(standings.board.all, self.state, self.moment())

    def event(self, fact: AnyFact, contract_id: str, buyer_id: str) -> int:
        """Nanoseconds until the boards say what follows from a fact about a contract."""
        standings = self.live.holding(self.book.contracts[contract_id])[0]
        bit = 1 << standings.board.rank_of[contract_id]
        moment = self.moment()
        entry = Entry(at_ns=self.now_ns, fact=fact)
        self.state.apply(entry)  # every sale pays for that, and so does a pause whatever it changes
        start = time.perf_counter_ns()
        self.live.told(fact, contract_id, buyer_id, self.state)
        standings.blocking(bit, self.state, moment)
        return time.perf_counter_ns() - start

    def pauses(self, ids: list[str]) -> list[int]:
        """Somebody pauses each of these, and resumes it; the quickest of a few times counts."""
        took = []
        for id_ in ids:
            paused, resumed = [], []
            for _ in range(_TIMES):
                paused.append(self.event(Paused(subject="contract", id=id_, reason="bench", by="bench"), id_, id_))
                resumed.append(self.event(Resumed(subject="contract", id=id_, by="bench"), id_, id_))
            took += [min(paused), min(resumed)]
        return took

    def fill(self, ids: list[str]) -> list[int]:
        """The one sale that each cap of one lead allows; declined a few times first, and the quickest time counts."""
        took = []
        for id_ in ids:
            times = []
            plan = self.book.contracts[id_]
            board = self.live.holding(plan)[0].board
            self._number += 1
            lead = msgspec.structs.replace(_LEAD, lead_id=f"l{self._number}", lead_type=plan.lead_type)
            received = Received(lead_id=lead.lead_id, source_id="web", lead_type=plan.lead_type)
            self.state.apply(Entry(at_ns=self.now_ns, fact=received, lead=lead))
            for again in range(_TIMES):
                name = f"d{self._number}-{again}"
                fact: Reserved = reserve(
                    board, board.rank_of[id_], self.state, lead, self.moment(), delivery_id=name, place=0
                )
                times.append(self.event(fact, id_, plan.buyer_id))
                last = again == _TIMES - 1
                settled = Settled(delivery_id=name, outcome="accepted" if last else "rejected")
                self.event(settled, id_, plan.buyer_id)
            took.append(min(times))
        return took

    def turn(self, to_ns: int) -> dict[str, float]:
        """Time comes to an instant at which answers end: the masks of all boards, and every contract asked that has to.

        Microseconds; a lead asks only those that it reaches.
        """
        self.now_ns = to_ns
        masks = asked = worst = spent = 0
        for standings in self.live.all():
            moment = self.moment()
            start = time.perf_counter_ns()
            standings.blocking(0, self.state, moment)
            middle = time.perf_counter_ns()
            due, times = standings.unasked, []
            for _ in range(_TIMES):
                standings.touch(due)
                again = time.perf_counter_ns()
                standings.blocking(standings.board.all, self.state, moment)
                times.append(time.perf_counter_ns() - again)
            masks += middle - start
            asked += due.bit_count()
            spent += min(times)
            worst = max(worst, middle - start + min(times))
        return {
            "masks_us": round(masks / 1000, 1),
            "asked": asked,
            "each_us": round(spent / asked / 1000, 2) if asked else 0.0,
            "worst_board_us": round(worst / 1000, 1),
        }


_LEAD: Final[Lead] = next(iter(stream(1)))


def events(contracts: int) -> dict[str, Any]:
    """One event after the other, each alone."""
    terms = market(contracts)
    chance = random.Random(7)
    capped: dict[str, Buyer] = {}
    one_a_day = (Cap(id="daily", per="day", limit=1),)
    for id_, buyer in terms.buyers.items():
        own = tuple(msgspec.structs.replace(one, caps=one_a_day, schedule=None) for one in buyer.contracts)
        capped[id_] = msgspec.structs.replace(buyer, contracts=own)
    full = Events(compile_book(msgspec.structs.replace(terms, buyers=capped)))
    usual = Events(compile_book(terms))
    for one in (full, usual):
        one.ask_all()
    ids = chance.sample(sorted(full.book.contracts), min(_ROUNDS, contracts))
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        found: dict[str, Any] = {"pause": us(usual.pauses(ids)), "cap fills": us(full.fill(ids))}
        found["midnight, caps reset"] = full.turn(NOON + NS_DAY)
        found["an hour turns over"] = usual.turn(NOON + _EVENING_NS)
        found["a decision before and after"] = decisions(usual)
        found["a coverage edit, all boards"] = us(coverage_edits(usual))
    finally:
        gc.enable()
        gc.unfreeze()
    return found


def coverage_edits(world: Events) -> list[int]:
    """From other terms to the boards that hold by them, where a contract takes two codes more; the quickest counts."""
    book, took = world.book, []
    buyers = [one for one in book.buyers.values() if not book.contracts[one.contracts[0].id].coverage.everywhere]
    for buyer in buyers[:_EDITS]:
        edited = covering_more(buyer)
        after = compile_book(msgspec.structs.replace(book.terms, buyers={**book.buyers, buyer.id: edited}), book)
        times = []
        for _ in range(_TIMES):
            start = time.perf_counter_ns()
            at_once(Live.building(after, world.live))
            times.append(time.perf_counter_ns() - start)
        took.append(min(times))
    return took


def decisions(world: Events) -> dict[str, float]:
    """The first decisions after an hour turned over, beside the same once more: what the turn costs the leads."""

    def decide(lead: Lead) -> int:
        (standings,) = world.live.modes(lead)
        moment = world.moment()
        start = time.perf_counter_ns()
        choose(standings, world.state, lead, moment, released_at_ns=moment.at_ns, copies=1)
        return time.perf_counter_ns() - start

    leads = [*stream(2000)]
    for lead in leads:
        decide(lead)
    world.now_ns += NS_HOUR
    first = [decide(lead) for lead in leads]
    again = [decide(lead) for lead in leads]
    return {
        "first_worst_us": round(max(first) / 1000, 1),
        "first_mean_us": round(sum(first) / len(first) / 1000, 2),
        "again_mean_us": round(sum(again) / len(again) / 1000, 2),
    }


def us(took: list[int]) -> dict[str, float]:
    """Median, 99th percentile and worst, microseconds."""
    ordered = sorted(took)
    places = {"p50_us": len(ordered) // 2, "p99_us": int(len(ordered) * 0.99), "worst_us": len(ordered) - 1}
    return {name: round(ordered[place] / 1000, 2) for name, place in places.items()}


def _print(result: Mapping[str, Any]) -> None:
    for title in ("events", "reloads"):
        print(f"\n{result['contracts']:,} contracts: {title}")
        for name, row in result[title].items():
            shown = (f"{key} {value}{_goal(title, name, key)}" for key, value in row.items())
            print(f"  {name:30}{', '.join(shown)}")


def _goal(title: str, name: str, key: str) -> str:
    goal = GOALS.get((title, name, key))
    return "" if goal is None else f" (goal {goal})"


def main(argv: list[str] | None = None) -> int:
    """Run and print; `--json` writes the figures too."""
    options = argparse.ArgumentParser(description="What a change costs while leads come.")
    options.add_argument("--contracts", type=int, default=10_000, help="(default: %(default)s)")
    options.add_argument("--only", choices=("events", "reloads"), help="leave the others out")
    options.add_argument("--json", type=Path, help="write the figures to this file too")
    asked = options.parse_args(argv)
    result: dict[str, Any] = {"contracts": asked.contracts, "events": {}, "reloads": {}}
    if asked.only != "reloads":
        result["events"] = events(asked.contracts)
    if asked.only != "events":
        with tempfile.TemporaryDirectory() as folder:
            result["reloads"] = uvloop.run(reloads(asked.contracts, Path(folder)))
    _print(result)
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The demo, from curtain to curtain: stage, farm, daemon, a stream of leads, the sums, the way of one lead.

Whatever does not add up fails it: a daemon that dies, a lead without an end, a buyer and the daemon that disagree.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
from msgspec import Struct

from router.clock import SystemClock
from router.demo.crew import DaemonFailedError, DaemonProcess, environment
from router.demo.farm import Farm
from router.demo.panel import Panel, ordered
from router.demo.people import JSON, Crowd, Person, places
from router.demo.stage import Stage, set_stage
from router.demo.tally import Fate, Tally, discrepancies
from router.model.money import format_money, parse_money
from router.terms.compile import compile_book
from router.terms.load import load

LEADS: Final = 300
RATE: Final = 40.0
WAIT_S: Final = 3
FOLLOW_S: Final = 0.5
STAY_RATE: Final = 2.0
SETTLE_S: Final = 30.0
_POSTING_MAX: Final = 256
_SETTLE_POLL_S: Final = 0.2
_TRACES_AT_A_TIME: Final = 8


class Wishes(Struct, frozen=True, kw_only=True):
    """What the user asked for. `rate` is leads a second."""

    leads: int = LEADS
    rate: float = RATE
    stay: bool = False


def play(wishes: Wishes) -> dict[str, Any]:
    """Run the demo and print it as it goes -> its figures; `wrong` lists what does not add up.

    Raises DaemonFailedError.
    """
    with tempfile.TemporaryDirectory(prefix="lead-router-demo-") as scratch:
        try:
            return asyncio.run(_play(wishes, Path(scratch)))
        except BaseExceptionGroup as group:
            failed = group.subgroup(DaemonFailedError)
            if failed is None:
                raise
            raise _first(failed) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _play(wishes: Wishes, scratch: Path) -> dict[str, Any]:
    print("setting the stage: sample terms, buyers on loopback, real postal codes", flush=True)
    async with Farm() as farm:
        stage = set_stage(scratch, farm.url)
        crowd_comes = asyncio.create_task(asyncio.to_thread(_crowd, stage))
        async with DaemonProcess(stage, scratch / "daemon.log") as daemon, _session() as session:
            print(f"dashboard  {daemon.admin_url}/  token {stage.operator_token}\n", flush=True)
            show = _Show(stage, daemon, farm, session, await crowd_comes, wishes)
            async with _alive(daemon):
                await show.stream(wishes.leads, wishes.rate)
                await show.settle()
                wrong = await show.curtain()
                if wishes.stay and not wrong:
                    await show.stay()
    wrong += await _verify(stage)
    for line in wrong:
        print(f"DOES NOT ADD UP: {line}", file=sys.stderr)
    return {**show.figures(), "wrong": wrong}


def _crowd(stage: Stage) -> Crowd:
    loaded = load(stage.config_dir)
    if loaded.terms is None:
        raise DaemonFailedError("\n".join(problem.line() for problem in loaded.problems))
    return Crowd(compile_book(loaded.terms), places())


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_POSTING_MAX))


@contextlib.asynccontextmanager
async def _alive(daemon: DaemonProcess) -> AsyncIterator[None]:
    """The body runs only as long as the daemon does."""
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(daemon.died())
        yield
        watch.cancel()


class _Show:
    """The stream of leads and what became of them."""

    def __init__(
        self,
        stage: Stage,
        daemon: DaemonProcess,
        farm: Farm,
        session: aiohttp.ClientSession,
        crowd: Crowd,
        wishes: Wishes,
    ) -> None:
        self._stage, self._daemon, self._farm, self._session, self._crowd = stage, daemon, farm, session, crowd
        self._clock = SystemClock()
        self._tally = Tally()
        self._panel = Panel(wishes.leads, stage.cast)
        self._began = time.monotonic()
        self._revenue: dict[str, int] = {}
        self._traces: dict[str, dict[str, Any]] = {}

    async def stream(self, n: int, rate: float) -> None:
        """Send `n` leads, `rate` a second, and wait for every answer; shows the panel meanwhile."""
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._draw()), group.create_task(self._follow())]
            async with asyncio.TaskGroup() as posting:
                await self._send(posting, 0, n, rate)
            for task in beside:
                task.cancel()
        self._show()

    async def stay(self) -> None:
        """Go on slowly until Ctrl-C."""
        print(f"\nthe demo goes on, {STAY_RATE:.0f} leads a second: {self._daemon.admin_url}/", flush=True)
        print(f"token  {self._stage.operator_token}\nCtrl-C ends it", flush=True)
        try:
            async with asyncio.TaskGroup() as posting:
                await self._send(posting, self._tally.sent, sys.maxsize, STAY_RATE)
        except asyncio.CancelledError:
            interrupted = asyncio.current_task()
            if interrupted is None or interrupted.uncancel():  # somebody else cancels us, too
                raise

    async def settle(self) -> None:
        """Wait until every lead has ended, each at most SETTLE_S, and note its final state and its trace."""
        at_a_time = asyncio.Semaphore(_TRACES_AT_A_TIME)
        async with asyncio.TaskGroup() as group:
            for number, fate in self._tally.fates.items():
                if fate.lead_id is not None:
                    group.create_task(self._settle_one(number, fate, at_a_time))

    def figures(self) -> dict[str, Any]:
        """The end result as plain data."""
        return {
            "leads": self._tally.sent,
            "statuses": dict(self._tally.statuses()),
            "unsold": dict(self._tally.reasons()),
            "refused": dict(self._tally.refused_by()),
            "copies": self._tally.copies(),
            "revenue": format_money(sum(self._revenue.values())),
            "buyers": {name: dict(said) for name, said in self._farm.counts().items()},
        }

    async def curtain(self) -> list[str]:
        """Print the summary and the way of one lead; returns what does not add up."""
        outcomes = {
            str(delivery["delivery_id"]): str(delivery["outcome"])
            for trace in self._traces.values()
            for delivery in trace["deliveries"]
        }
        self._summary()
        await self._one_way()
        return discrepancies(self._tally, self._farm.received, outcomes)

    # -- sending -----------------------------------------------------------------------------------

    async def _send(self, posting: asyncio.TaskGroup, first: int, n: int, rate: float) -> None:
        begin = time.monotonic()
        for number in range(first, first + n):
            ahead_s = begin + (number - first) / rate - time.monotonic()
            await asyncio.sleep(max(0.0, ahead_s))
            self._tally.sent += 1
            posting.create_task(self._post(self._crowd.person(number, self._clock.wall_ns())))

    async def _post(self, person: Person) -> None:
        began = time.monotonic()
        token = self._stage.source_tokens[person.source_id]
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": person.content_type,
            "Idempotency-Key": person.key,
        }
        if person.content_type == JSON:
            headers["Prefer"] = f"wait={WAIT_S}"
        try:
            async with self._session.post(
                f"{self._daemon.intake_url}/v1/leads", data=person.body, headers=headers
            ) as answer:
                status, body = answer.status, orjson.loads(await answer.read())
        except aiohttp.ClientError as error:
            await self._daemon.silent(error)
        took_s = time.monotonic() - began
        self._tally.note(person.number, Fate(kind=person.kind, http=status, answer=body, took_s=took_s))

    async def _follow(self) -> None:
        """Look again, now and then, at leads whose source did not wait for their end."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            for number, fate in list(self._tally.fates.items()):
                if fate.lead_id is not None and fate.answer.get("status") == "routing":
                    self._note(number, fate, await self._ask(f"/v1/leads/{fate.lead_id}"))

    def _note(self, number: int, fate: Fate, view: dict[str, Any]) -> None:
        """What is known of a lead now."""
        answer = fate.answer | view
        self._tally.note(number, Fate(kind=fate.kind, http=fate.http, answer=answer, took_s=fate.took_s))

    async def _draw(self) -> None:
        while True:
            await asyncio.sleep(self._panel.every_s)
            self._show()

    def _show(self) -> None:
        self._panel.show(time.monotonic() - self._began, self._tally, self._farm.counts())

    # -- afterwards --------------------------------------------------------------------------------

    async def _settle_one(self, number: int, fate: Fate, at_a_time: asyncio.Semaphore) -> None:
        """Ask until the lead has ended and nothing of it is in flight; keep its trace."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            async with at_a_time:
                trace = await self._ask(f"/v1/leads/{fate.lead_id}/trace")
            if _ended(trace) or time.monotonic() > deadline:
                break
            await asyncio.sleep(_SETTLE_POLL_S)
        self._note(number, fate, {key: trace[key] for key in ("status", "reason", "copies")})
        self._traces[str(fate.lead_id)] = trace
        for delivery in trace["deliveries"]:
            if delivery["outcome"] == "accepted":
                buyer = str(delivery["buyer_id"])
                self._revenue[buyer] = self._revenue.get(buyer, 0) + parse_money(delivery["price"])

    async def _ask(self, path: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._stage.operator_token}"}
        try:
            async with self._session.get(f"{self._daemon.admin_url}{path}", headers=headers) as answer:
                status, body = answer.status, await answer.read()
        except aiohttp.ClientError as error:
            await self._daemon.silent(error)
        if status != 200:
            raise DaemonFailedError(f"GET {path} answers {status}: {body[:300].decode('utf-8', 'replace')}")
        found: dict[str, Any] = orjson.loads(body)
        return found

    def _summary(self) -> None:
        tally = self._tally
        print(f"\n{tally.sent} leads in {time.monotonic() - self._began:.0f} s\n")
        why = {
            "unsold": ", ".join(f"{reason} {n}" for reason, n in tally.reasons().most_common()),
            "refused": ", ".join(f"{code} {n}" for code, n in tally.refused_by().most_common()),
            "duplicate": "the same phone or e-mail within the lead type's window",
            "in_doubt": "nobody knows whether the buyer took it; it is sold to nobody else meanwhile",
            "sold": f"{tally.copies()} copies for {format_money(sum(self._revenue.values()))}",
        }
        for status, n in ordered(tally.statuses()):
            print(f"  {status:<10} {n:>5}   {why.get(status, '')}".rstrip())
        print("\n  buyer              behaves       accepted rejected  dup. refused silent    revenue")
        counts = self._farm.counts()
        for name, temper in sorted(self._stage.cast.items()):
            said = counts.get(name, Counter())
            cells = "".join(
                f"{said.get(word, 0) or '':>9}" for word in ("accepted", "rejected", "duplicate", "refused", "silent")
            )
            print(f"  {name:<18} {temper:<10}{cells} {format_money(self._revenue.get(name, 0)):>11}")

    async def _one_way(self) -> None:
        """The trace of the lead with the most to tell, as `lead-router trace` shows it."""
        told = max(self._traces.items(), key=lambda item: _eventful(item[1]), default=None)
        if told is None:
            return
        print(f"\n$ lead-router trace {told[0]}\n", flush=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "router", "trace", told[0], "--url", self._daemon.admin_url,
            env={**environment(), "LEAD_ROUTER_TOKEN": self._stage.operator_token}, stdout=_output(),
        )  # fmt: skip
        if await process.wait() != 0:
            raise DaemonFailedError("lead-router trace failed")


def _ended(trace: dict[str, Any]) -> bool:
    """Whether nothing more will happen to this lead by itself within moments."""
    return trace["status"] != "routing" and all(one["state"] != "in_flight" for one in trace["deliveries"])


def _eventful(trace: dict[str, Any]) -> tuple[bool, bool, int]:
    """Sold after somebody else declined, and with a few refusals, is worth more than sold at once."""
    first: dict[str, Any] = next(iter(trace["deliveries"]), {})
    refused = sum(len(decision["refusals"]) for decision in trace["decisions"])
    return trace["status"] == "sold", first.get("outcome") != "accepted", -abs(refused - 3)


def _output() -> int:
    """Where a child's text goes: with ours."""
    return sys.stderr.fileno() if sys.stdout is sys.stderr else sys.stdout.fileno()


async def _verify(stage: Stage) -> list[str]:
    """The history of the demo, verified without the daemon, as `lead-router ledger verify` does it."""
    print("\n$ lead-router ledger verify\n", flush=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", "ledger", "verify", "--state", str(stage.state_dir),
        env=environment(), stdout=_output(),
    )  # fmt: skip
    code = await process.wait()
    return [f"ledger verify ended with {code}"] if code else []

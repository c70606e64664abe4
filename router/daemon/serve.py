"""The daemon from its first line to its exit code, to be read top to bottom: prepare, start, run, stop.

What it is composed of is made here and nowhere else. It ends in one of three ways: told to (0, after what is in flight
has been finished), unable to start (74 the disk, 78 the configuration), or because the ledger failed under it (74),
when every connection is closed unanswered, since nobody can say any more what is durable.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop
from msgspec import Struct, structs, to_builtins

from router import logs
from router.clock import SystemClock
from router.configuration.beside import read_beside
from router.configuration.disk import BuyerRecords, read_candidate
from router.core.state import Held
from router.daemon.serving import Serving
from router.daemon.sockets import AddressError, Bound, listen
from router.daemon.systemd import Notifier, Passed, forget_passed_sockets, passed_sockets
from router.daemon.upkeep import ask_ahead, feed_watchdog, keep_house, keep_snapshots
from router.engine import Engine, LeadView
from router.engine.asking import PINGS
from router.engine.controls import Controls
from router.engine.proof import Proof
from router.engine.slices import Slices
from router.engine.watch import Watch
from router.engine.webhook import Webhook
from router.ledger.protocol import LedgerError
from router.ledger.sqlite import SqliteLedger
from router.metrics import Metrics
from router.model.decision import Bid
from router.model.facts import Attempted, GuardFact, GuardRecovered, GuardTripped, Settled
from router.model.times import NS_S, format_instant
from router.onboarding.certifying import Certifier
from router.onboarding.placing import Placing
from router.terms.candidate import Candidate
from router.terms.compile import compile_book
from router.terms.problems import Problem
from router.transport import AiohttpTransport
from router.transport.client import CONNECTIONS_MAX
from router.web.listener import places
from router.web.reports import ProcessReports
from router.web.site import Behind, build_site

DONE: Final = 0
INTERNAL: Final = 70
DISK: Final = 74
CONFIG: Final = 78
ADDRESSES_FILE: Final = "addresses.json"
#: Garbage is collected a little at a time: new terms are tuples of a hundred codes by the thousand, and looking through
#: ten thousand of those holds leads up. What lives long is frozen, and hardly anything that dies is in a cycle.
GC_THRESHOLDS: Final = (1_000, 5, 10_000)
#: After the drain: how long the last answers may take to be written.
_FAREWELL_S: Final = 2.0
_log: Final = logging.getLogger(__name__)


class Addresses(Struct, frozen=True):
    """What the daemon really listens on: `127.0.0.1:40123`, `unix:/var/lib/lead-router/lead-router.sock`."""

    intake: tuple[str, ...]
    admin: tuple[str, ...]


def serve(
    config_dir: Path,
    state_dir: Path,
    *,
    accept_loss: bool = False,
    ready: Callable[[Addresses], None] | None = None,
) -> int:
    """Run until told to stop (SIGTERM, SIGINT); the exit code.

    `accept_loss` starts although facts were lost; `ready` is called once, when leads are taken.
    """
    logs.configure()
    gc.set_threshold(*GC_THRESHOLDS)
    candidate = read_candidate(config_dir, state_dir)
    if not candidate.good:
        _print_problems(candidate.problems)
        return CONFIG
    for problem in candidate.problems:
        _log_problem(problem)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_live(config_dir, state_dir, candidate, accept_loss=accept_loss, ready=ready))
    except KeyboardInterrupt:
        return DONE
    except Exception as error:
        _log.critical("unforeseen", extra={"error": type(error).__name__, "places": places(error)})
        return INTERNAL


async def _live(
    config_dir: Path,
    state_dir: Path,
    candidate: Candidate,
    *,
    accept_loss: bool,
    ready: Callable[[Addresses], None] | None,
) -> int:
    daemon = Daemon(config_dir, state_dir, candidate, accept_loss=accept_loss)
    try:
        addresses = await daemon.start()
    except LedgerError as error:
        _print(str(error), error.hint)
        await daemon.give_up()
        return DISK
    except AddressError as error:
        _print(str(error), "")
        await daemon.give_up()
        return CONFIG
    except OSError as error:
        _print(
            f"{error.filename or state_dir}: {error.strerror}", "The state directory must be the daemon's own to write"
        )
        await daemon.give_up()
        return DISK
    gc.collect()
    gc.freeze()
    if ready is not None:
        ready(addresses)
    failure = await daemon.run()
    return await daemon.stop() if failure is None else await daemon.fall(failure)


class Daemon:
    """Everything the process is made of, and its life in three steps."""

    def __init__(self, config_dir: Path, state_dir: Path, candidate: Candidate, *, accept_loss: bool) -> None:
        """Compose; nothing is opened yet. `candidate` is good."""
        assert candidate.terms is not None, "serve checks the configuration before anything is made of it"
        self._state_dir = state_dir
        self._clock = SystemClock()
        self._notifier = Notifier()
        self._metrics = Metrics()
        self._wide = logs.WideLines()
        book = compile_book(candidate.terms)
        self._ledger = SqliteLedger(state_dir, accept_loss=accept_loss, now_ns=self._clock.wall_ns)
        self._transport = AiohttpTransport(
            book.router.network, clock=self._clock, connections_max=self._connections_max
        )
        self._engine = Engine(
            book=book,
            ledger=self._ledger,
            transport=self._transport,
            clock=self._clock,
            secrets=candidate.secrets,
        )
        self._engine.on_ended = self._lead_ended
        self._engine.on_attempt = self._attempted
        self._engine.asker.on_bid = self._bidden
        self._engine.journal.on_decided = lambda took_ns: self._metrics.decided(took_ns / NS_S)
        self._engine.journal.on_settled = self._settled
        self._engine.journal.on_guard = self._guarded
        self._controls = Controls(self._engine, lambda: self._next_candidate(config_dir))
        self._watch = Watch(self._engine)
        self._webhook = Webhook(self._engine)
        self._certifier = Certifier(self._engine)
        self._watch.on_told.append(self._webhook.tell)
        self._reports = ProcessReports(state_dir)
        site = build_site(
            Behind(
                engine=self._engine,
                controls=self._controls,
                proof=Proof(self._engine),
                watch=self._watch,
                placing=Placing(self._engine, self._controls, BuyerRecords(config_dir, state_dir)),
                certifier=self._certifier,
                metrics=self._metrics,
                reports=self._reports,
            ),
            version=_version(),
        )
        self._server = book.router.server
        connections_max = self._server.connections_max
        self._intake = Serving(site.intake.handle, connections_max=connections_max)
        self._admin = Serving(site.admin.handle, connections_max=connections_max)
        self._told = asyncio.Event()
        self._hurry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._bound: list[Bound] = []

    # -- start -----------------------------------------------------------------------------------

    async def start(self) -> Addresses:
        """Fold the ledger, go on with every acknowledged lead, listen. Raises LedgerError, AddressError."""
        self._take_signals()
        await self._engine.start()
        passed = passed_sockets()
        forget_passed_sockets()
        intake = self._listen("intake", self._server.intake, passed)
        admin = self._listen("admin", self._server.admin, passed)
        self._close_unused(passed)
        await self._intake.start(intake)
        await self._admin.start(admin)
        addresses = Addresses(intake=tuple(one.address for one in intake), admin=tuple(one.address for one in admin))
        self._write_addresses(addresses)
        for upkeep in (
            keep_snapshots(self._engine, self._state_dir),
            keep_house(self._engine),
            ask_ahead(self._engine, self._clock),
            feed_watchdog(self._engine, self._clock, self._notifier),
            self._watch.run(),
            self._webhook.run(),
            self._certifier.run(),
        ):
            self._start_task(upkeep)
        _log.info("listening", extra={"addresses": to_builtins(addresses), "version": _version()})
        self._notifier.ready("taking leads")
        return addresses

    def _listen(self, name: str, addresses: Sequence[str], passed: Sequence[Passed]) -> list[Bound]:
        bound = listen(name, addresses, self._state_dir, passed)
        self._bound += bound
        return bound

    def _close_unused(self, passed: Sequence[Passed]) -> None:
        used = {one.socket.fileno() for one in self._bound}
        for one in passed:
            if one.socket.fileno() not in used:
                _log.warning("socket_not_used", extra={"reason": f"no listener is called {one.name or 'like it'}"})
                one.socket.close()

    def _write_addresses(self, addresses: Addresses) -> None:
        """Leave a note in the state directory of where we really are, for commands on this machine."""
        path = self._state_dir / ADDRESSES_FILE
        beside = path.with_suffix(".new")
        said = {"pid": os.getpid(), "intake": addresses.intake, "admin": addresses.admin}
        beside.write_bytes(orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE))
        beside.replace(path)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._tell)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._start_task(self._reload()))

    def _tell(self) -> None:
        """Told to stop; told a second time: in a hurry."""
        (self._hurry if self._told.is_set() else self._told).set()

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._engine.failure.done():
            self._engine.failure.set_exception(error)

    # -- run -------------------------------------------------------------------------------------

    async def run(self) -> BaseException | None:
        """Serve until told to stop (None), or until something failed that nobody can mend in here."""
        told = asyncio.ensure_future(self._told.wait())
        await _first(told, self._engine.failure)
        told.cancel()
        return self._engine.failure.exception() if self._engine.failure.done() else None

    async def _reload(self) -> None:
        """SIGHUP: the configuration anew; a bad one changes nothing."""
        self._notifier.reloading(self._clock.mono_ns())
        try:
            result = await self._controls.reload(by="signal")
        except LedgerError as error:
            _log.error("reload_refused", extra={"error": type(error).__name__, "hint": error.hint})
            self._notifier.ready("taking leads; the last reload was refused, see the log")
            return
        async for problem in Slices(self._clock).each(result.problems):
            _log_problem(problem)
        good = not any(problem.severity == "error" for problem in result.problems)
        event = "reloaded" if good else "reload_refused"
        _log.log(
            logging.INFO if good else logging.ERROR, event, extra={"version": result.version, "changed": result.changed}
        )
        self._notifier.ready("taking leads" if good else "taking leads; the last reload was refused, see the log")

    def _lead_ended(self, view: LeadView) -> None:
        self._metrics.lead_ended(view.source_id, view.status)
        self._wide.say(
            "lead",
            lead_id=view.lead_id,
            source_id=view.source_id,
            status=view.status,
            reason=view.reason,
            copies=view.copies,
        )

    def _attempted(self, held: Held, fact: Attempted) -> None:
        self._metrics.attempted(fact.outcome, fact.took_ms / 1e3)
        self._wide.say(
            "attempt",
            lead_id=held.lead_id,
            delivery_id=fact.delivery_id,
            contract_id=held.contract_id,
            buyer_id=held.buyer_id,
            attempt=fact.n,
            outcome=fact.outcome,
            rule=fact.rule,
            http_status=fact.status,
            took_ms=fact.took_ms,
            request_sha256=fact.request_sha256,
        )

    async def _next_candidate(self, config_dir: Path) -> Candidate:
        """The terms on disk for a reload, with a warning for what only a restart changes."""
        candidate = await read_beside(config_dir, self._state_dir, self._engine.book, self._clock)
        if candidate.terms is None:
            return candidate
        now, then = self._server, candidate.terms.router.server
        later, mend = "changes with the next start, not now", "Restart the daemon when it suits"
        warnings = [
            Problem("router.toml", f"server.{key}", later, mend, "warning")
            for key in ("intake", "admin", "connections_max")
            if getattr(now, key) != getattr(then, key)
        ]
        return structs.replace(candidate, problems=(*candidate.problems, *warnings))

    def _bidden(self, bid: Bid, late: bool) -> None:
        result = "no_bid" if bid.price is None else "late" if late else "bid"
        self._metrics.bid(bid.contract_id, result)

    def _settled(self, held: Held, fact: Settled) -> None:
        self._metrics.delivery_settled(held.contract_id, fact.outcome, late=fact.late)

    def _guarded(self, fact: GuardFact) -> None:
        said: dict[str, object] = {"contract_id": fact.contract_id, "key": fact.guard}
        if isinstance(fact, GuardTripped):
            self._metrics.guard_tripped(fact.contract_id, fact.metric)
            said |= {"value": fact.value, "sample": fact.sample, "until": format_instant(fact.until_ns)}
            said |= {"action": fact.action, "delivery_ids": fact.causes}
            _log.warning("guard_tripped", extra=said)
        elif isinstance(fact, GuardRecovered):
            _log.info("guard_recovered", extra={**said, "by": fact.by})
        else:
            _log.info("guard_probing", extra=said)

    def _connections_max(self, lane: str) -> int:
        buyer = self._engine.book.buyers.get(lane.removesuffix(PINGS))
        return buyer.max_in_flight if buyer is not None else CONNECTIONS_MAX

    # -- stop ------------------------------------------------------------------------------------

    async def stop(self) -> int:
        """Take nothing new, finish what is in flight within `drain`, record the rest, leave a snapshot."""
        self._notifier.stopping()
        within_s = self._engine.book.router.server.drain / NS_S
        _log.info("stopping", extra={"count": len(self._engine.state.open)})
        self._engine.feed.close()
        for serving in (self._intake, self._admin):
            serving.leave_passed()  # clients wait in those until the next start; ours answer 503 meanwhile
        drain = asyncio.ensure_future(self._engine.drain(within_s))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await _first(drain, hurry, self._engine.failure)
        hurry.cancel()
        if not drain.done():
            drain.cancel()
            with suppress(asyncio.CancelledError):
                await self._engine.drain(0)
        if self._engine.failure.done() and (error := self._engine.failure.exception()) is not None:
            return await self.fall(error)
        await asyncio.gather(self._intake.finish(_FAREWELL_S), self._admin.finish(_FAREWELL_S))
        await self._cancel_tasks()
        with suppress(LedgerError):
            await self._engine.save_snapshot()
        await self._close()
        _log.info("stopped")
        return DONE

    async def fall(self, error: BaseException) -> int:
        """Something failed: close every connection unanswered, and say what it was."""
        hint = error.hint if isinstance(error, LedgerError) else ""
        _log.critical("failed", extra={"error": type(error).__name__, "words": _words(error), "hint": hint})
        self._intake.abort()
        self._admin.abort()
        await self._cancel_tasks()
        await self._close()
        return DISK if isinstance(error, LedgerError) else INTERNAL

    async def give_up(self) -> None:
        """The start failed: let go of what was opened."""
        self._intake.abort()
        self._admin.abort()
        await self._cancel_tasks()
        await self._close()

    async def _cancel_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self) -> None:
        self._reports.stop()
        for one in self._bound:
            one.close()
        with suppress(LedgerError, OSError):
            await self._ledger.close()
        await self._transport.close()
        self._wide.flush()


async def _first(*awaited: "asyncio.Future[Any]") -> None:
    """Wait for the first of them, whatever it comes to."""
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)


# -- words ---------------------------------------------------------------------------------------


def _words(error: BaseException) -> str:
    """A ledger's words are about files; anybody else's may hold what somebody sent."""
    return str(error) if isinstance(error, LedgerError) else ", ".join(places(error))


def _version() -> str:
    try:
        return installed_version("lead-router")
    except PackageNotFoundError:  # run from its sources
        return "0"


def _print(message: str, mend: str) -> None:
    sys.stderr.write(f"lead-router: {message}\n" + (f"  {mend}\n" if mend else ""))


def _print_problems(problems: Sequence[Problem]) -> None:
    """All that is wrong, for whoever started the daemon."""
    for problem in sorted(problems, key=lambda one: one.file):
        sys.stderr.write(f"{problem.severity + ':':<9}{problem.line()}\n")
    sys.stderr.write("lead-router: not started: the configuration has errors\n")


def _log_problem(problem: Problem) -> None:
    _log.log(
        logging.ERROR if problem.severity == "error" else logging.WARNING,
        "configuration",
        extra={
            "file": problem.file,
            "key": problem.key,
            "words": problem.message,
            "mend": problem.mend,
            "severity": problem.severity,
        },
    )

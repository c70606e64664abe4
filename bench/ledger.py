"""What durability costs: leads written with FULL and NORMAL sync in turns, commits beside a busy loop, a long fold.

    python -m bench.ledger [--rounds N] [--leads N] [--fold FACTS]

A lead is five facts in two appends, as the engine makes them: Received and Reserved, then, once those are durable,
Attempted, Settled and Ended. Variants take turns within a round, so that a noisy minute hits all of them; what is
printed are medians over the rounds. "Plain aiosqlite" is the same rows, one call a statement on aiosqlite's thread.
"""

import argparse
import asyncio
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import aiosqlite
import uvloop

from router.ledger.sqlite import SqliteLedger
from router.ledger.tables import encode_entry
from router.model.facts import Attempted, Ended, Entry, Received, Reserved, Settled
from router.model.lead import Lead

T0 = 1_800_000_000_000_000_000
BUSY_US = 40  # what the loop computes for each message that keeps it busy
Append = Callable[[list[Entry]], Awaitable[int]]


def facts_of(n: int) -> tuple[list[Entry], list[Entry]]:
    """One lead's facts, before and after it was sent; ids rise with time as UUIDv7 does."""
    lead_id, delivery_id = f"0193a1b2-{n:08x}-7000-8000-000000000000", f"0193a1b3-{n:08x}-7000-8000-000000000000"
    fields: dict[str, str | int | float | bool] = {
        "first_name": "Ana", "last_name": "Ruiz", "phone": f"+1512{n % 10**7:07d}", "email": f"ana{n}@example.com",
        "postal_code": "78701", "roof_age": 12, "homeowner": True,
    }  # fmt: skip
    lead = Lead(
        lead_id=lead_id, lead_type="solar", source_id="acme", received_at_ns=T0 + n, submitted_at_ns=T0 + n,
        fields=fields, country="US",
    )  # fmt: skip
    reserved = Reserved(
        delivery_id=delivery_id, lead_id=lead_id, contract_id="brightroof-tx", buyer_id="brightroof",
        lead_type="solar", terms_version="f" * 64, rank=0, price=4250, day="2026-11-24", steady_ns=n,
    )  # fmt: skip
    attempted = Attempted(
        delivery_id=delivery_id, n=1, sent_at_ns=T0 + n, took_ms=12.5, request_sha256="f" * 64, outcome="accepted",
        rule="responses[0]", status=200,
    )  # fmt: skip
    received = Entry(at_ns=T0 + n, fact=Received(lead_id=lead_id, source_id="acme", lead_type="solar"), lead=lead)
    after = (
        attempted,
        Settled(delivery_id=delivery_id, outcome="accepted", price=4250),
        Ended(lead_id=lead_id, status="sold", copies=1, payout=1200),
    )
    return [received, Entry(at_ns=T0 + n, fact=reserved)], [Entry(at_ns=T0 + n, fact=fact) for fact in after]


async def written(state: Path, *, leads: int, at_once: int, synchronous: str) -> tuple[float, float]:
    """(leads a second, CPU microseconds a lead) with so many leads under way at once."""
    work = iter([facts_of(n) for n in range(leads)])
    ledger = SqliteLedger(state)
    await ledger.open()
    assert ledger._worker
    ledger._worker.here.execute(f"PRAGMA synchronous = {synchronous}")

    async def one() -> None:
        for before, after in work:
            await ledger.append(before)
            await ledger.append(after, keep=True)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one() for _ in range(at_once)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await ledger.close()
    return leads / wall, cpu / leads * 1e6


class Busy(asyncio.Protocol):
    """Sends every message back after a little computing: a pair of these keeps a loop busy."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        """Compute, and send it on."""
        until = time.perf_counter_ns() + BUSY_US * 1000
        while time.perf_counter_ns() < until:
            pass
        self.transport.write(data)


async def beside_a_busy_loop(append: Append, *, groups: int) -> tuple[float, float]:
    """(p50, p99) in milliseconds of appending ten facts every 5 ms to a loop that has always something else to do."""
    loop = asyncio.get_running_loop()
    ends: list[asyncio.Transport] = []
    for _ in range(8):
        for side in socket.socketpair():
            transport, _ = await loop.create_connection(Busy, sock=side)
            ends.append(transport)
        ends[-1].write(b"x" * 600)
    took: list[float] = []

    async def timed(entries: list[Entry]) -> None:
        began = time.perf_counter()
        await append(entries)
        took.append((time.perf_counter() - began) * 1e3)

    tasks = []
    for n in range(groups):
        entries = [entry for one in range(5 * n, 5 * n + 5) for entry in facts_of(one)[0]]
        tasks.append(asyncio.create_task(timed(entries)))
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    for end in ends:
        end.abort()
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


async def ours_beside(state: Path, groups: int) -> tuple[float, float]:
    """Our ledger beside a busy loop."""
    ledger = SqliteLedger(state)
    await ledger.open()
    try:
        return await beside_a_busy_loop(ledger.append, groups=groups)
    finally:
        await ledger.close()


async def plain_beside(state: Path, groups: int) -> tuple[float, float]:
    """aiosqlite as it is usually used, beside a busy loop: the rows of a group by executemany on its thread."""
    async with aiosqlite.connect(state / "plain.sqlite3", isolation_level=None) as connection:
        for statement in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "CREATE TABLE facts (seq INTEGER PRIMARY KEY, at_ns INTEGER, kind TEXT, lead_id TEXT, body BLOB)",
            "CREATE INDEX facts_by_lead ON facts (lead_id)",
        ):
            await connection.execute(statement)
        turn = asyncio.Lock()

        async def append(entries: list[Entry]) -> int:
            rows = [(row.at_ns, row.kind, row.lead_id, row.body) for row in map(encode_entry, entries)]
            async with turn:
                await connection.execute("BEGIN IMMEDIATE")
                await connection.executemany("INSERT INTO facts (at_ns, kind, lead_id, body) VALUES (?, ?, ?, ?)", rows)
                await connection.commit()
            return 0

        return await beside_a_busy_loop(append, groups=groups)


async def folded(state: Path, facts: int) -> tuple[float, float, float]:
    """(facts a second written in bursts, seconds to open, seconds to read them all back)."""
    ledger = SqliteLedger(state)
    await ledger.open()
    began = time.perf_counter()
    for start in range(0, facts // 5, 400):
        entries = [entry for n in range(start, start + 400) for part in facts_of(n) for entry in part]
        await asyncio.gather(*(ledger.append(entries[at : at + 100]) for at in range(0, len(entries), 100)))
    rate = facts / (time.perf_counter() - began)
    await ledger.close()
    began = time.perf_counter()
    await ledger.open()
    opened = time.perf_counter() - began
    began = time.perf_counter()
    async for _ in ledger.facts_after(0):
        pass
    read = time.perf_counter() - began
    await ledger.close()
    return rate, opened, read


def _medians(results: list[tuple[float, ...]]) -> list[float]:
    return [statistics.median(column) for column in zip(*results, strict=True)]


def _writing(root: Path, rounds: int, leads: int) -> None:
    for at_once in (1, 16, 256):
        count = max(200, leads // 20) if at_once == 1 else leads
        results: dict[str, list[tuple[float, ...]]] = {"FULL": [], "NORMAL": []}
        for number in range(rounds):
            for mode, found in results.items():
                state = root / f"{mode}-{at_once}-{number}"
                found.append(uvloop.run(written(state, leads=count, at_once=at_once, synchronous=mode)))
                shutil.rmtree(state)
        (full, full_cpu), (normal, normal_cpu) = _medians(results["FULL"]), _medians(results["NORMAL"])
        print(
            f"{at_once:4} at once: FULL {full:7.0f} leads/s {full_cpu:5.0f} us CPU a lead, NORMAL {normal:7.0f} leads/s"
            f" {normal_cpu:5.0f} us; FULL is {full / normal:.2f} of NORMAL"
        )


def _beside(root: Path, rounds: int) -> None:
    variants = {"ours": (ours_beside, 200), "plain aiosqlite": (plain_beside, 20)}
    results: dict[str, list[tuple[float, ...]]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, (measure, groups) in variants.items():
            state = root / f"{name}-{number}"
            state.mkdir()
            results[name].append(uvloop.run(measure(state, groups)))
            shutil.rmtree(state)
    for name, found in results.items():
        p50, p99 = _medians(found)
        print(f"beside a busy loop, {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What durability costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--leads", type=int, default=8_000)
    parser.add_argument("--fold", type=int, default=0, metavar="FACTS", help="also write and fold so many facts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as directory:
        root = Path(directory)
        _writing(root, options.rounds, options.leads)
        _beside(root, options.rounds)
        if options.fold:
            rate, opened, read = uvloop.run(folded(root / "fold", options.fold))
            print(f"{options.fold} facts: written at {rate:.0f}/s, opened in {opened:.2f} s, read in {read:.2f} s")


if __name__ == "__main__":
    main()

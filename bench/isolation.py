"""What one buyer's trouble costs the others: the p99 of healthy buyers' leads, in calm and in trouble.

    python -m bench.isolation [--rounds N] [--seconds N] [--rate N] [--json FILE] [--svg FILE]

One router, 20 healthy buyers and ten more. In `calm` the ten are as well as the others. In `trouble` the DNS of eight
of them hangs (the look-up returns when the pass is over) and two answer a byte each 100 ms. Everything else is the
same: who is offered what when, and how much. Passes take turns, and each begins with a fresh router, so that the
breaker has yet to find out who is ill: until then the ten hold every connection that their lanes allow.

It is the real engine, dispatcher and transport over loopback; the ledger is in memory, so that no disk is measured.
The buyers run in another process. Each contract covers one state of postal codes of its own, so that a lead's fate is
that of its buyer. A lead's time is from when it is taken until its sale is settled. Ratios are those of the medians
over the passes.
"""

import argparse
import asyncio
import gc
import statistics
import threading
import time
from collections import Counter
from typing import Any, Final, Literal

import uvloop

from bench.isolation_chart import chart
from bench.kept import add_options, decoded, keep
from bench.sink import sink
from router.clock import SystemClock
from router.daemon.serve import GC_THRESHOLDS
from router.engine import Engine
from router.ledger.memory import MemoryLedger
from router.model.lead import Lead
from router.terms.book import Book
from router.terms.compile import compile_book
from router.terms.schema import Buyer, LeadType, RouterTerms, Source, Terms
from router.transport import AiohttpTransport

HEALTHY: Final = 20
HUNG: Final = 8
DRIPPING: Final = 2

Weather = Literal["calm", "trouble"]
WEATHERS: Final[tuple[Weather, ...]] = ("calm", "trouble")

NETWORK: Final[dict[str, Any]] = {"allow_private": ["127.0.0.0/8"], "allow_http": True}
LEAD_TYPE: Final[dict[str, Any]] = {
    "id": "solar",
    "deadline": "20s",
    "fields": {"phone": {"type": "phone"}, "postal_code": {"type": "postal_code", "required": True}},
}
ENDPOINT: Final[dict[str, Any]] = {
    "timeout": "5s",
    "connect_timeout": "2s",
    "in_doubt_resolves": "rejected",
    "body": {"id": "{{delivery_id}}", "zip": "{{postal_code}}", "phone": "{{phone}}"},
    "responses": [{"when": {"path": "status", "equals": "accepted"}, "outcome": "accepted"}],
}


def names() -> list[str]:
    """Everybody: the healthy, then those that trouble meets."""
    kinds = (("fine", HEALTHY), ("hung", HUNG), ("drip", DRIPPING))
    return [f"{kind}{number}" for kind, count in kinds for number in range(count)]


def code_of(place: int) -> str:
    """The postal code that the buyer in this place covers, and nobody else."""
    return f"{78000 + place}"


def book(ports: dict[str, int], weather: Weather) -> Book:
    """The terms of everybody. Addresses are names, so that each buyer is looked up."""
    buyers = {}
    for place, name in enumerate(names()):
        port = ports["drip" if weather == "trouble" and name.startswith("drip") else "http"]
        contract = {
            "id": name,
            "lead_type": "solar",
            "endpoint": "crm",
            "price": "10.00",
            "coverage": {"postal_codes": [code_of(place)]},
            "fields": {"required": ["phone", "postal_code"]},
        }
        endpoint = ENDPOINT | {"url": f"http://{name}.example:{port}/leads"}
        buyers[name] = decoded(
            {"id": name, "name": name, "endpoints": {"crm": endpoint}, "contracts": [contract]}, Buyer
        )
    return compile_book(
        Terms(
            router=decoded({"network": NETWORK}, RouterTerms),
            lead_types={"solar": decoded(LEAD_TYPE, LeadType)},
            sources={"web": decoded({"id": "web", "lead_types": ["solar"]}, Source)},
            buyers=buyers,
            lists={},
            places={},
        )
    )


class Pass:
    """One router in one weather, for some seconds."""

    def __init__(self, ports: dict[str, int], weather: Weather) -> None:
        self.took_ms: list[float] = []  # of the healthy buyers' leads
        self.ends: Counter[str] = Counter()  # "fine sold": kind of buyer, and how its lead ended or stood
        self._weather = weather
        self._storm = threading.Event()
        self._clock = SystemClock()
        book_of = book(ports, weather)
        self._transport = AiohttpTransport(book_of.router.network, look_up=self._look_up)
        self._engine = Engine(
            book=book_of, ledger=MemoryLedger(), transport=self._transport, clock=self._clock, secrets={}
        )

    def _look_up(self, name: str) -> list[str]:
        if self._weather == "trouble" and name.startswith("hung"):
            self._storm.wait()
        return ["127.0.0.1"]

    async def run(self, seconds: float, rate: float) -> "Pass":
        """Take `rate` leads a second for each buyer, in turns, at even distances."""
        await self._engine.start()
        people = names()
        tasks = []
        loop = asyncio.get_running_loop()
        began, step = loop.time(), 1 / (rate * len(people))
        for number in range(round(seconds * rate * len(people))):
            await asyncio.sleep(max(0.0, began + number * step - loop.time()))
            place = number % len(people)
            kind = people[place].rstrip("0123456789")
            tasks.append(asyncio.create_task(self._sell(kind, place, number), name=kind))
        await asyncio.wait([task for task in tasks if task.get_name() == "fine"])
        self._storm.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._engine.drain(0)
        await self._transport.close()
        self._engine.failure.cancel()
        return self

    async def _sell(self, kind: str, place: int, number: int) -> None:
        now_ns = self._clock.wall_ns()
        lead = Lead(
            lead_id=self._clock.new_id(),
            lead_type="solar",
            source_id="web",
            received_at_ns=now_ns,
            submitted_at_ns=now_ns,
            country="US",
            fields={"phone": f"+1512{2_000_000 + number:07d}", "postal_code": code_of(place)},
        )
        status = "under way"
        began = time.perf_counter()
        try:
            await self._engine.submit(lead)
            status = (await self._engine.settled(lead.lead_id, 60)).status
        finally:
            self.ends[f"{kind} {status}"] += 1
        if kind == "fine":
            self.took_ms.append((time.perf_counter() - began) * 1e3)


async def play(ports: dict[str, int], rounds: int, seconds: float, rate: float) -> dict[str, list[Pass]]:
    """Both weathers in turns. The first of each warms up and does not count."""
    found: dict[str, list[Pass]] = {weather: [] for weather in WEATHERS}
    for weather in WEATHERS:
        await Pass(ports, weather).run(min(1.0, seconds), rate)
    for _ in range(rounds):
        for weather in WEATHERS:
            found[weather].append(await Pass(ports, weather).run(seconds, rate))
    return found


def figures(found: dict[str, list[Pass]]) -> dict[str, Any]:
    """Medians over the passes, in milliseconds, and trouble's share of calm."""
    weathers: dict[str, Any] = {}
    for weather, passes in found.items():
        ends: Counter[str] = sum((one.ends for one in passes), Counter())
        ranked = [sorted(one.took_ms) for one in passes]
        weathers[weather] = {
            "leads": sum(map(len, ranked)),
            **{f"p{rank}_ms": _median([_rank(one, rank) for one in ranked]) for rank in (50, 95, 99)},
            "ends": dict(sorted(ends.items())),
        }
    calm, trouble = (weathers[weather] for weather in WEATHERS)
    ratios = {key: round(trouble[key] / calm[key], 2) for key in ("p50_ms", "p95_ms", "p99_ms")}
    return {"weathers": weathers, "trouble_over_calm": ratios}


def _rank(ranked: list[float], percent: int) -> float:
    return ranked[min(len(ranked) - 1, len(ranked) * percent // 100)]


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 2)


def _print(found: dict[str, Any]) -> None:
    print(f"{'healthy buyers, ms':20}{'leads':>8}{'p50':>9}{'p95':>9}{'p99':>9}")
    for weather, row in found["weathers"].items():
        print(f"{weather:20}{row['leads']:>8,}{row['p50_ms']:>9}{row['p95_ms']:>9}{row['p99_ms']:>9}")
    ratios = found["trouble_over_calm"]
    print(f"{'trouble over calm':28}{ratios['p50_ms']:>9}{ratios['p95_ms']:>9}{ratios['p99_ms']:>9}")
    for weather, row in found["weathers"].items():
        print(f"{weather}: " + ", ".join(f"{count:,} {end}" for end, count in row["ends"].items()))


def main(argv: list[str] | None = None) -> int:
    """Play and print; `--json` and `--svg` keep what came out."""
    options = argparse.ArgumentParser(description="p99 of healthy buyers beside ill ones.")
    options.add_argument("--rounds", type=int, default=5, help="passes of each weather (default: %(default)s)")
    options.add_argument("--seconds", type=float, default=5.0, help="of each pass (default: %(default)s)")
    options.add_argument(
        "--rate", type=float, default=10.0, help="leads a second for each buyer (default: %(default)s)"
    )
    add_options(options)
    asked = options.parse_args(argv)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with sink() as ports:
        found = figures(uvloop.run(play(ports, asked.rounds, asked.seconds, asked.rate)))
    _print(found)
    keep(asked, found, chart(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

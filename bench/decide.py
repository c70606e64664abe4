"""How fast a decision is: ours beside SQLite, two rule engines and a naive loop, on the same terms and leads.

Ours is what the daemon does for every lead: decide with all rules, record why, reserve, apply. The naive loop asks the
readable rules of every contract of the lead type; SQLite gets indexed tables, a prepared statement and memory to
itself. The rule engines know no postal codes, so they are fed the contracts that cover the lead, best price first, and
are asked the rest: criteria, opening hours, room under the cap. Nobody but us records why.
Winners are compared one by one: a peer that decides otherwise stops the bench.

Machines are shared, and a decision takes microseconds: every decider meets the same leads `--passes` times, each time
from a fresh start, and of each lead the quickest pass counts. What a lead costs by itself (the first for its contract,
an hour that turns over) is in every pass and stays in; what the neighbours did is not. Before what is measured come
thirty thousand leads, as a daemon has met in its first minutes. Memory is what Book and boards add to the process.

    python -m bench.decide [--sizes 100,1000,10000,100000] [--leads 10000] [--json FILE] [--svg FILE]
"""

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from bench.chart import chart
from bench.kept import add_options, keep
from bench.market import NOON, market, stream
from bench.peers import Decider, fed, naive, rule_engine, sqlite, zen
from router.core.calendar import Calendar
from router.core.decide import choose, decided_fact, reserve
from router.core.live import Live, identity_of
from router.core.masks import bits
from router.core.rules.standing import Moment
from router.core.state import State
from router.core.usage import Usage
from router.daemon.serve import GC_THRESHOLDS
from router.model.facts import Ended, Entry, Received, Reserved, Settled
from router.model.lead import Lead
from router.terms.compile import compile_book
from router.terms.schema import Method, Terms
from router.terms.steps import at_once

WARM_UP: Final = 30_000
#: Leads that a slow decider is asked at most, by how many contracts there are.
SLOW_LEADS: Final = {100: 2000, 1_000: 2000, 10_000: 1000, 100_000: 200}
#: The naive loop decides all leads that count, so that caps stand alike, up to here; beyond, it is only timed.
NAIVE_COMPARED_MAX: Final = 1_000
T = TypeVar("T")
_READ = msgspec.json.Decoder(Lead)


class Ours:
    """The daemon's own decision path: choose, record, reserve, apply."""

    def __init__(self, live: Live) -> None:
        self.live = at_once(Live.building(live.book, live))  # its boards, nothing remembered
        book = live.book
        self.state = State(identity_of(book))
        self._calendar = Calendar()
        self._count = 0
        self._sold: Reserved | None = None
        self._ask_ahead()

    def _ask_ahead(self) -> None:
        """As the daemon does while no lead comes (`daemon.upkeep`)."""
        for standings, few in self.live.unasked():
            standings.blocking(few, self.state, Moment(NOON, NOON, self._calendar))

    def receive(self, lead: Lead) -> None:
        """Untimed: the delivery before this one is accepted, and intake takes the next lead."""
        if self._sold is not None:
            sold, at_ns = self._sold, lead.received_at_ns
            settled = Settled(delivery_id=sold.delivery_id, outcome="accepted", price=sold.price)
            self.state.apply(Entry(at_ns=at_ns, fact=settled))
            self.live.told(settled, sold.contract_id, sold.buyer_id, self.state)
            self.state.apply(Entry(at_ns=at_ns, fact=Ended(lead_id=sold.lead_id, status="sold", copies=1)))
            self._sold = None
        fact = Received(lead_id=lead.lead_id, source_id=lead.source_id, lead_type=lead.lead_type)
        self.state.apply(Entry(at_ns=lead.received_at_ns, fact=fact, lead=lead))

    def decide(self, lead: Lead) -> str | None:
        """The winner's id, reserved; None when nobody may have the lead."""
        at_ns = lead.received_at_ns
        moment = Moment(at_ns, at_ns, self._calendar)
        state, (standings,) = self.state, self.live.modes(lead)
        choice = choose(standings, state, lead, moment, released_at_ns=at_ns, copies=1)
        state.apply(Entry(at_ns=at_ns, fact=decided_fact(choice, standings, lead)))
        if not choice.winners:
            return None
        self._count += 1
        fact = reserve(choice.board, choice.winners[0], state, lead, moment, delivery_id=str(self._count), place=0)
        state.apply(Entry(at_ns=at_ns, fact=fact))
        self.live.told(fact, fact.contract_id, fact.buyer_id, state)
        self._sold = fact
        return fact.contract_id

    def record(self, lead: Lead) -> Callable[[Lead], object]:
        """What leaves the trace of a lead's decision, alone: to be timed."""
        moment = Moment(lead.received_at_ns, lead.received_at_ns, self._calendar)
        (standings,) = self.live.modes(lead)
        choice = choose(standings, self.state, lead, moment, released_at_ns=lead.received_at_ns, copies=1)
        return lambda lead: decided_fact(choice, standings, lead)

    def covering(self, lead: Lead) -> list[str]:
        """The contracts that cover a lead, best first: what peers are fed."""
        (standings,) = self.live.modes(lead)
        return [standings.board.ids[rank] for rank in bits(standings.board.covering(lead))]

    def fill_half(self) -> None:
        """Every second contract with a cap has sold up to it today."""
        capped = [plan for plan in self.live.book.contracts.values() if plan.caps]
        for plan in sorted(capped, key=lambda plan: plan.id)[::2]:
            usage = self.state.usage.setdefault(plan.owner, Usage())
            for _ in range(min(cap.limit or 0 for cap in plan.caps)):
                usage.add(NOON - 1, plan.price)
        self.live.forget()
        self._ask_ahead()


def timed(decide: Callable[[Lead], T], leads: list[bytes], before: Callable[[Lead], Any]) -> tuple[list[int], list[T]]:
    """Nanoseconds of each decision, and the winners. Each lead is read just before, untimed, as it is at intake."""
    took, winners = [], []
    clock = time.perf_counter_ns
    for image in leads:
        lead = _READ.decode(image)
        before(lead)
        start = clock()
        winner = decide(lead)
        took.append(clock() - start)
        winners.append(winner)
    return took, winners


class Bench:
    """One market of leads, met by one decider after the other."""

    def __init__(self, count: int, passes: int) -> None:
        images = [msgspec.json.encode(lead) for lead in stream(WARM_UP + count)]
        self.warm_up, self.leads = images[:WARM_UP], images[WARM_UP:]
        self.passes = passes

    def meet(
        self, start: Callable[[], Decider], most: int | None = None, *, warm: bool = True
    ) -> tuple[list[int], list[str | None]]:
        """The quickest pass of each lead, and the winners, of a decider that is started anew for each pass."""
        best: list[int] = []
        winners: list[str | None] = []
        for _ in range(self.passes):
            decide = start()
            before = getattr(decide, "__self__", None)
            receive: Callable[[Lead], Any] = before.receive if isinstance(before, Ours) else _nothing
            if warm:
                timed(decide, self.warm_up, receive)
            gc.collect()
            gc.freeze()
            gc.disable()
            took, winners = timed(decide, self.leads[:most], receive)
            gc.enable()
            gc.unfreeze()
            best = took if not best else [min(pair) for pair in zip(best, took, strict=True)]
        return best, winners


def _nothing(_lead: Lead) -> None:
    pass


def figures(took: list[int]) -> dict[str, float]:
    """Mean, median, 99th percentile and worst in microseconds, and decisions per second."""
    ordered = sorted(took)
    mean = sum(ordered) / len(ordered)
    return {
        "mean_us": round(mean / 1000, 2),
        "p50_us": round(ordered[len(ordered) // 2] / 1000, 2),
        "p99_us": round(ordered[int(len(ordered) * 0.99)] / 1000, 2),
        "worst_us": round(ordered[-1] / 1000, 1),
        "per_second": round(1e9 / mean),
    }


def rss_mb() -> float:
    """The process's resident memory now, MB (Linux)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def beside_peers(bench: Bench, contracts: int, wanted: set[str]) -> dict[str, Any]:
    """All deciders over one market, its tiers ordered by price."""
    terms = market(contracts)
    before = rss_mb()
    start = time.perf_counter()
    book = compile_book(terms)
    live = Live(book)
    compiled_s = time.perf_counter() - start
    memory = rss_mb() - before
    took, winners = bench.meet(lambda: Ours(live).decide)
    rows: dict[str, Any] = {"lead-router": figures(took)}
    ours = Ours(live)
    candidates = {lead.lead_id: ours.covering(lead) for lead in map(_READ.decode, [*bench.warm_up, *bench.leads])}
    slow = SLOW_LEADS.get(contracts, 1000)
    peers: tuple[tuple[str, Callable[[], Callable[[], Decider] | None], int | None], ...] = (
        ("sqlite", lambda: sqlite(book), slow if contracts > 10_000 else None),
        ("zen-engine", lambda: fed(zen(book), book, candidates), None),
        ("rule-engine", lambda: fed(rule_engine(book), book, candidates), slow if contracts > 10_000 else None),
        ("naive loop", lambda: naive(book), slow),
    )
    for name, ready, most in peers:
        started = ready() if not wanted or name in wanted else None
        if started is None:
            continue
        compared = name != "naive loop" or contracts <= NAIVE_COMPARED_MAX
        took, theirs = bench.meet(started, most, warm=compared)
        if compared:
            _same(name, theirs, winners)
        rows[name] = figures(took)
    for row in rows.values():
        row["times_ours"] = round(row["mean_us"] / rows["lead-router"]["mean_us"], 1)
    many = sorted(map(len, candidates.values()))
    return {
        "contracts": contracts,
        "leads": len(bench.leads),
        "sold": sum(winner is not None for winner in winners),
        "compile_s": round(compiled_s, 2),
        "memory_mb": round(memory, 1),
        "candidates_p50": many[len(many) // 2],
        "candidates_most": many[-1],
        "deciders": rows,
    }


def _same(name: str, theirs: list[str | None], ours: list[str | None]) -> None:
    for place, (their, our) in enumerate(zip(theirs, ours, strict=False)):
        if their != our:
            raise SystemExit(f"{name} decides otherwise on lead {place}: {their} instead of {our}")


def ways(bench: Bench, contracts: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ours alone, in the ways a market can be: methods that are and are not stateful, caps that are full or shared."""
    methods: tuple[Method, ...] = ("price", "priority", "weighted", "percentage", "round_robin")
    markets: dict[str, Terms] = {method: market(contracts, method=method) for method in methods}
    markets["price, budgets and wallets"] = market(contracts, together=True)
    for name, terms in markets.items():
        live = Live(compile_book(terms))
        for full in (False, True) if name in ("price", "priority") else (False,):

            def start(live: Live = live, full: bool = full) -> Decider:
                ours = Ours(live)
                if full:
                    ours.fill_half()
                return ours.decide

            took, _ = bench.meet(start)
            row = figures(took)
            row["p99_over_p50"] = round(row["p99_us"] / row["p50_us"], 2)
            row["worst_over_p50"] = round(row["worst_us"] / row["p50_us"], 2)
            if name == "price":
                row["record_share"] = round(_recording(bench, start()) / row["mean_us"], 3)
            yield f"{name}{', half the caps full' if full else ''}", row


def _recording(bench: Bench, decide: Decider) -> float:
    """Microseconds that recording why takes of a decision, mean."""
    ours: Ours = decide.__self__  # type: ignore[attr-defined]  # a method of ours: `start` made it
    timed(decide, bench.warm_up, ours.receive)
    best = []
    for image in bench.leads[:2000]:
        lead = _READ.decode(image)
        record = ours.record(lead)
        best.append(min(timed(record, [image], _nothing)[0][0] for _ in range(bench.passes)))
    return sum(best) / len(best) / 1000


def _print(result: dict[str, Any]) -> None:
    print(
        f"\n{result['contracts']:,} contracts: {result['sold']:,} of {result['leads']:,} leads sold; compiled in "
        f"{result['compile_s']} s; {result['memory_mb']} MB; {result['candidates_p50']} contracts cover a lead, "
        f"at most {result['candidates_most']}"
    )
    print(f"{'':28}{'mean us':>10}{'p50':>9}{'p99':>10}{'worst':>11}{'per second':>13}{'x ours':>9}")
    for name, row in result["deciders"].items():
        print(
            f"{name:28}{row['mean_us']:>10}{row['p50_us']:>9}{row['p99_us']:>10}{row['worst_us']:>11}"
            f"{row['per_second']:>13,}{row['times_ours']:>9}"
        )
    if result["ways"]:
        print(f"{'  ours, by':28}{'mean us':>10}{'p50':>9}{'p99':>10}{'worst':>11}{'p99/p50':>13}{'record':>9}")
    for name, row in result["ways"].items():
        print(
            f"  {name:26}{row['mean_us']:>10}{row['p50_us']:>9}{row['p99_us']:>10}{row['worst_us']:>11}"
            f"{row['p99_over_p50']:>13}{row.get('record_share', ''):>9}"
        )
    sys.stdout.flush()


def main(argv: list[str] | None = None) -> int:
    """Run and print; `--json` writes the figures too."""
    options = argparse.ArgumentParser(description="Decisions per second, beside other deciders in one run.")
    options.add_argument("--sizes", default="100,1000,10000,100000", help="numbers of contracts (default: %(default)s)")
    options.add_argument("--leads", type=int, default=10_000, help="leads per size (default: %(default)s)")
    options.add_argument("--passes", type=int, default=3, help="times everybody meets them (default: %(default)s)")
    options.add_argument("--peers", default="", help="only these of them, by name, with commas between")
    options.add_argument("--no-ways", action="store_true", help="leave out ours by method and with full caps")
    add_options(options)
    asked = options.parse_args(argv)
    gc.set_threshold(*GC_THRESHOLDS)
    bench = Bench(asked.leads, asked.passes)
    results = []
    for size in map(int, asked.sizes.split(",")):
        result = beside_peers(bench, size, set(filter(None, asked.peers.split(","))))
        result["ways"] = {} if asked.no_ways else dict(ways(bench, size))
        results.append(result)
        _print(result)
    keep(asked, results, chart(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How fast a decision is: ours beside SQLite, two rule engines and a naive loop, on the same terms and leads.

Ours is what the daemon does for every lead: decide with all rules, make the facts, reserve, apply. The naive loop asks
the readable rules of every contract of the lead type; SQLite gets indexed tables, a prepared statement and memory to
itself, and counts caps as we do. Winners are compared one by one: a peer that decides otherwise stops the bench.
Memory is what the Book and its boards add to the process.

    python -m bench.decide [--sizes 100,1000,10000] [--leads 20000] [--json FILE] [--svg FILE]
"""

import argparse
import gc
import json
import resource
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench.chart import chart
from bench.market import market, stream
from bench.peers import Fed, rule_engine, zen
from router.core.calendar import Calendar, opening
from router.core.decide import choose, decided_fact, reserve
from router.core.index import bits
from router.core.live import Live, identity_of
from router.core.rules.standing import Moment, standing
from router.core.rules.static import STATIC
from router.core.state import State
from router.model.facts import Entry
from router.model.lead import Lead
from router.terms.book import Book
from router.terms.compile import compile_book

#: Beyond so many contracts the naive loop says nothing new and takes minutes.
NAIVE_MAX = 10_000
Decider = Callable[[Lead], str | None]
_READ = msgspec.json.Decoder(Lead)


class Ours:
    """The daemon's own decision path: choose, facts, reserve, apply."""

    def __init__(self, book: Book) -> None:
        self.live = Live(book)
        self.state = State(identity_of(book))
        self._calendar = Calendar()
        self._count = 0

    def decide(self, lead: Lead) -> str | None:
        """The winner's id, reserved; None when nobody may have the lead."""
        at_ns = lead.received_at_ns
        moment = Moment(at_ns, at_ns, self._calendar)
        standings = self.live.standings[lead.lead_type, "exclusive"]
        choice = choose(standings, self.state, lead, moment, released_at_ns=at_ns, copies=1)
        self.state.apply(Entry(at_ns=at_ns, fact=decided_fact(choice, standings, lead)))
        if not choice.winners:
            return None
        self._count += 1
        fact = reserve(choice.board, choice.winners[0], self.state, lead, moment, delivery_id=str(self._count), place=0)
        self.state.apply(Entry(at_ns=at_ns, fact=fact))
        self.live.told(fact, fact.contract_id, fact.buyer_id, self.state.in_flight[fact.buyer_id])
        return fact.contract_id

    def candidates(self, lead: Lead) -> list[str]:
        """The contracts that cover the lead and are open now, best first: what peers are fed."""
        standings = self.live.standings[lead.lead_type, "exclusive"]
        moment = Moment(lead.received_at_ns, lead.received_at_ns, self._calendar)
        covering = standings.board.covering(lead)
        standing = covering ^ standings.blocking(covering, self.state, moment)
        return [standings.board.ids[rank] for rank in bits(standing)]


class Naive:
    """Every contract of the lead type, best price first, rule by rule, until one passes."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._state = State(identity_of(book))
        self._calendar = Calendar()
        self._ranked = {
            kind: sorted(plans, key=lambda plan: (-plan.exclusive_price, plan.id))
            for kind, plans in book.by_type.items()
        }

    def decide(self, lead: Lead) -> str | None:
        """As `Ours.decide`."""
        moment = Moment(lead.received_at_ns, lead.received_at_ns, self._calendar)
        for plan in self._ranked[lead.lead_type]:
            if any(next(rule(self._book, plan, lead), None) is not None for rule in STATIC):
                continue
            if next(standing(plan, self._state, moment, plan.exclusive_price), None) is None:
                self._state._usage(f"contract:{plan.id}").add(lead.received_at_ns, plan.price)
                return plan.id
        return None


class Sqlite:
    """One indexed query a lead over tables in memory, and one update that counts the cap."""

    def __init__(self, book: Book) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=64)
        self._db.executescript(
            """
            PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY;
            CREATE TABLE cover(kind TEXT, key TEXT, place INTEGER, PRIMARY KEY(kind, key, place)) WITHOUT ROWID;
            CREATE TABLE contract(place INTEGER PRIMARY KEY, id TEXT, score INTEGER, bill INTEGER, owner INTEGER,
                utilities TEXT, open INTEGER, room INTEGER);
            """
        )
        plans = sorted(book.contracts.values(), key=lambda plan: (-plan.exclusive_price, plan.id))
        for place, plan in enumerate(plans):
            keys = ["*"] if plan.coverage.everywhere else []
            keys += [*plan.coverage.codes, *(f"{prefix}*" for prefix in plan.coverage.prefixes)]
            self._db.executemany("INSERT INTO cover VALUES (?,?,?)", [(plan.lead_type, key, place) for key in keys])
            wants: dict[str, Any] = {node.field_ or "": node for node in plan.terms.criteria}
            cap = next((cap.limit for cap in plan.caps), None)
            self._db.execute(
                "INSERT INTO contract VALUES (?,?,?,?,?,?,?,?)",
                (
                    place,
                    plan.id,
                    wants["credit_score"].min if "credit_score" in wants else -1,
                    wants["monthly_bill"].min if "monthly_bill" in wants else -1,
                    1 if "homeowner" in wants else 0,
                    f",{','.join(wants['utility'].one_of)}," if "utility" in wants else "",
                    int(opening(plan.hours, 1795539600 * 10**9, plan.zone).open),
                    1 << 40 if cap is None else cap,
                ),
            )
        self._db.execute("ANALYZE")

    def decide(self, lead: Lead) -> str | None:
        """As `Ours.decide`."""
        fields: dict[str, Any] = lead.fields
        code = fields["postal_code"]
        found = self._db.execute(
            "SELECT c.place, c.id FROM cover v JOIN contract c ON c.place = v.place"
            " WHERE v.kind = ? AND v.key IN (?, ?, ?, ?, ?, '*') AND c.room > 0 AND c.open"
            " AND c.score <= ? AND c.bill <= ? AND c.owner <= ? AND (c.utilities = '' OR instr(c.utilities, ?))"
            " ORDER BY v.place LIMIT 1",
            (
                lead.lead_type,
                code,
                f"{code[:1]}*",
                f"{code[:2]}*",
                f"{code[:3]}*",
                f"{code[:4]}*",
                fields["credit_score"],
                fields["monthly_bill"],
                int(fields["homeowner"]),
                f",{fields['utility']},",
            ),
        ).fetchone()
        if found is None:
            return None
        self._db.execute("UPDATE contract SET room = room - 1 WHERE place = ?", (found[0],))
        return str(found[1])


def timed(decide: Decider, leads: list[bytes]) -> tuple[list[int], list[str | None]]:
    """Nanoseconds of each decision, and the winners. Each lead is read just before, untimed, as it is at intake."""
    took, winners = [], []
    for image in leads:
        lead = _READ.decode(image)
        start = time.perf_counter_ns()
        winner = decide(lead)
        took.append(time.perf_counter_ns() - start)
        winners.append(winner)
    return took, winners


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


def one_size(contracts: int, count: int) -> dict[str, Any]:
    """All deciders over one market."""
    terms = market(contracts)
    leads = [msgspec.json.encode(lead) for lead in stream(2 * count)]
    before = rss_mb()
    start = time.perf_counter()
    book = compile_book(terms)
    compiled_s = time.perf_counter() - start
    ours = Ours(book)
    memory = rss_mb() - before
    gc.freeze()
    warm_up, leads = leads[:count], leads[count:]
    timed(ours.decide, warm_up)  # everybody meets the same leads, so that caps stand alike
    took, winners = timed(ours.decide, leads)
    rows: dict[str, Any] = {"lead-router": figures(took)}
    candidates = _candidates(book, warm_up, leads)
    peers: list[tuple[str, Decider, int]] = [("sqlite", _warm(Sqlite(book).decide, warm_up), count)]
    for name, judge in (("zen-engine", zen(book)), ("rule-engine", rule_engine(book))):
        if judge is not None:
            peers.append((name, Fed(judge, candidates).decide, count))
    if contracts <= NAIVE_MAX:
        some = max(200, 2_000_000 // contracts)
        peers.append(("naive loop", _warm(Naive(book).decide, warm_up if contracts <= 1000 else []), some))
    for name, decide, most in peers:
        some_leads = leads[:most]
        took, theirs = timed(decide, some_leads)
        if name != "naive loop" or contracts <= 1000:
            _same(name, theirs, winners)
        rows[name] = figures(took)
    for row in rows.values():
        row["times_ours"] = round(row["mean_us"] / rows["lead-router"]["mean_us"], 1)
    return {
        "contracts": contracts,
        "leads": count,
        "sold": sum(winner is not None for winner in winners),
        "compile_s": round(compiled_s, 2),
        "memory_mb": round(memory, 1),
        "most_candidates": max(map(len, candidates.values())),
        "deciders": rows,
    }


def _candidates(book: Book, warm_up: list[bytes], leads: list[bytes]) -> dict[str, list[str]]:
    """What each lead's candidates are when its turn comes, from a second router that meets the same leads."""
    other = Ours(book)
    timed(other.decide, warm_up)
    found = {}
    for image in leads:
        lead = _READ.decode(image)
        found[lead.lead_id] = other.candidates(lead)
        other.decide(lead)
    return found


def _warm(decide: Decider, leads: list[bytes]) -> Decider:
    timed(decide, leads)
    return decide


def _same(name: str, theirs: list[str | None], ours: list[str | None]) -> None:
    for place, (their, our) in enumerate(zip(theirs, ours, strict=False)):
        if their != our:
            raise SystemExit(f"{name} decides otherwise on lead {place}: {their} instead of {our}")


def main(argv: list[str] | None = None) -> int:
    """Run and print; `--json` writes the figures too."""
    options = argparse.ArgumentParser(description="Decisions per second, beside a naive loop and SQLite in one run.")
    options.add_argument("--sizes", default="100,1000,10000", help="numbers of contracts (default: %(default)s)")
    options.add_argument("--leads", type=int, default=20_000, help="leads per size (default: %(default)s)")
    options.add_argument("--json", type=Path, help="write the figures to this file too")
    options.add_argument("--svg", type=Path, help="draw them into this file")
    asked = options.parse_args(argv)
    results = []
    for size in map(int, asked.sizes.split(",")):
        result = one_size(size, asked.leads)
        results.append(result)
        print(
            f"\n{size:,} contracts: {result['sold']:,} of {result['leads']:,} leads sold; compiled in "
            f"{result['compile_s']} s; {result['memory_mb']} MB; at most {result['most_candidates']} candidates a lead"
        )
        print(f"{'':14}{'mean us':>10}{'p50':>9}{'p99':>10}{'worst':>11}{'per second':>13}{'x ours':>9}")
        for name, row in result["deciders"].items():
            print(
                f"{name:14}{row['mean_us']:>10}{row['p50_us']:>9}{row['p99_us']:>10}{row['worst_us']:>11}"
                f"{row['per_second']:>13,}{row['times_ours']:>9}"
            )
        sys.stdout.flush()
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if asked.svg:
        asked.svg.parent.mkdir(parents=True, exist_ok=True)
        asked.svg.write_text(chart(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

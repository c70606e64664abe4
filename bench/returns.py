"""What terms as routing input are worth: the same leads and buyers, routed the usual way and the way of this router.

A closed simulation in virtual time over the real engine. Each buyer has real terms, and judges every lead it receives
by them from what it was sent and when: what lies outside is given back. Three routers know these terms differently.

* by state, by city: coverage is the states, or the cities, that a territory touches; no field, consent, dedup or age
  rule, because these are looked at after delivery; a cap is a number that a job compares with what was delivered, once
  an hour, and pauses who has enough.
* enforced: the terms themselves, and a guard that reacts to late answers.

All know prices, criteria and opening hours. Nobody rejects at the door: what is wrong comes back.
On top, in all, a share of leads is given back for what no rule can see (a number that nobody answers).

Everything drawn stands in `People` and `Buyer`, with the chances and ranges it is drawn with; the seed is an argument.

    python -m bench.returns [--leads 6000] [--buyers 100] [--days 6] [--seed 1] [--json FILE] [--svg FILE]
"""

import argparse
import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from itertools import accumulate
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from bench.kept import add_options, decoded, keep
from bench.market import NOON, Country, country
from bench.returns_chart import chart
from router.core.calendar import day_start, local_day
from router.model.delivery import HttpRequest, HttpResponse
from router.model.facts import Paused
from router.model.lead import Consent, Lead, Value
from router.model.times import NS_HOUR, NS_S, parse_instant
from router.terms.book import Book
from router.terms.compile import compile_book
from router.terms.geography import us
from router.terms.schema import Buyer as BuyerTerms
from router.terms.schema import LeadType, RouterTerms, Source, Terms
from tests.simulation.router_world import Answer, RouterWorld

Way = Literal["by state", "by city", "enforced"]
WAYS: Final[tuple[Way, ...]] = ("by state", "by city", "enforced")
#: How many of a day's leads come in each hour, Eastern time.
_HOURS: Final = (2, 1, 1, 1, 1, 2, 3, 5, 8, 9, 10, 10, 11, 11, 10, 10, 9, 9, 10, 11, 11, 10, 7, 4)
_ZONES: Final = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles")
_DAY_S: Final = 86_400
#: The first day of the stream begins, Eastern time: twelve hours after the virtual clock does.
MIDNIGHT: Final = NOON + 12 * NS_HOUR
#: Given back for what no rule can see, whoever routed it.
UNSEEN: Final = 0.04
#: Reasons by which a buyer gives back what its terms exclude, in the order in which it looks.
REASONS: Final = (
    "out_of_coverage", "missing_field", "field_invalid", "consent_missing", "duplicate", "late_delivery", "over_cap",
)  # fmt: skip

LEAD_TYPE: Final[dict[str, Any]] = {
    "id": "solar",
    "deadline": "60s",
    "fields": {
        "phone": {"type": "phone", "required": True},
        "email": {"type": "email"},
        "postal_code": {"type": "postal_code", "required": True},
        "credit_score": {"type": "integer"},
        "roof_age": {"type": "integer"},
    },
}
ENDPOINT: Final[dict[str, Any]] = {
    "url": "http://127.0.0.1:9/lead",
    "timeout": "5m",
    "in_doubt_resolves": "rejected",
    "body": {
        "id": "{{lead_id}}", "phone": "{{phone}}", "email": "{{email}}", "zip": "{{postal_code}}",
        "roof_age": "{{roof_age}}", "credit_score": "{{credit_score}}", "received_at": "{{received_at}}",
        "consent_at": "{{consent.given_at}}", "certificate": "{{consent.jornaya_lead_id}}",
    },
    "responses": [{"when": {"path": "status", "equals": "accepted"}, "outcome": "accepted"}],
}  # fmt: skip


class People:
    """The stream: who asks when, from where, and what is the matter with it."""

    def __init__(self, chance: random.Random, land: Country) -> None:
        self._chance = chance
        self._land = land
        self._hours = [*accumulate(_HOURS)]
        self._earlier: list[dict[str, Value]] = []

    def leads(self, count: int, days: int, start_ns: int) -> list[Lead]:
        """So many leads over so many days, in order."""
        chance = self._chance
        times = sorted(
            day * _DAY_S + chance.choices(range(24), cum_weights=self._hours)[0] * 3600 + chance.random() * 3600
            for day in (chance.randrange(days) for _ in range(count))
        )
        return [self._lead(number, start_ns + round(at_s * 1e9)) for number, at_s in enumerate(times)]

    def _lead(self, number: int, at_ns: int) -> Lead:
        chance = self._chance
        age_s = chance.choices((0, 120, 1800, 2 * 3600, 30 * 3600), (80, 8, 5, 4, 3))[0] * (0.5 + chance.random())
        consent = None
        if chance.random() < 0.93:
            days = chance.choices((0, 3, 20), (90, 6, 4))[0]
            consent = Consent(
                given_at_ns=at_ns - round(age_s * 1e9) - days * _DAY_S * NS_S,
                text="I agree",
                jornaya_lead_id="0F8FAD5B-D9CB-469F-A165-70867728950E" if chance.random() < 0.85 else None,
            )
        return Lead(
            lead_id=f"lead-{number:06d}",
            lead_type="solar",
            source_id="web",
            received_at_ns=at_ns,
            submitted_at_ns=at_ns - round(age_s * 1e9),
            country="US",
            fields=self._person(number),
            consent=consent,
        )

    def _person(self, number: int) -> dict[str, Value]:
        """Somebody new, or (one in twelve) somebody who asked before, elsewhere."""
        chance = self._chance
        if self._earlier and chance.random() < 1 / 12:
            return chance.choice(self._earlier[-500:])
        fields: dict[str, Value] = {
            "phone": f"+1512{2_000_000 + number:07d}",
            "postal_code": self._land.code(chance),
            "credit_score": chance.randint(520, 820),
        }
        if chance.random() < 0.88:
            fields["email"] = f"person{number}@example.com"
        if chance.random() < 0.9:
            fields["roof_age"] = chance.randint(0, 45)
        self._earlier.append(fields)
        return fields


@dataclass
class Buyer:
    """A buyer's real terms, and what it thinks of what it was sent."""

    id: str
    codes: frozenset[str]
    price: int
    zone: tzinfo
    required: tuple[str, ...]
    roof_age_max: int | None
    credit_min: int | None
    consent_s: int | None
    dedup_s: int | None
    cap: int
    age_max_s: int | None
    within_s: int
    hours: tuple[str, ...] | None
    slow: tuple[int, int]  # seconds since the start between which it answers slowly
    seen: dict[str, int] = field(default_factory=dict)
    today: Counter[str] = field(default_factory=Counter)

    @classmethod
    def draw(cls, number: int, chance: random.Random, land: Country, days: int, leads_a_day: float) -> "Buyer":
        """One with terms as buyers have them."""
        slow_from = chance.randrange(days) * _DAY_S + chance.randrange(9, 20) * 3600
        return cls(
            id=f"buyer-{number:02d}",
            codes=frozenset(chance.choice(land.territories)[: chance.randint(40, 530)]),
            price=chance.randint(15, 60) * 100,
            zone=ZoneInfo(chance.choice(_ZONES)),
            required=tuple(name for name, share in (("email", 0.5), ("roof_age", 0.4)) if chance.random() < share),
            roof_age_max=chance.choice((None, 20, 30)),
            credit_min=chance.choice((None, 580, 620, 650)),
            consent_s=chance.choice((None, _DAY_S, 7 * _DAY_S)),
            dedup_s=chance.choice((None, 30 * _DAY_S, 90 * _DAY_S)),
            cap=max(3, round(leads_a_day * chance.uniform(0.002, 0.02))),
            age_max_s=chance.choice((None, 600, 3600, _DAY_S)),
            within_s=chance.choice((10, 30)),
            hours=chance.choice((None, ("Mon-Fri 08:00-20:00", "Sat 09:00-15:00"))),
            slow=(slow_from, slow_from + 3 * 3600) if chance.random() < 0.5 else (0, 0),
        )

    def judge(self, sent: dict[str, Any], lead: Lead, at_ns: int) -> str | None:
        """Why it gives back what it accepted at an instant, or None: by its own reading of its own terms."""
        phone, day = str(sent["phone"]), local_day(at_ns, self.zone).isoformat()
        received_ns = parse_instant(sent["received_at"])
        earlier_ns = self.seen.get(phone)
        self.seen[phone] = at_ns
        self.today[day] += 1
        consent_at = sent.get("consent_at")
        wrong = {
            "out_of_coverage": sent["zip"] not in self.codes,
            "missing_field": any(sent.get(name) is None for name in self.required),
            "field_invalid": self.roof_age_max is not None and (sent.get("roof_age") or 0) > self.roof_age_max,
            "consent_missing": self.consent_s is not None
            and (
                consent_at is None
                or sent.get("certificate") is None
                or received_ns - parse_instant(consent_at) > self.consent_s * NS_S
            ),
            "duplicate": self.dedup_s is not None
            and earlier_ns is not None
            and at_ns - earlier_ns < self.dedup_s * NS_S,
            "late_delivery": at_ns - received_ns > self.within_s * NS_S
            or (self.age_max_s is not None and at_ns - lead.submitted_at_ns > (self.age_max_s + 60) * NS_S),
            "over_cap": self.today[day] > self.cap,
        }
        return next((reason for reason in REASONS if wrong[reason]), None)

    def terms(self, way: Way) -> BuyerTerms:
        """Its record as a router has it: its terms, or the usual part of them."""
        contract: dict[str, Any] = {
            "id": self.id,
            "lead_type": "solar",
            "endpoint": "crm",
            "price": f"{self.price // 100}.00",
            "criteria": [{"field": "credit_score", "min": self.credit_min}] if self.credit_min else [],
            "coverage": self._coverage(way),
            "fields": {"required": ["phone", "postal_code"], "optional": ["email", "roof_age", "credit_score"]},
        }
        if self.hours is not None:
            contract["schedule"] = {"open": list(self.hours)}
        if way == "enforced":
            contract |= self._enforced()
        record = {
            "id": self.id,
            "name": self.id,
            "time_zone": str(self.zone),
            "endpoints": {"crm": ENDPOINT},
            "contracts": [contract],
        }
        found: BuyerTerms = decoded(record, BuyerTerms)
        return found

    def _coverage(self, way: Way) -> dict[str, Any]:
        if way == "enforced":
            return {"postal_codes": sorted(self.codes)}
        places = [place for code in sorted(self.codes) if (place := us().place(code)) is not None]
        if way == "by state":
            return {"states": sorted({place.state for place in places})}
        return {"cities": sorted({f"{place.city}, {place.state}" for place in places})}

    def _enforced(self) -> dict[str, Any]:
        optional = [name for name in ("email", "roof_age", "credit_score") if name not in self.required]
        rules = {} if self.roof_age_max is None else {"roof_age": {"max": self.roof_age_max}}
        sla: dict[str, Any] = {
            "deliver_within": f"{self.within_s}s",
            "guards": [
                {"metric": "late_rate", "over": 20, "min_sample": 3, "trip": 0.3, "recover": 0.1, "cool_down": "30m",
                 "action": "pause", "probes": 1}
            ],
        }  # fmt: skip
        if self.age_max_s is not None:
            sla["max_lead_age"] = f"{self.age_max_s}s"
        terms: dict[str, Any] = {
            "fields": {"required": ["phone", "postal_code", *self.required], "optional": optional, "rules": rules},
            "caps": [{"id": "daily", "per": "day", "limit": self.cap}],
            "sla": sla,
        }
        if self.consent_s is not None:
            terms["consent"] = {"certificates": ["jornaya"], "max_age": f"{self.consent_s}s"}
        if self.dedup_s is not None:
            terms["dedup"] = {"keys": [["phone"]], "window": f"{self.dedup_s}s"}
        return terms


def book(buyers: list[Buyer], way: Way) -> Book:
    """The terms of one way to route."""
    return compile_book(
        Terms(
            router=decoded({"network": {"allow_private": ["127.0.0.0/8"], "allow_http": True}}, RouterTerms),
            lead_types={"solar": decoded(LEAD_TYPE, LeadType)},
            sources={"web": decoded({"id": "web", "lead_types": ["solar"]}, Source)},
            buyers={buyer.id: buyer.terms(way) for buyer in buyers},
            lists={},
            places={},
        )
    )


class Play:
    """One way to route, from the first lead to the last return."""

    def __init__(self, buyers: list[Buyer], leads: list[Lead], way: Way) -> None:
        self._buyers = {buyer.id: buyer for buyer in buyers}
        self._leads = {lead.lead_id: lead for lead in leads}
        self._way = way
        self.accepted = 0
        self.revenue = 0
        self.returned: Counter[str] = Counter()
        self.credited = 0
        self.world = RouterWorld(book(buyers, way), self._answers)
        self._start_ns = 0

    def run(self) -> "Play":
        """Play it."""
        self.world.play(self._story)
        return self

    async def _story(self, world: RouterWorld) -> None:
        self._start_ns = world.clock.wall_ns()
        job = asyncio.create_task(self._hourly(world)) if self._way != "enforced" else None
        for lead in self._leads.values():
            await asyncio.sleep(max(0, lead.received_at_ns - world.clock.wall_ns()) / 1e9)
            await world.take(lead)
        await asyncio.sleep(3600)
        if job is not None:
            job.cancel()

    async def _hourly(self, world: RouterWorld) -> None:
        """Usual caps: a job looks, and pauses whoever has enough until the day is over."""
        while True:
            await asyncio.sleep(3600)
            for buyer in self._buyers.values():
                now_ns = world.clock.wall_ns()
                today = local_day(now_ns, buyer.zone)
                if buyer.today[today.isoformat()] >= buyer.cap:
                    until_ns = day_start(today + timedelta(days=1), buyer.zone)
                    await world.engine.write(
                        [Paused(subject="contract", id=buyer.id, reason="cap", by="job", until_ns=until_ns)]
                    )

    def _answers(self, lane: str, request: HttpRequest, _number: int) -> tuple[float, Answer]:
        """A buyer accepts after its time, and looks at what it got."""
        buyer, sent = self._buyers[lane], json.loads(request.body)
        lead = self._leads[sent["id"]]
        draw = random.Random(f"{lane}/{lead.lead_id}")
        since_s = (self.world.clock.wall_ns() - self._start_ns) / 1e9
        slow = buyer.slow[0] <= since_s < buyer.slow[1]
        took_s = draw.uniform(20, 90) if slow else draw.uniform(0.2, 2.5)
        reason = buyer.judge(sent, lead, self.world.clock.wall_ns() + round(took_s * 1e9))
        if reason is None and draw.random() < UNSEEN:
            reason = "unseen"
        self.accepted += 1
        self.revenue += buyer.price
        if reason is not None:
            self.returned[reason] += 1
            self.credited += buyer.price
        body = b'{"status":"accepted"}'
        return took_s, HttpResponse(status=200, headers=(("Content-Type", "application/json"),), body=body)

    def figures(self) -> dict[str, Any]:
        """What came of it."""
        preventable = self.returned.total() - self.returned["unseen"]
        return {
            "leads": len(self._leads),
            "sold": self.accepted,
            "returned": self.returned.total(),
            "return_rate": round(self.returned.total() / max(1, self.accepted), 4),
            "preventable": preventable,
            "by_reason": {reason: self.returned[reason] for reason in (*REASONS, "unseen")},
            "revenue": self.revenue / 100,
            "credited": self.credited / 100,
            "kept": (self.revenue - self.credited) / 100,
        }


def play(count: int, buyers: int, days: int, seed: int) -> dict[str, dict[str, Any]]:
    """Every way over the same buyers and leads."""
    land = country()
    found: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        chance = random.Random(seed)
        crowd = [Buyer.draw(number, chance, land, days, count / days) for number in range(buyers)]
        leads = People(chance, land).leads(count, days, MIDNIGHT)
        found[way] = Play(crowd, leads, way).run().figures()
    return found


def _row(name: str, values: list[float]) -> None:
    print(f"{name:24}" + "".join(f"{value:>14,.1%}" if 0 < value < 1 else f"{value:>14,.0f}" for value in values))


def main(argv: list[str] | None = None) -> int:
    """Play both and print; `--json` and `--svg` keep what came out."""
    options = argparse.ArgumentParser(description="Returns with terms looked at afterwards, and with terms enforced.")
    options.add_argument("--leads", type=int, default=6000, help="leads in all (default: %(default)s)")
    options.add_argument("--buyers", type=int, default=100, help="buyers (default: %(default)s)")
    options.add_argument("--days", type=int, default=6, help="days the leads come over (default: %(default)s)")
    options.add_argument("--seed", type=int, default=1, help="of everything drawn (default: %(default)s)")
    add_options(options)
    asked = options.parse_args(argv)
    found = play(asked.leads, asked.buyers, asked.days, asked.seed)
    print(f"{asked.buyers} buyers, {asked.days} days, seed {asked.seed}")
    print(f"{'':24}" + "".join(f"{name:>14}" for name in found))
    for key in ("leads", "sold", "returned", "return_rate", "preventable"):
        _row(key.replace("_", " "), [one[key] for one in found.values()])
    for reason in (*REASONS, "unseen"):
        _row(f"  {reason}", [one["by_reason"][reason] for one in found.values()])
    for key in ("revenue", "credited", "kept"):
        _row(key, [one[key] for one in found.values()])
    keep(asked, found, chart(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

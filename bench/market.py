"""A believable market for the benches: contracts over real US postal codes, and leads that come from them.

The generator's assumptions are all here and its seed is an argument. Of the contracts 3 % are national, 12 % take one
to four states, 15 % take prefixes and 70 % take 16 to 530 clustered codes; they have 0 to 4 criteria, a third keep
opening hours, half have a daily cap. Leads come from codes drawn evenly.
"""

import random
from typing import Final

from router.model.lead import Lead
from router.model.money import Money
from router.model.times import NS_S, Duration, parse_instant
from router.terms.geography import us
from router.terms.schema import (
    AcceptedFields,
    Buyer,
    Cap,
    Contract,
    CoverageTerms,
    Criterion,
    Endpoint,
    FieldTerms,
    LeadType,
    Network,
    ResponseRule,
    RouterTerms,
    Schedule,
    Sell,
    Source,
    Terms,
    Tier,
    When,
)

NOON: Final = parse_instant("2026-11-24T17:00:00Z")
LEAD_TYPES: Final = 10
UTILITIES: Final = ("oncor", "pec", "aep", "conedison", "pge")
_FIELDS: Final = {
    "first_name": FieldTerms(type="string"),
    "last_name": FieldTerms(type="string"),
    "phone": FieldTerms(type="phone", required=True),
    "email": FieldTerms(type="email"),
    "postal_code": FieldTerms(type="postal_code", required=True),
    "credit_score": FieldTerms(type="integer"),
    "monthly_bill": FieldTerms(type="integer"),
    "homeowner": FieldTerms(type="boolean"),
    "utility": FieldTerms(type="enum", one_of=UTILITIES),
}


def _coverage(chance: random.Random, codes: list[str], states: list[str]) -> CoverageTerms:
    draw = chance.random()
    if draw < 0.03:
        return CoverageTerms(everywhere=True)
    if draw < 0.15:
        return CoverageTerms(states=tuple(chance.sample(states, chance.randint(1, 4))))
    if draw < 0.30:
        heads = {chance.choice(codes)[: chance.choice((2, 3, 3, 4))] for _ in range(chance.randint(1, 6))}
        return CoverageTerms(postal_codes=tuple(sorted(f"{head}*" for head in heads)))
    size = chance.randint(16, 530)
    start = chance.randrange(len(codes) - size)
    return CoverageTerms(postal_codes=tuple(codes[start : start + size]))


def _criteria(chance: random.Random) -> tuple[Criterion, ...]:
    every = (
        Criterion(field_="credit_score", min=chance.choice((580, 620, 650, 680, 700))),
        Criterion(field_="homeowner", equals=True),
        Criterion(field_="monthly_bill", min=chance.choice((60, 80, 100, 120))),
        Criterion(field_="utility", one_of=tuple(chance.sample(UTILITIES, 3))),
    )
    return tuple(chance.sample(every, chance.randint(0, 4)))


def market(contracts: int, seed: int = 1, *, cap: int | None = None) -> Terms:
    """Terms with so many contracts, three a buyer, spread over ten lead types. `cap` overrides every daily cap."""
    chance = random.Random(seed)
    places = sorted(place.code for place in us())
    states = sorted({place.state for place in us() if place.county})
    endpoint = Endpoint(
        url="https://buyer.example/leads",
        body={"zip": "{{postal_code}}", "phone": "{{phone}}", "name": "{{first_name}} {{last_name}}"},
        responses=(ResponseRule(when=When(path="status", equals="accepted"), outcome="accepted"),),
        in_doubt_resolves="rejected",
    )
    buyers: dict[str, Buyer] = {}
    for first in range(0, contracts, 3):
        id_ = f"buyer-{first // 3:05d}"
        own = tuple(
            Contract(
                id=f"c-{number:06d}",
                lead_type=f"type-{number % LEAD_TYPES}",
                endpoint="crm",
                price=Money(chance.randint(500, 9000)),
                criteria=_criteria(chance),
                caps=(Cap(id="daily", per="day", limit=cap if cap is not None else chance.randint(20, 5000)),)
                if cap is not None or chance.random() < 0.5
                else (),
                schedule=Schedule(open=("Mon-Fri 07:00-21:00", "Sat 09:00-17:00")) if chance.random() < 0.33 else None,
                coverage=_coverage(chance, places, states),
                fields=AcceptedFields(
                    required=("phone", "postal_code"), optional=("first_name", "last_name", "email", "credit_score")
                ),
            )
            for number in range(first, min(first + 3, contracts))
        )
        buyers[id_] = Buyer(
            id=id_, name=id_, endpoints={"crm": endpoint}, contracts=own, max_in_flight=1_000_000, time_zone="UTC"
        )
    kinds = {
        f"type-{number}": LeadType(
            id=f"type-{number}",
            deadline=Duration(20 * NS_S),
            fields=_FIELDS,
            sell=Sell(),
            tiers=(Tier(name="main", method="price"),),
        )
        for number in range(LEAD_TYPES)
    }
    return Terms(
        router=RouterTerms(network=Network(allow_private=("127.0.0.0/8",), allow_http=True)),
        lead_types=kinds,
        sources={"web": Source(id="web", lead_types=tuple(kinds))},
        buyers=buyers,
        lists={},
        places={},
    )


def stream(count: int, seed: int = 2) -> list[Lead]:
    """So many leads, one a millisecond from noon on."""
    chance = random.Random(seed)
    places = sorted(place.code for place in us())
    leads = []
    for number in range(count):
        at_ns = NOON + number * 1_000_000
        leads.append(
            Lead(
                lead_id=f"lead-{number:08d}",
                lead_type=f"type-{chance.randrange(LEAD_TYPES)}",
                source_id="web",
                received_at_ns=at_ns,
                submitted_at_ns=at_ns,
                country="US",
                fields={
                    "first_name": "Ana",
                    "last_name": "Diaz",
                    "phone": f"+1512555{chance.randrange(10000):04d}",
                    "email": "ana@example.com",
                    "postal_code": chance.choice(places),
                    "credit_score": chance.randint(520, 820),
                    "monthly_bill": chance.randint(40, 300),
                    "homeowner": chance.random() < 0.7,
                    "utility": chance.choice(UTILITIES),
                },
            )
        )
    return leads

"""A believable market for the benches: contracts over real US postal codes, and leads that come from them.

The generator's assumptions are all here and its seed is an argument. Of the contracts 3 % are national, 12 % take one
to four states, 15 % take prefixes and 70 % take the 16 to 530 codes nearest to a place; they have 0 to 4 criteria, a
third keep opening hours (four kinds, in four time zones), half have a daily cap. Prices are drawn evenly.

Leads come from where people live, and buyers buy there. The codes say it themselves: there are more of them where there
are more people, so a code weighs as many as lie around it. Over three-digit areas that gives the concentration that
the census of 2020 gives (a sum of squared shares of 0.0023 by either; 0.0014 if every code were alike).
"""

import random
from collections import Counter
from functools import cache
from itertools import accumulate
from typing import Final

from router.model.lead import Lead
from router.model.money import Money
from router.model.times import NS_S, Duration, parse_instant
from router.terms.geography import Place, us
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
    Method,
    Network,
    ResponseRule,
    RouterTerms,
    Schedule,
    Sell,
    Source,
    Terms,
    Tier,
    Wallet,
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


#: Opening hours of those that keep any; the last two are closed at noon.
_HOURS: Final = (
    ("Mon-Fri 07:00-21:00", "Sat 09:00-17:00"),
    ("Mon-Fri 08:00-18:00",),
    ("Mon-Fri 17:00-23:00", "Sat-Sun 10:00-20:00"),
    ("Sat-Sun 08:00-20:00",),
)
_ZONES: Final = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles")
_CENTRES: Final = 1_000
_TERRITORY_MAX: Final = 530
_PLENTY: Final = Money(10**10)


class Country:
    """Real postal codes with where people live, and territories around places."""

    def __init__(self) -> None:
        places = sorted(place for place in us() if place.county and place.located)
        cells = Counter(_cell(place) for place in places)
        self.codes: Final = [place.code for place in places]
        self.states: Final = sorted({place.state for place in places})
        self.weights: Final = [*accumulate(_around(cells, place) for place in places)]
        self._cells: dict[tuple[int, int], list[Place]] = {}
        for place in places:
            self._cells.setdefault(_cell(place), []).append(place)
        chance = random.Random(0)
        centres = chance.choices(places, cum_weights=self.weights, k=_CENTRES)
        self.territories: Final = [self._nearest(centre) for centre in centres]

    def _nearest(self, centre: Place) -> tuple[str, ...]:
        """The codes nearest to a place, the nearest first (on a flat map: good enough for a territory)."""
        row, column = _cell(centre)
        reach, found = 0, list[Place]()
        while len(found) < 2 * _TERRITORY_MAX:
            reach += 2
            ring = range(-reach, reach + 1)
            found = [place for up in ring for left in ring for place in self._cells.get((row + up, column + left), ())]
        found.sort(key=lambda place: _squared(centre, place))
        return tuple(place.code for place in found[:_TERRITORY_MAX])

    def code(self, chance: random.Random) -> str:
        """A postal code that somebody lives in."""
        return chance.choices(self.codes, cum_weights=self.weights)[0]


def _cell(place: Place) -> tuple[int, int]:
    return int(place.latitude * 2), int(place.longitude * 2)


def _around(cells: Counter[tuple[int, int]], place: Place) -> int:
    row, column = _cell(place)
    return sum(cells[row + up, column + left] for up in (-1, 0, 1) for left in (-1, 0, 1))


def _squared(one: Place, other: Place) -> float:
    return (one.latitude - other.latitude) ** 2 + (0.8 * (one.longitude - other.longitude)) ** 2


@cache
def country() -> Country:
    """The one country everything here happens in."""
    return Country()


def _coverage(chance: random.Random) -> CoverageTerms:
    draw, land = chance.random(), country()
    if draw < 0.03:
        return CoverageTerms(everywhere=True)
    if draw < 0.15:
        return CoverageTerms(states=tuple(chance.sample(land.states, chance.randint(1, 4))))
    if draw < 0.30:
        heads = {land.code(chance)[: chance.choice((2, 3, 3, 4))] for _ in range(chance.randint(1, 6))}
        return CoverageTerms(postal_codes=tuple(sorted(f"{head}*" for head in heads)))
    return CoverageTerms(postal_codes=chance.choice(land.territories)[: chance.randint(16, _TERRITORY_MAX)])


def _criteria(chance: random.Random) -> tuple[Criterion, ...]:
    every = (
        Criterion(field_="credit_score", min=chance.choice((580, 620, 650, 680, 700))),
        Criterion(field_="homeowner", equals=True),
        Criterion(field_="monthly_bill", min=chance.choice((60, 80, 100, 120))),
        Criterion(field_="utility", one_of=tuple(chance.sample(UTILITIES, 3))),
    )
    return tuple(chance.sample(every, chance.randint(0, 4)))


def _contract(chance: random.Random, number: int, contracts: int) -> Contract:
    return Contract(
        id=f"c-{number:06d}",
        lead_type=f"type-{number % LEAD_TYPES}",
        endpoint="crm",
        price=Money(chance.randint(500, 9000)),
        priority=chance.randint(1, 50),
        weight=chance.randint(1, 5),
        share=1 / contracts,
        criteria=_criteria(chance),
        caps=(Cap(id="daily", per="day", limit=chance.randint(20, 5000)),) if chance.random() < 0.5 else (),
        schedule=Schedule(open=chance.choice(_HOURS)) if chance.random() < 0.33 else None,
        coverage=_coverage(chance),
        fields=AcceptedFields(
            required=("phone", "postal_code"), optional=("first_name", "last_name", "email", "credit_score")
        ),
    )


def market(contracts: int, seed: int = 1, *, method: Method = "price", together: bool = False) -> Terms:
    """Terms with so many contracts, three a buyer, spread over ten lead types, each with one tier of this method.

    `together`: the contracts of each buyer have a month's budget and a wallet together, which do not run out.
    """
    chance = random.Random(seed)
    endpoint = Endpoint(
        url="https://buyer.example/leads",
        body={"zip": "{{postal_code}}", "phone": "{{phone}}", "name": "{{first_name}} {{last_name}}"},
        responses=(ResponseRule(when=When(path="status", equals="accepted"), outcome="accepted"),),
        in_doubt_resolves="rejected",
    )
    buyers: dict[str, Buyer] = {}
    for first in range(0, contracts, 3):
        id_ = f"buyer-{first // 3:05d}"
        numbers = range(first, min(first + 3, contracts))
        buyers[id_] = Buyer(
            id=id_,
            name=id_,
            endpoints={"crm": endpoint},
            contracts=tuple(_contract(chance, number, contracts) for number in numbers),
            max_in_flight=1_000_000,  # nobody answers in a bench of decisions
            caps=(Cap(id="budget", per="month", spend=_PLENTY),) if together else (),
            wallet=Wallet(mode="postpay", credit_limit=_PLENTY) if together else None,
            time_zone=chance.choice(_ZONES),
        )
    kinds = {
        f"type-{number}": LeadType(
            id=f"type-{number}",
            deadline=Duration(20 * NS_S),
            fields=_FIELDS,
            sell=Sell(),
            tiers=(Tier(name="main", method=method),),
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
    chance, land = random.Random(seed), country()
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
                    "postal_code": land.code(chance),
                    "credit_score": chance.randint(520, 820),
                    "monthly_bill": chance.randint(40, 300),
                    "homeowner": chance.random() < 0.7,
                    "utility": chance.choice(UTILITIES),
                },
            )
        )
    return leads

"""Reports over many leads: who covers what and who does not, how buyers answered, which sales one rule kept away."""

from typing import Any

import pytest

from router.clock import SystemClock
from router.core.index import Board
from router.engine import archive
from router.ledger.sqlite import SqliteLedger
from router.model.facts import Decided, Ended, Entry, Received, Reserved, Settled, TermsLoaded
from router.model.times import NS_DAY
from router.reports.acceptance import acceptance
from router.reports.coverage import Spot, gaps, gaps_summary, overlaps, summary, territories
from router.reports.demand import demand
from router.reports.map import Layer, draw, spot
from router.reports.near_misses import Unsold, near_misses
from router.reports.run import report
from router.terms.geography import us
from tests import factory
from tests.factory import NOON, buyer, contract


def covering(*codes: str, **more: Any) -> dict[str, Any]:
    """A coverage of these entries."""
    return {"coverage": {"postal_codes": list(codes), **more}}


TERMS = factory.terms(
    buyer("a", contract("a-1", **covering("787*")), contract("a-2", **covering("78701", "78702"))),
    buyer("b", contract("b-1", **covering("78701-78705")), contract("b-draft", status="draft", **covering("1*"))),
    buyer("c", contract("c-paused", **covering("00501")), status="paused"),
)


def test_territories_hold_codes_in_use() -> None:
    """What a contract covers is counted in codes that exist; one that is not live says so."""
    lines = {line["contract_id"]: line for line in summary(territories(TERMS))}
    assert lines["b-1"]["codes"] == 5
    assert lines["b-1"]["states"] == {"TX": 5}
    assert [lines[one]["live"] for one in ("a-1", "b-draft", "c-paused")] == [True, False, False]


def test_overlaps_count_buyers_not_contracts() -> None:
    """Two contracts of one buyer are one buyer at a code."""
    live = [one for one in territories(TERMS) if one.live]
    counts = overlaps(live)
    assert counts[2] == 5
    assert counts[1] == len(us().starting("787")) - 5
    assert counts[0] == len(us()) - len(us().starting("787"))


def test_gaps_are_weighed_by_leads() -> None:
    """Codes nobody covers and codes one buyer covers, most leads first; codes of two buyers are no gap."""
    demand = {Spot("solar", "US", "10001"): 5, Spot("solar", "US", "78745"): 7, Spot("solar", "US", "78701"): 50}
    found = gaps(territories(TERMS), demand, ["solar"])["solar"]
    assert [(gap.postal_code, gap.buyers, gap.buyer_id, gap.leads) for gap in found[:2]] == [
        ("78745", 1, "a", 7),
        ("10001", 0, None, 5),
    ]
    assert "78701" not in {gap.postal_code for gap in found}
    table = gaps_summary(found, 62, rows_max=2)
    assert (table["leads_none"], table["leads_one"], len(table["rows"])) == (5, 7, 2)
    assert table["none"] + table["one"] == len(us()) - 5
    assert table["states"]["NY"]["leads_none"] == 5


def test_leads_from_abroad_and_from_nowhere_are_gaps_too() -> None:
    """A code that is not on the map is judged by the coverage itself."""
    terms = factory.terms(buyer("gb", contract("gb-1", coverage={"country": "GB", "postal_codes": ["SW1A"]})))
    demand = {Spot("solar", "GB", "SW1A 1AA"): 2, Spot("solar", "GB", "M1 1AE"): 3, Spot("solar", "US", "99999"): 1}
    found = gaps(territories(terms), demand, ["solar"])["solar"]
    assert [(gap.postal_code, gap.buyers) for gap in found if gap.leads] == [
        ("M1 1AE", 0),
        ("SW1A 1AA", 1),
        ("99999", 0),
    ]


# -- the map -------------------------------------------------------------------------------------


def test_the_map_has_a_dot_for_each_place_and_says_what_it_shows() -> None:
    """Title, legend with counts, one path a layer, a circle a weighty code; text is escaped."""
    from lxml import etree

    svg = draw("A <b> & c", "sub", [Layer("nobody", "#ccc", us().codes), Layer("lost", "red", ["10001"], {"10001": 3})])
    tree = etree.fromstring(svg.encode())
    assert tree.findtext("{*}title") == "A <b> & c"
    texts = [one.text for one in tree.iterfind(".//{*}text")]
    assert f"nobody: {len(us()):,}" in texts
    assert [one.text for one in tree.iterfind(".//{*}circle/{*}title")] == ["10001: 3 leads"]
    assert len(tree.findall("{*}path")) == 1


@pytest.mark.parametrize(
    ("west", "east"), [("94102", "10001"), ("98101", "04101"), ("90001", "33101"), ("99501", "96813")]
)
def test_west_is_left_of_east(west: str, east: str) -> None:
    """Places stand on the map as on earth, and inside it."""
    from router.reports.map import HEIGHT, WIDTH

    left, right = spot(west), spot(east)
    assert left is not None
    assert right is not None
    assert left[0] < right[0]
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in (left, right))


def test_every_place_is_inside_the_map() -> None:
    """No dot lies outside the picture; what has no place has no dot."""
    spots = [at for place in us() if (at := spot(place.code)) is not None]
    assert len(spots) > 40_000
    assert all(0 < x < 1000 and 60 < y < 720 for x, y in spots)
    assert spot("09001") is None


# -- acceptance ----------------------------------------------------------------------------------


def reserved(n: int, **more: Any) -> Reserved:
    """A delivery to a-1."""
    given = {
        "delivery_id": f"d{n}", "lead_id": f"l{n}", "contract_id": "a-1", "buyer_id": "a", "lead_type": "solar",
        "terms_version": "v", "rank": 0, "price": 1000, "day": "2026-11-24", "steady_ns": 1,
    }  # fmt: skip
    return Reserved(**{**given, **more})


def test_acceptance_is_of_what_was_answered() -> None:
    """Failed and doubtful deliveries are counted and are no answers; a resolved doubt counts as what it became."""
    facts = [
        *(Received(lead_id=f"l{n}", source_id="web" if n < 4 else "hub", lead_type="solar") for n in range(7)),
        *(reserved(n) for n in range(6)),
        reserved(6, test=True),
        Settled(delivery_id="d0", outcome="accepted", price=900, late=True),
        Settled(delivery_id="d1", outcome="rejected", reason="too far"),
        Settled(delivery_id="d2", outcome="failed", reason="auth"),
        Settled(delivery_id="d3", outcome="in_doubt"),
        Settled(delivery_id="d3", outcome="accepted"),
        Settled(delivery_id="d4", outcome="in_doubt"),
        Settled(delivery_id="d6", outcome="rejected"),
    ]
    (row,) = acceptance((0, fact) for fact in facts)
    assert (row["contract_id"], row["deliveries"], row["open"], row["late"]) == ("a-1", 6, 1, 1)
    assert (row["accepted"], row["rejected"], row["failed"], row["in_doubt"]) == (2, 1, 1, 1)
    assert row["acceptance"] == 0.6667
    assert row["revenue"] == "19.00"
    assert row["reasons"] == {"too far": 1, "auth": 1}
    assert row["sources"]["hub"]["acceptance"] is None


# -- near misses ---------------------------------------------------------------------------------


def test_a_near_miss_is_one_rule_away() -> None:
    """A contract that covers the lead and was refused by one rule is named with it; by two, or elsewhere, it is not."""
    needs = ["phone", "email", "utility"]
    book = factory.book(
        buyer("cap", contract("cap-1", price="30.00", caps=[{"per": "day", "limit": 1}])),
        buyer("score", contract("score-1", criteria=[{"field": "credit_score", "min": 650}])),
        buyer("both", contract("both-1", criteria=[{"field": "credit_score", "min": 650}], fields={"required": needs})),
        buyer("far", contract("far-1", **covering("1*"))),
    )  # fmt: skip
    board = Board(book, "solar", "exclusive")
    cap = board.ids.index("cap-1")
    unsold = [
        Unsold(
            factory.lead(f"lead-{n}", credit_score=600),
            Decided(
                lead_id=f"lead-{n}",
                terms_version=book.version,
                blocked={"cap_reached": ("cap-1",)} if n else {"cap_reached": (1 << cap).to_bytes(2, "big")},
                details={"cap-1": ("at most 1 a day", "1")},
            ),
            board,
        )
        for n in range(7)
    ]
    found = near_misses(unsold)
    assert found["unsold"] == 7
    assert found["codes"] == {"cap_reached": 7, "criteria_failed": 7}
    rows = [(row["contract_id"], row["code"], row["expected"], row["leads"], row["worth"]) for row in found["rows"]]
    assert rows[0] == ("cap-1", "cap_reached", "at most 1 a day", 7, "210.00")
    assert [(row[0], row[1], row[3]) for row in rows[1:]] == [("score-1", "criteria_failed", 7)]
    assert found["rows"][0]["examples"] == [f"lead-{n}" for n in range(5)]


def test_a_suppressed_person_is_no_near_miss() -> None:
    """There is nothing to talk about with anybody."""
    book = factory.book(buyer("a", contract("a-1")))
    told = Decided(
        lead_id="lead-1",
        terms_version=book.version,
        blocked={"suppressed": ("a-1",)},
        alike={"suppressed": ("nobody who is suppressed", "phone suppressed by operator:alice")},
    )
    found = near_misses([Unsold(factory.lead(), told, Board(book, "solar", "exclusive"))])
    assert (found["unsold"], found["rows"]) == (1, [])


# -- from a state directory ----------------------------------------------------------------------


async def test_reports_read_the_past(tmp_path: Any) -> None:
    """From a ledger: terms in force, leads by code without tests, unsold leads judged by their own terms."""
    book = factory.book(
        buyer("a", contract("a-1", **covering("787*"), criteria=[{"field": "credit_score", "min": 650}])),
    )
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    await archive.keep(book, None, ledger, SystemClock())
    leads = {
        "lead-1": factory.lead("lead-1", credit_score=600),
        "lead-2": factory.lead("lead-2", postal_code="10001"),
        "lead-3": factory.lead("lead-3", postal_code="10001", test=True),
        "lead-4": factory.lead("lead-4", at_ns=NOON - 60 * NS_DAY),
    }
    await ledger.append([Entry(at_ns=NOON, fact=TermsLoaded(terms_version=book.version, by="start"))])
    for lead_id, lead in leads.items():
        at = lead.received_at_ns
        took = Received(lead_id=lead_id, source_id="web", lead_type="solar", test=lead.test)
        decided = Decided(lead_id=lead_id, terms_version=book.version)
        over = Ended(lead_id=lead_id, status="unsold", reason="no_eligible_contract")
        await ledger.append(
            [Entry(at_ns=at, fact=took, lead=lead), Entry(at_ns=at, fact=decided), Entry(at_ns=at, fact=over)]
        )
    await ledger.erase(["lead-4"])
    await ledger.close()
    found = report("coverage", tmp_path, now_ns=NOON + 1)
    assert found is not None
    assert (found["terms_version"], found["leads"]["total"]) == (book.version, 2)
    assert found["lead_types"]["solar"]["rows"][0]["postal_code"] == "10001"
    found = report("near-misses", tmp_path, now_ns=NOON + 1, since_ns=0)
    assert found is not None
    assert (found["unsold"], found["not_looked_at"]) == (2, 2)
    assert [(row["contract_id"], row["code"]) for row in found["rows"]] == [("a-1", "criteria_failed")]
    found = report("acceptance", tmp_path, now_ns=NOON + 1)
    assert found is not None
    assert found["contracts"] == []
    seen = demand(tmp_path)
    assert seen is not None
    assert (seen.total, seen.forgotten) == (3, 1)
    assert report("acceptance", tmp_path / "nowhere", now_ns=NOON) is None

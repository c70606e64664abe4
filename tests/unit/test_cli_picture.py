"""A trace as a picture: everything that decided is in it, and nothing a buyer wrote can upset a terminal."""

from typing import Any

from router.cli.picture import RANKED_SHOWN_MAX, REFUSED_SHOWN_MAX, explanation, way

DECISION: dict[str, Any] = {
    "terms_version": "3f9c2a7e81b0d5",
    "decided_at": "2026-11-23T17:00:00.013Z",
    "ranking": ["brightroof-tx", "sunpeak-tx"],
    "winners": ["brightroof-tx"],
    "refusals": [
        {
            "contract_id": "ridgeline",
            "code": "criteria_failed",
            "expected": "credit_score at least 650",
            "actual": "612",
        }
    ],
    "others": {"out_of_coverage": 12},
}
DELIVERY: dict[str, Any] = {
    "delivery_id": "D1",
    "contract_id": "brightroof-tx",
    "buyer_id": "brightroof",
    "outcome": "accepted",
    "price": "42.50",
    "reserved_at": "2026-11-23T17:00:00.014Z",
    "allowed_by": [{"rule": "coverage", "expected": "postal_codes: 787*", "actual": "78701, US"}],
    "attempts": [{"at": "2026-11-23T17:00:00.020Z", "took_ms": 41.4, "status": 200, "outcome": "accepted"}],
}
TRACE: dict[str, Any] = {
    "lead_id": "L1",
    "status": "sold",
    "source_id": "acme-web",
    "lead_type": "solar",
    "postal_code": "78701",
    "received_at": "2026-11-23T17:00:00.012Z",
    "decisions": [DECISION],
    "deliveries": [DELIVERY],
}


def test_the_whole_way_in_order() -> None:
    """Received, decided with ranking and refusals, delivered with what allowed it, sold: in that order."""
    text = "\n".join(way(TRACE))
    marks = [
        "lead L1",
        "17:00:00.012 from acme-web",
        "solar, 78701",
        "2 eligible, 1 refused, by terms 3f9c2a7e81b0",
        "1. brightroof-tx",
        "winner",
        "2. sunpeak-tx",
        "wants credit_score at least 650; it is 612",
        "12 more, which do not cover this lead",
        "to brightroof-tx of brightroof at 42.50",
        "postal_codes: 787*",
        "attempt 1  17:00:00.020  41 ms  status 200  accepted",
        "■ sold to brightroof",
    ]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_steps_stand_in_the_order_of_time() -> None:
    """A second decision after a first delivery is drawn after it."""
    again = DECISION | {"decided_at": "2026-11-23T18:00:00.000Z", "by": "operator:alice"}
    declined = DELIVERY | {"outcome": "rejected", "reason": "score too low"}
    text = "\n".join(way(TRACE | {"decisions": [DECISION, again], "deliveries": [declined]}))
    assert text.index("rejected: score too low") < text.index("again, for operator:alice")


def test_what_a_buyer_wrote_is_harmless() -> None:
    """Control characters of a reason become blanks, and endless text ends."""
    nasty = DELIVERY | {"outcome": "rejected", "reason": "\x1b[2J\x07\n" + "x" * 500}
    lines = way(TRACE | {"deliveries": [nasty]})
    assert not any("\x1b" in line or "\x07" in line for line in lines)
    assert max(map(len, lines)) < 200


def test_nothing_is_cut_without_being_counted() -> None:
    """Long rankings and many refusals end in a count of the rest."""
    refusals = [{"contract_id": f"c{n}", "code": "cap_reached", "expected": "", "actual": ""} for n in range(30)]
    ranking = [f"r{n}" for n in range(20)]
    text = "\n".join(way(TRACE | {"decisions": [DECISION | {"refusals": refusals, "ranking": ranking}]}))
    assert f"and {20 - RANKED_SHOWN_MAX} more" in text
    assert f"and {30 - REFUSED_SHOWN_MAX} cap_reached" in text


def test_unsold_and_doubt_say_why() -> None:
    """The end of a lead nobody took, and a delivery that has no outcome yet."""
    assert way(TRACE | {"status": "unsold", "reason": "no_coverage", "deliveries": []})[-1] == "■ unsold: no_coverage"
    doubt = DELIVERY | {"outcome": "in_doubt", "attempts": [{"at": None, "status": None, "outcome": "in_doubt"}]}
    text = "\n".join(way(TRACE | {"status": "in_doubt", "deliveries": [doubt]}))
    assert "attempt 1  no answer  in_doubt" in text


def test_colour_only_where_asked() -> None:
    """Escape codes are there with colour and nowhere without."""
    assert any("\x1b[32m" in line for line in way(TRACE, colour=True))
    assert not any("\x1b" in line for line in way(TRACE))


def test_explanation_is_the_decision() -> None:
    """The table of who would get it and why the others would not."""
    assert explanation({**DECISION, "duplicate_of": "lead-0"})[0].startswith(
        "It would be taken as a duplicate of lead-0"
    )
    text = "\n".join(explanation(DECISION))
    assert "brightroof-tx" in text
    assert "criteria_failed" in text

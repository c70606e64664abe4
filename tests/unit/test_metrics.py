"""Metrics: what is told is shown, what is shown is documented, and nothing of a lead is a label."""

import re
from pathlib import Path

from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from router.metrics import PREFIX, Levels, Metrics

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
LEVELS = Levels(
    open_leads={"routing": 2},
    in_flight=3,
    in_doubt=1,
    waiting=4,
    ready=True,
    terms_version="abcdef0123456789",
    terms_loaded_at_s=1.5,
    ledger_facts=100,
    ledger_queued=5,
    ledger_commits=7,
    ledger_commit_s=0.25,
    ledger_commit_last_s=0.01,
    ledger_writable=True,
    alerts_open={"buyer_quiet": 2},
)


def told() -> Metrics:
    """Everything told once."""
    metrics = Metrics()
    metrics.lead_ended("web", "sold")
    metrics.refused("lead_invalid")
    metrics.decided(1e-5)
    metrics.delivery_settled("bright-tx", "accepted", late=True)
    metrics.guard_tripped("bright-tx", "acceptance_rate")
    metrics.bid("c", "bid")
    metrics.attempted("accepted", 0.02)
    return metrics


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_what_is_told_is_shown() -> None:
    """Each call and each level stands in the text."""
    shown = samples(told().text(LEVELS))
    assert shown["lead_router_leads_total", (("source", "web"), ("status", "sold"))] == 1
    assert shown["lead_router_refused_total", (("code", "lead_invalid"),)] == 1
    assert shown["lead_router_deliveries_total", (("contract", "bright-tx"), ("outcome", "accepted"))] == 1
    assert shown["lead_router_deliveries_late_total", ()] == 1
    assert shown["lead_router_guard_trips_total", (("contract", "bright-tx"), ("metric", "acceptance_rate"))] == 1
    assert shown["lead_router_attempt_seconds_count", (("outcome", "accepted"),)] == 1
    assert shown["lead_router_decision_seconds_count", ()] == 1
    assert shown["lead_router_open_leads", (("status", "routing"),)] == 2
    assert shown["lead_router_in_doubt_deliveries", ()] == 1
    assert shown["lead_router_ready", ()] == 1
    assert shown["lead_router_alerts_open", (("kind", "buyer_quiet"),)] == 2
    assert shown["lead_router_terms_loaded_timestamp_seconds", (("version", "abcdef012345"),)] == 1.5
    assert shown["lead_router_ledger_commit_last_seconds", ()] == 0.01


def test_levels_that_are_gone_are_gone() -> None:
    """A status that no lead has any more is not shown with its old number."""
    metrics = told()
    metrics.text(LEVELS)
    shown = samples(metrics.text(structs.replace(LEVELS, open_leads={})))
    assert ("lead_router_open_leads", (("status", "routing"),)) not in shown


def test_every_metric_is_documented_with_its_labels() -> None:
    """docs/reference/metrics.md has exactly the metrics of the registry, each with its kind and labels."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text("utf-8"), re.MULTILINE)
    written = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    metrics = told()
    metrics.text(LEVELS)
    registered = {}
    for family in metrics.registry.collect():
        if family.name.startswith(PREFIX):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            registered[name] = (family.type, labels)
    assert written == registered


def test_two_registries_do_not_meet() -> None:
    """Two daemons in one process (as in tests) count for themselves."""
    first, second = Metrics(), Metrics()
    first.lead_ended("web", "sold")
    assert second.lead_counts == {}

"""How the engine stands, in numbers: for readiness, Prometheus, `lead-router status` and the dashboard."""

from collections import Counter
from typing import Any

from router.core.state import OpenLead
from router.engine import Engine
from router.engine.watch import Watch
from router.ledger.sqlite import SqliteLedger
from router.metrics import Levels, Metrics
from router.model.times import NS_S, format_instant


def readiness(engine: Engine) -> dict[str, Any]:
    """`{ready, reasons, terms_version}`: whether leads are taken and sent, and in words why not."""
    reasons = []
    if not engine.started:
        reasons.append("starting: the ledger is being read")
    elif engine.draining:
        reasons.append("stopping: no new leads are taken")
    elif engine.failure.done():
        reasons.append("failed: the process is about to stop")
    elif (problem := engine.ledger.problem) is not None:
        reasons.append(f"the ledger cannot be written: {problem}")
    elif (refused := engine.accepting()) is not None:
        reasons.append(refused.detail)
    return {"ready": not reasons, "reasons": reasons, "terms_version": engine.book.version}


def levels(engine: Engine, watch: Watch) -> Levels:
    """The gauges of `/metrics`."""
    held = Counter(one.status for one in engine.state.held.values())
    ledger = engine.ledger
    stats = ledger.stats if isinstance(ledger, SqliteLedger) else None
    return Levels(
        open_leads=Counter(lead.status for lead in engine.state.open.values()),
        in_flight=held["in_flight"],
        in_doubt=held["in_doubt"],
        waiting=sum(1 for lead in engine.state.open.values() if _waits(lead)),
        ready=not readiness(engine)["reasons"],
        terms_version=engine.book.version,
        terms_loaded_at_s=engine.loaded_at_ns / NS_S,
        ledger_facts=ledger.head_seq,
        ledger_queued=ledger.queued_facts if isinstance(ledger, SqliteLedger) else 0,
        ledger_commits=stats.groups if stats else 0,
        ledger_commit_s=stats.commit_ns_total / NS_S if stats else 0.0,
        ledger_commit_last_s=stats.commit_ns_last / NS_S if stats else 0.0,
        ledger_writable=ledger.writable,
        alerts_open=Counter(told.alert.kind for told in watch.open),
    )


def _waits(lead: OpenLead) -> bool:
    """Whether a lead waits for a contract: decided about, not ended, and none of its deliveries is under way."""
    return lead.decided and lead.status in ("routing", "queued") and None not in lead.deliveries.values()


def stats(engine: Engine, watch: Watch, metrics: Metrics) -> dict[str, Any]:
    """`GET /v1/status`: what stands now, and what was counted since the start."""
    now = levels(engine, watch)
    return {
        **readiness(engine),
        "terms": {"version": now.terms_version, "loaded_at": format_instant(engine.loaded_at_ns)},
        "now": {
            "open_leads": dict(now.open_leads),
            "in_flight": now.in_flight,
            "in_doubt": now.in_doubt,
            "waiting": now.waiting,
        },
        "since_start": {"leads": dict(metrics.lead_counts), "deliveries": dict(metrics.delivery_counts)},
        "ledger": {
            "facts": now.ledger_facts,
            "queued": now.ledger_queued,
            "commits": now.ledger_commits,
            "commit_ms_last": round(now.ledger_commit_last_s * 1e3, 3),
            "writable": now.ledger_writable,
        },
        "alerts": dict(now.alerts_open),
        "paused": [
            {
                "subject": subject,
                "reason": pause.reason,
                "by": pause.by,
                "until": format_instant(pause.until_ns) if pause.until_ns else None,
            }
            for subject, pause in sorted(engine.state.paused.items())
            if pause.until_ns is None or pause.until_ns > engine.now_ns()
        ],
        "overridden": [
            {"subject": subject, "reason": one.reason, "by": one.by, "until": format_instant(one.until_ns)}
            for subject, one in sorted(engine.state.overrides.items())
            if one.until_ns > engine.now_ns()
        ],
        "book": {
            "contracts": len(engine.book.contracts),
            "buyers": len(engine.book.buyers),
            "sources": len(engine.book.sources),
        },
    }

"""What Prometheus is told. Counters are told as things happen; what simply stands somewhere is read when it is scraped.

Labels are ids from the configuration, statuses and codes: never anything a lead brought. Nothing but a counter by
contract grows with the number of contracts.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

PREFIX: Final = "lead_router"
_ATTEMPT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DECISION_BUCKETS: Final = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 1e-2, 0.1)


class Levels(Struct, frozen=True, kw_only=True):
    """How things stand when somebody looks. Instants and durations in seconds, as Prometheus wants them."""

    open_leads: Mapping[str, int]  # by status
    in_flight: int
    in_doubt: int
    waiting: int
    ready: bool
    terms_version: str
    terms_loaded_at_s: float
    ledger_facts: int  # the last durable one's number
    ledger_queued: int
    ledger_commits: int
    ledger_commit_s: float  # all commits together
    ledger_commit_last_s: float
    ledger_writable: bool
    alerts_open: Mapping[str, int]  # by kind


class Metrics:
    """One registry a process, not the library's global one: two can live side by side in tests."""

    content_type: Final = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._leads = Counter("leads", "Leads that ended", ("source", "status"), PREFIX, registry=registry)
        self._refused = Counter("refused", "Requests refused, by problem code", ("code",), PREFIX, registry=registry)
        self._decisions = Histogram(
            "decision_seconds",
            "A decision, with its reservations",
            (),
            PREFIX,
            registry=registry,
            buckets=_DECISION_BUCKETS,
        )
        self._deliveries = Counter(
            "deliveries", "Deliveries that reached an outcome", ("contract", "outcome"), PREFIX, registry=registry
        )
        self._late = Counter("deliveries_late", "Answers after deliver_within", (), PREFIX, registry=registry)
        self._pings = Counter("pings", "Answers to pings", ("contract", "result"), PREFIX, registry=registry)
        self._guard_trips = Counter(
            "guard_trips",
            "Times a guard tripped, the breaker included",
            ("contract", "metric"),
            PREFIX,
            registry=registry,
        )
        self._attempts = Histogram(
            "attempt_seconds",
            "One request to an endpoint",
            ("outcome",),
            PREFIX,
            registry=registry,
            buckets=_ATTEMPT_BUCKETS,
        )
        self._levels = _Levels(registry)
        self._lead_children: dict[
            tuple[str, str], Counter
        ] = {}  # finding a child by its labels costs more than counting
        self.lead_counts: dict[str, int] = {}
        self.delivery_counts: dict[str, int] = {}

    def lead_ended(self, source_id: str, status: str) -> None:
        """A lead came to an end, for now."""
        child = self._lead_children.get((source_id, status))
        if child is None:
            child = self._lead_children[source_id, status] = self._leads.labels(source_id, status)
        child.inc()
        self.lead_counts[status] = self.lead_counts.get(status, 0) + 1

    def refused(self, code: str) -> None:
        """A request, or a line of a batch, was answered with a problem."""
        self._refused.labels(code).inc()

    def decided(self, seconds: float) -> None:
        """A decision was made; `seconds` is how long the choosing took."""
        self._decisions.observe(seconds)

    def delivery_settled(self, contract_id: str, outcome: str, *, late: bool) -> None:
        """A delivery reached an outcome."""
        self._deliveries.labels(contract_id, outcome).inc()
        self.delivery_counts[outcome] = self.delivery_counts.get(outcome, 0) + 1
        if late:
            self._late.inc()

    def bid(self, contract_id: str, result: str) -> None:
        """A contract was asked for a bid, and this came of it."""
        self._pings.labels(contract_id, result).inc()

    def guard_tripped(self, contract_id: str, metric: str) -> None:
        """A guard of a contract, or its breaker, tripped (again)."""
        self._guard_trips.labels(contract_id, metric).inc()

    def attempted(self, outcome: str, seconds: float) -> None:
        """A request to an endpoint ended."""
        self._attempts.labels(outcome).observe(seconds)

    def text(self, levels: Levels) -> bytes:
        """Everything, in Prometheus' text format, with `levels` as they stand now."""
        self._levels.set(levels)
        return generate_latest(self.registry)


class _Levels:
    """The gauges, and the counters that others keep."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, says: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(name, says, labels, PREFIX, registry=registry)

        self._open = gauge("open_leads", "Leads that are not at their end", ("status",))
        self._in_flight = gauge("in_flight_deliveries", "Deliveries being sent")
        self._in_doubt = gauge("in_doubt_deliveries", "Deliveries whose outcome nobody knows")
        self._waiting = gauge("waiting_leads", "Leads that wait for a contract")
        self._ready = gauge("ready", "1 when leads are taken and sent")
        self._terms = gauge("terms_loaded_timestamp_seconds", "When the terms in force were loaded", ("version",))
        self._facts = gauge("ledger_facts", "Durable facts")
        self._queued = gauge("ledger_queued_facts", "Facts that wait to be written")
        self._commits = gauge("ledger_commits", "Commits since the start")
        self._commit_total = gauge("ledger_commit_seconds", "Time spent in commits since the start")
        self._commit_last = gauge("ledger_commit_last_seconds", "The last commit")
        self._writable = gauge("ledger_writable", "1 when the ledger can be written")
        self._alerts = gauge("alerts_open", "Alerts that are not over", ("kind",))

    def set(self, levels: Levels) -> None:
        """Take over how things stand."""
        self._open.clear()
        for status, count in levels.open_leads.items():
            self._open.labels(status).set(count)
        self._in_flight.set(levels.in_flight)
        self._in_doubt.set(levels.in_doubt)
        self._waiting.set(levels.waiting)
        self._ready.set(levels.ready)
        self._terms.clear()
        self._terms.labels(levels.terms_version[:12]).set(levels.terms_loaded_at_s)
        self._facts.set(levels.ledger_facts)
        self._queued.set(levels.ledger_queued)
        self._commits.set(levels.ledger_commits)
        self._commit_total.set(levels.ledger_commit_s)
        self._commit_last.set(levels.ledger_commit_last_s)
        self._writable.set(levels.ledger_writable)
        self._alerts.clear()
        for kind, count in levels.alerts_open.items():
            self._alerts.labels(kind).set(count)

"""Entries to put into a ledger: one lead, its delivery and its end, by number."""

from router.model.facts import Attempted, Ended, Entry, Idempotency, Received, Reserved, Settled
from router.model.lead import Consent, Lead

T0 = 1_700_000_000_000_000_000
S = 1_000_000_000


def lead(n: int, **changes: object) -> Lead:
    """A lead received `n` seconds after T0; its id sorts by time."""
    values: dict[str, object] = {
        "lead_id": f"lead-{n:04d}",
        "lead_type": "solar",
        "source_id": "acme",
        "received_at_ns": T0 + n * S,
        "submitted_at_ns": T0 + n * S - 5,
        "fields": {
            "phone": f"+1512555{n:04d}",
            "email": f"ana{n}@example.com",
            "roof_age": 7,
            "score": 0.5,
            "own": True,
        },
        "country": "US",
        "consent": Consent(text="yes", sellers=("BrightRoof",)),
    }
    return Lead(**{**values, **changes})  # type: ignore[arg-type]


def received(n: int, *, key: str | None = None, **changes: object) -> Entry:
    """The Received of `lead(n)`, perhaps with an Idempotency-Key."""
    one = lead(n, **changes)
    return Entry(
        at_ns=one.received_at_ns,
        fact=Received(lead_id=one.lead_id, source_id=one.source_id, lead_type=one.lead_type),
        lead=one,
        idempotency=Idempotency(key=key, body_sha256=key.encode()) if key else None,
    )


def reserved(n: int) -> Entry:
    """A delivery of `lead(n)`."""
    fact = Reserved(
        delivery_id=f"delivery-{n:04d}", lead_id=f"lead-{n:04d}", contract_id="c", buyer_id="b", lead_type="solar",
        terms_version="v1", rank=0, price=4250, day="2026-11-24", steady_ns=7,
    )  # fmt: skip
    return Entry(at_ns=T0 + n * S + 1, fact=fact)


def attempted(n: int) -> Entry:
    """The attempt of that delivery."""
    fact = Attempted(
        delivery_id=f"delivery-{n:04d}", n=1, sent_at_ns=T0, took_ms=1.5, request_sha256="ab", outcome="accepted",
        rule="responses[0]", status=200,
    )  # fmt: skip
    return Entry(at_ns=T0 + n * S + 2, fact=fact)


def settled(n: int) -> Entry:
    """The outcome of that delivery."""
    return Entry(at_ns=T0 + n * S + 3, fact=Settled(delivery_id=f"delivery-{n:04d}", outcome="accepted", price=4250))


def ended(n: int, status: str = "sold") -> Entry:
    """The end of `lead(n)`."""
    return Entry(at_ns=T0 + n * S + 4, fact=Ended(lead_id=f"lead-{n:04d}", status=status))  # type: ignore[arg-type]

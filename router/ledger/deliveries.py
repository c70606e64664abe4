"""A buyer's own deliveries, found by their ids, which rise with time."""

import sqlite3

from router.model.times import NS_MS


def deliveries_of(connection: sqlite3.Connection, buyer_id: str, since_ns: int, limit: int) -> list[tuple[str, str]]:
    """(delivery id, lead id) of a buyer's deliveries reserved since then, oldest first, at most `limit`."""
    rows = connection.execute(
        "SELECT delivery_id, lead_id FROM deliveries"
        " WHERE delivery_id >= ? AND buyer_id = ? ORDER BY delivery_id LIMIT ?",
        (_first_id(since_ns), buyer_id, limit),
    )
    return [(str(delivery_id), str(lead_id)) for delivery_id, lead_id in rows]


def _first_id(since_ns: int) -> str:
    """The least UUIDv7 text of that millisecond."""
    digits = f"{max(0, since_ns) // NS_MS:012x}"
    return f"{digits[:8]}-{digits[8:12]}-7000"

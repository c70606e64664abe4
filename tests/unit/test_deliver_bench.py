"""The bench of deliveries measures what it says: every way really brings the lead, and is drawn."""

import asyncio
import xml.etree.ElementTree as ET

from bench.deliver import IN_FLIGHT, measure
from bench.deliver_chart import chart
from bench.sink import Sink


async def test_every_way_delivers_and_is_beside_the_session() -> None:
    """A short run over the sink: four ways with figures, the session's ratio is one, and the picture is whole."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    async with server:
        found = await measure({"http": server.sockets[0].getsockname()[1]}, 1, 2 * IN_FLIGHT)
    ways = found["http"]["ways"]
    assert list(ways) == ["ClientSession", "client", "delivery", "by session"]
    assert ways["ClientSession"]["of_session"] == 1.0
    assert all(row["cpu_us"] > 0 and row["per_second"] > 0 for row in ways.values())
    assert 500 <= found["http"]["body_bytes"] <= 700
    drawn = ET.fromstring(chart(found))
    assert sum(1 for one in drawn.iter() if one.tag.endswith("rect")) == 1 + len(ways)

"""The bench of isolation plays what it says: in trouble the healthy sell all the same, and the ill sell nothing."""

import asyncio
import xml.etree.ElementTree as ET
from contextlib import AsyncExitStack

from bench.isolation import DRIPPING, HEALTHY, HUNG, WEATHERS, figures, play
from bench.isolation_chart import chart
from bench.sink import Drip, Sink

SECONDS, RATE = 0.4, 5.0
LEADS = round(SECONDS * RATE)  # for each buyer


async def test_the_healthy_sell_beside_the_ill() -> None:
    """A short run: every lead of a healthy buyer is sold in both weathers; those of the ill only when they are well."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as open_servers:
        ports = {}
        for name, kind in (("http", Sink), ("drip", Drip)):
            server = await open_servers.enter_async_context(await loop.create_server(kind, "127.0.0.1", 0))
            ports[name] = server.sockets[0].getsockname()[1]
        found = figures(await play(ports, 1, SECONDS, RATE))
    calm, trouble = (found["weathers"][weather]["ends"] for weather in WEATHERS)
    assert calm["fine sold"] == trouble["fine sold"] == HEALTHY * LEADS
    assert "hung sold" in calm
    assert "drip sold" in calm
    ill = sum(count for end, count in trouble.items() if not end.startswith("fine"))
    assert ill == (HUNG + DRIPPING) * LEADS
    assert not {"hung sold", "drip sold"} & set(trouble)
    drawn = ET.fromstring(chart(found))
    assert sum(1 for one in drawn.iter() if one.tag.endswith("rect")) == 9

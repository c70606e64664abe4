"""The farm of simulations is the real one: every temper, asked through the real transport, gives the same answer."""

import asyncio

import pytest

from router.demo.farm import Farm
from router.demo.reading import presented
from router.demo.tempers import TEMPERS, Request
from router.demo.voices import VOICES
from router.model.delivery import HttpResponse, TransportFailure
from router.transport import AiohttpTransport
from tests.loopback import LOOPBACK, ask
from tests.tempers.table import CASES, SHORT
from tests.tempers.virtual import answer_of

BOTH_LOOPS = True
UNHURRIED = ("slow", "late-bid")
SILENT = {case.temper for case in CASES if case.timeout == SHORT}
HEADERS = (("Content-Type", "application/json"), ("Authorization", "Bearer hush"), ("Idempotency-Key", "d-1"))


@pytest.mark.parametrize("temper", TEMPERS)
async def test_as_the_transport_says(temper: str) -> None:
    """Status, body, whether it was cut, and the kind of a failure; and a second request is not answered by the first.

    A busy machine makes no difference: only who is silent on purpose is given little time.
    """
    timeout_ms = 250 if temper in SILENT else 30_000
    transport = AiohttpTransport(LOOPBACK)
    async with Farm() as farm, asyncio.timeout(60):
        url = f"{farm.url}/buyer/{temper}"
        requests = 1 if temper in SILENT or temper in UNHURRIED else 2
        for seen in range(requests):
            request = ask(url, timeout_ms=timeout_ms, connect_ms=30_000, headers=HEADERS)
            asked = Request(
                postal_code="78701", voice=VOICES["json"], turn=seen, seen=seen, echo=presented(HEADERS[1:2], "")
            )
            _, wanted = answer_of(TEMPERS[temper][1](asked), timeout_ms / 1000)
            got = await transport.send("b", request)
            if isinstance(wanted, TransportFailure):
                assert isinstance(got, TransportFailure), got
                assert got.kind == wanted.kind
                continue
            assert isinstance(got, HttpResponse), got
            assert (got.status, got.truncated) == (wanted.status, wanted.truncated)
            assert got.body == wanted.body or (wanted.truncated and got.body.startswith(wanted.body[:60]))
            for name, text in wanted.headers:
                assert (name, text) in got.headers
        assert len(farm.received) == requests or temper in SILENT
    await transport.close()

"""CPU a delivery and deliveries a second: the whole way of a lead to a buyer, beside a bare ClientSession.

    python -m bench.deliver [--rounds N] [--deliveries N] [--json FILE] [--svg FILE]

Four ways to bring the same lead to the same sink, in turns, so that a noisy minute hits all of them:

* `ClientSession`: aiohttp's own client, tuned (connections kept, no cookies, no redirects), that posts bytes it has
  and reads the answer. It renders nothing, judges nothing, and would write a PUT twice;
* `client`: ours, with the same bytes;
* `delivery`: what the daemon does between the durable intent and the recorded outcome (`router.dispatch.carry`): the
  body rendered from the lead, headers and token, the request sent, the answer judged by the buyer's rules, the attempt
  recorded with its digest;
* `by session`: the same delivery, were its bytes sent by that ClientSession.

The sink runs in another process, on another core: what counts is the CPU time of this one. Ratios are those of the
medians over the rounds.
"""

import argparse
import asyncio
import gc
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
import uvloop

from bench.deliver_chart import chart
from bench.kept import add_options, decoded, keep
from bench.sink import CERTIFICATE, sink
from router.buyers.render import RenderContext, render
from router.clock import SystemClock
from router.core.retry_budget import RetryBudgets
from router.courier import Courier
from router.daemon.serve import GC_THRESHOLDS
from router.dispatch import Desk, Job, accepted_fields, carry
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.model.facts import Repeating
from router.model.lead import Consent, Lead
from router.model.times import NS_S
from router.terms.book import ContractPlan
from router.terms.compile import compile_book
from router.terms.schema import Buyer, LeadType, Network, RouterTerms, Terms
from router.transport import AiohttpTransport, Transport
from router.transport.identity import tls_context

IN_FLIGHT: Final = 16
BASE: Final = "ClientSession"
SECRETS: Final = {"token": "0123456789abcdef"}
NETWORK: Final = Network(allow_private=("127.0.0.0/8",), allow_http=True)

LEAD_TYPE: Final[dict[str, Any]] = {
    "id": "solar",
    "fields": {
        "first_name": {"type": "string"},
        "last_name": {"type": "string"},
        "phone": {"type": "phone"},
        "email": {"type": "email"},
        "address": {"type": "string"},
        "postal_code": {"type": "postal_code", "required": True},
        "roof_age": {"type": "integer"},
        "monthly_bill": {"type": "number"},
        "homeowner": {"type": "boolean"},
    },
}
FIELDS: Final[dict[str, Any]] = {
    "first_name": "Ana",
    "last_name": "Alvarez-Whitfield",
    "phone": "+15125550147",
    "email": "ana.alvarez-whitfield@example.com",
    "address": "1100 Congress Avenue, Apartment 12, Building C",
    "postal_code": "78701",
    "roof_age": 12,
    "monthly_bill": 187.5,
    "homeowner": True,
}
BUYER: Final[dict[str, Any]] = {
    "id": "brightroof",
    "name": "BrightRoof",
    "contracts": [
        {
            "id": "brightroof-tx",
            "lead_type": "solar",
            "endpoint": "crm",
            "price": "42.50",
            "coverage": {"everywhere": True},
            "fields": {"required": ["phone", "postal_code"], "optional": [n for n in FIELDS if n != "postal_code"]},
        }
    ],
}
ENDPOINT: Final[dict[str, Any]] = {
    "auth": {"type": "bearer", "token": "secret:token"},
    "idempotent": True,
    "body": {
        "FirstName": "{{first_name}}",
        "LastName": "{{last_name}}",
        "Phone": "{{phone|national}}",
        "Email": "{{email}}",
        "Address": "{{address}}",
        "Zip": "{{postal_code}}",
        "RoofAge": "{{roof_age}}",
        "Bill": "{{monthly_bill}}",
        "Owner": "{{homeowner|bool:Y:N}}",
        "Price": "{{price}}",
        "ReceivedAt": "{{received_at}}",
        "Meta": {
            "id": "{{delivery_id}}",
            "source": "{{source_id}}",
            "certificate": "{{consent.trustedform_cert_url}}",
            "consent": "{{consent.text}}",
        },
    },
    "responses": [
        {"when": {"status": "2xx", "path": "status", "equals": "accepted"}, "outcome": "accepted", "reference": "id"},
        {"when": {"path": "status", "equals": "rejected"}, "outcome": "rejected", "reason": "reason"},
    ],
}

Way = Callable[[], Awaitable[None]]


def plan(url: str) -> ContractPlan:
    """A contract whose endpoint is the sink."""
    parts = [({"network": {"allow_private": ["127.0.0.0/8"], "allow_http": True}}, RouterTerms), (LEAD_TYPE, LeadType)]
    router, lead_type = (decoded(tree, kind) for tree, kind in parts)
    buyer = decoded(BUYER | {"endpoints": {"crm": ENDPOINT | {"url": url}}}, Buyer)
    terms = Terms(
        router=router, lead_types={"solar": lead_type}, sources={}, buyers={buyer.id: buyer}, lists={}, places={}
    )
    return compile_book(terms).contracts["brightroof-tx"]


def lead() -> Lead:
    """One that makes a body of about 600 bytes."""
    now_ns = time.time_ns()
    return Lead(
        lead_id="0193a1b2-0000-7000-8000-000000000000",
        lead_type="solar",
        source_id="web",
        received_at_ns=now_ns,
        submitted_at_ns=now_ns,
        country="US",
        fields=FIELDS,
        consent=Consent(
            given_at_ns=now_ns,
            text="I agree that BrightRoof Energy LLC and its partners may call and text me at the number given here, "
            "by machine too, about solar power; agreeing is no condition of buying.",
            trustedform_cert_url=f"https://cert.trustedform.com/{'a' * 40}",
        ),
    )


def session_way(session: aiohttp.ClientSession, request: HttpRequest) -> Way:
    """aiohttp's own client, with bytes that are ready."""

    async def go() -> None:
        async with session.post(
            request.url, data=request.body, headers=request.headers, allow_redirects=False
        ) as answer:
            body = await answer.read()
            assert (answer.status, body[:20]) == (200, b'{"status":"accepted"')

    return go


def client_way(transport: AiohttpTransport, request: HttpRequest) -> Way:
    """Our client, with the same bytes."""

    async def go() -> None:
        answer = await transport.send("brightroof", request)
        assert isinstance(answer, HttpResponse), answer
        assert (answer.status, answer.body[:20]) == (200, b'{"status":"accepted"')

    return go


class BySession(Transport):
    """The daemon's door to buyers, with a ClientSession behind it: bytes sent and an answer read, no promise kept."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, lane: str, request: HttpRequest) -> HttpResponse | TransportFailure:
        """One attempt."""
        async with self._session.request(
            request.method, request.url, data=request.body, headers=request.headers, allow_redirects=False
        ) as answer:
            body = await answer.read()
            headers = tuple([(name.decode(), text.decode()) for name, text in answer.raw_headers])
            return HttpResponse(status=answer.status, headers=headers, body=body)

    def update(self, network: Network) -> None:
        """Nothing depends on terms."""

    async def close(self) -> None:
        """The session is its owner's to close."""


def delivery_way(transport: Transport, found: ContractPlan, deliveries: int) -> Way:
    """A delivery, as the daemon carries it. Its id is made when it is reserved, so ids are drawn beforehand."""
    clock = SystemClock()
    one = lead()
    ids = itertools.cycle([clock.new_id() for _ in range(deliveries)])

    async def intend(_: Repeating) -> None:
        raise AssertionError("nothing is repeated here")

    desk = Desk(
        courier=Courier(transport, clock),
        clock=clock,
        steady_ns=clock.mono_ns,
        secrets=SECRETS,
        retries=RetryBudgets(),
        intend=intend,
        record=lambda _: None,
        suppressed=lambda _: False,
    )

    async def go() -> None:
        job = Job(
            lead=one,
            plan=found,
            delivery_id=next(ids),
            price=4250,
            deadline_ns=clock.wall_ns() + 20 * NS_S,
        )
        finished = await carry(job, desk)
        assert finished.verdict.outcome == "accepted", finished

    return go


async def once(way: Way, deliveries: int) -> tuple[float, float]:
    """CPU microseconds of this process a delivery, and deliveries a second, `IN_FLIGHT` at a time."""

    async def worker(count: int) -> None:
        for _ in range(count):
            await way()

    each = deliveries // IN_FLIGHT
    began, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*[worker(each) for _ in range(IN_FLIGHT)])
    took, wall = time.process_time() - began, time.perf_counter() - wall
    return took / (each * IN_FLIGHT) * 1e6, each * IN_FLIGHT / wall


async def measure(ports: dict[str, int], rounds: int, deliveries: int) -> dict[str, dict[str, Any]]:
    """All ways over each scheme, in turns."""
    found: dict[str, dict[str, Any]] = {}
    transport = AiohttpTransport(NETWORK, idle_s=60, extra_ca=str(CERTIFICATE))
    connector = aiohttp.TCPConnector(ssl=tls_context(str(CERTIFICATE), None), limit=64, keepalive_timeout=60)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=5),
    )
    for scheme, port in ports.items():
        of_scheme = plan(f"{scheme}://127.0.0.1:{port}/leads")
        request = rendered(of_scheme)
        ways = {
            BASE: session_way(session, request),
            "client": client_way(transport, request),
            "delivery": delivery_way(transport, of_scheme, deliveries),
            "by session": delivery_way(BySession(session), of_scheme, deliveries),
        }
        passes: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for way in ways.values():
            await once(way, IN_FLIGHT * min(20, deliveries // IN_FLIGHT))
        for _ in range(rounds):
            for name, way in ways.items():
                passes[name].append(await once(way, deliveries))
        found[scheme] = figures(passes) | {"body_bytes": len(request.body)}
    await session.close()
    await transport.close()
    return found


def rendered(found: ContractPlan) -> HttpRequest:
    """The request of one delivery: what the other two ways send."""
    context = RenderContext(
        lead=lead(),
        delivery_id=SystemClock().new_id(),
        contract_id=found.id,
        price=4250,
        accepted=accepted_fields(found),
    )
    return render(found.endpoint, context, SECRETS, now_s=time.time_ns() // NS_S)


def figures(passes: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Medians of each way, and what ClientSession costs for each microsecond of it."""
    ways: dict[str, Any] = {}
    for name, taken in passes.items():
        ways[name] = {
            "cpu_us": round(statistics.median(cpu for cpu, _ in taken), 1),
            "per_second": round(statistics.median(rate for _, rate in taken)),
            "best_cpu_us": round(min(cpu for cpu, _ in taken), 1),
        }
    for row in ways.values():
        row["of_session"] = round(row["cpu_us"] / ways[BASE]["cpu_us"], 2)
    return {"ways": ways}


def _print(found: dict[str, dict[str, Any]]) -> None:
    print(f"{'':24}{'CPU us':>10}{'quietest':>10}{'a second':>10}{'of session':>12}")
    for scheme, result in found.items():
        for name, row in result["ways"].items():
            print(
                f"{f'{name}, {scheme}':24}{row['cpu_us']:>10}{row['best_cpu_us']:>10}{row['per_second']:>10,}"
                f"{row['of_session']:>12}"
            )


def main(argv: list[str] | None = None) -> int:
    """Measure and print; `--json` and `--svg` keep what came out."""
    options = argparse.ArgumentParser(description="CPU a delivery, beside a bare ClientSession.")
    options.add_argument("--rounds", type=int, default=9, help="turns of each way (default: %(default)s)")
    options.add_argument("--deliveries", type=int, default=4000, help="of each turn (default: %(default)s)")
    add_options(options)
    asked = options.parse_args(argv)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with sink() as ports:
        schemes = {scheme: ports[scheme] for scheme in ("http", "https")}
        found = uvloop.run(measure(schemes, asked.rounds, asked.deliveries))
    _print(found)
    keep(asked, found, chart(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

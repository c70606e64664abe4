"""Addresses on the socket that is really connected, and look-ups that cost nobody else anything."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from aiohappyeyeballs import AddrInfoType
from msgspec import structs

from router.clock import SystemClock
from router.model.delivery import HttpResponse, TransportFailure
from router.model.times import NS_S
from router.terms.schema import Network
from router.transport import AiohttpTransport
from router.transport.resolver import ADDRESSES_MAX, NEGATIVE_TTL_NS, POSITIVE_TTL_NS, LookUps
from tests.loopback import LOOPBACK, Visit, always, ask, loopback

BOTH_LOOPS = True
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Names:
    """A resolver made of a table: a list is its answer, an exception is raised, an event is waited for first."""

    def __init__(self, **known: object) -> None:
        self.known = known
        self.asked: list[str] = []

    def __call__(self, name: str) -> list[str]:
        """Look `name` up, in whatever thread."""
        self.asked.append(name)
        found = self.known[name.partition(".")[0]]
        if isinstance(found, threading.Event):
            found.wait()
            return ["127.0.0.1"]
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, list)
        return found


class SteadyClock(SystemClock):
    """A steady clock that a test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0

    def mono_ns(self) -> int:
        """Where the test put it."""
        return self.now_ns


@asynccontextmanager
async def transport(network: Network = LOOPBACK, **kw: object) -> AsyncIterator[AiohttpTransport]:
    """A transport, closed at the end."""
    made = AiohttpTransport(network, **kw)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


@contextmanager
def hanging() -> Iterator[threading.Event]:
    """Look-ups that wait for this event hang until the test is over."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()
        for thread in threading.enumerate():
            if thread.name == "look-up":
                thread.join(5)


def failed(ended: HttpResponse | TransportFailure) -> TransportFailure:
    """The failure; fails the test when there was an answer."""
    assert isinstance(ended, TransportFailure), ended
    return ended


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every address that a socket was told to connect to; none is reached."""
    seen: list[tuple[str, int]] = []

    def new_socket(info: AddrInfoType) -> socket.socket:
        seen.append((str(info[4][0]), int(info[4][1])))
        raise ConnectionRefusedError(111, "refused by the test")

    monkeypatch.setattr("router.transport.guard.new_socket", new_socket)
    return seen


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0.0.0.0", "10.1.2.3", "169.254.169.254",
        "[::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]",
        "[fd00:ec2::254]", "[ff02::1]", "１２７.０.０.１", "100.64.0.1", "224.0.0.1", "[::]", "127.0.0.1.",
    ],
)  # fmt: skip
async def test_literals_are_refused_in_any_spelling(host: str, dialled: list[tuple[str, int]]) -> None:
    """An address in a URL that terms did not allow is not dialled, however it is written."""
    async with transport(Network(allow_http=True), look_up=Names()) as sender:
        failure = failed(await sender.send("b", ask(f"http://{host}/leads")))
        assert (failure.kind, failure.certain) == ("blocked_address", True), failure
        assert dialled == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "::1", "::ffff:127.0.0.1", "fe80::1%1", "169.254.169.254"]
)
async def test_names_that_lead_inside_are_refused(address: str, dialled: list[tuple[str, int]]) -> None:
    """A harmless name that resolves to an address inside: nothing is dialled, and the failure names the address."""
    async with transport(Network(), look_up=Names(buyer=[address])) as sender:
        failure = failed(await sender.send("b", ask("https://buyer.example/leads")))
        assert failure.kind == "blocked_address"
        assert address in failure.detail
        assert dialled == []


async def test_of_a_mixed_answer_only_what_is_allowed_is_dialled(dialled: list[tuple[str, int]]) -> None:
    """A name with good and refused addresses is dialled at the good ones alone."""
    found = ["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111", "169.254.169.254"]
    async with transport(Network(), look_up=Names(buyer=found)) as sender:
        failure = failed(await sender.send("b", ask("https://buyer.example/leads")))
        assert failure.kind == "connect"
        assert sorted(dialled) == [("2606:4700::1111", 443), ("8.8.8.8", 443)]


async def test_what_is_allowed_is_exactly_what_is_named(dialled: list[tuple[str, int]]) -> None:
    """`allow_private` opens its range, not the same hosts in another family's clothes."""
    names = Names(buyer=["10.9.0.1", "::ffff:10.9.0.1", "10.8.0.1"])
    async with transport(Network(allow_private=("10.9.0.0/16",)), look_up=names) as sender:
        failed(await sender.send("b", ask("https://buyer.example/leads")))
        assert dialled == [("10.9.0.1", 443)]


async def test_a_legacy_spelling_is_dialled_as_the_address_it_means() -> None:
    """Where the range is allowed, `127.1` works: it is the same address."""
    async with transport() as sender, loopback(always(OK)) as server:
        assert isinstance(await sender.send("b", ask(server.url(host="127.1"))), HttpResponse)


async def test_a_name_that_changes_its_mind_is_judged_anew(dialled: list[tuple[str, int]]) -> None:
    """DNS rebinding: good at the first look-up, inside at the next; each answer is judged by itself."""
    clock, names = SteadyClock(), Names(buyer=["8.8.8.8"])
    async with transport(Network(), look_up=names, clock=clock) as sender:
        assert failed(await sender.send("b", ask("https://buyer.example/"))).kind == "connect"
        names.known["buyer"] = ["127.0.0.1"]
        clock.now_ns += POSITIVE_TTL_NS
        assert failed(await sender.send("b", ask("https://buyer.example/"))).kind == "blocked_address"
        assert dialled == [("8.8.8.8", 443)]


class TestLookUps:
    """DNS has a budget for each lane."""

    async def test_answers_are_remembered_for_a_while(self, dialled: list[tuple[str, int]]) -> None:
        """One look-up serves all attempts until its time is over; another lane asks for itself."""
        clock, names = SteadyClock(), Names(buyer=["8.8.8.8"])
        async with transport(look_up=names, clock=clock) as sender:
            for lane, ns in (("b", 0), ("b", POSITIVE_TTL_NS - 1), ("b", 1), ("c", 0)):
                clock.now_ns += ns
                failed(await sender.send(lane, ask("https://buyer.example/")))
            assert len(names.asked) == 3

    async def test_failures_are_remembered_briefly(self) -> None:
        """A burst of leads asks once; the next attempt after that finds the mended name."""
        clock, names = SteadyClock(), Names(buyer=socket.gaierror(-2, "Name or service not known"))
        async with transport(look_up=names, clock=clock) as sender, loopback(always(OK)) as server:
            url = server.url(host="buyer.example")
            for _ in range(3):
                failure = failed(await sender.send("b", ask(url)))
                assert (failure.kind, failure.certain) == ("dns", True)
                assert failure.detail == "Name or service not known"
            assert len(names.asked) == 1
            names.known["buyer"] = ["127.0.0.1"]
            clock.now_ns += NEGATIVE_TTL_NS
            assert isinstance(await sender.send("b", ask(url)), HttpResponse)

    @pytest.mark.parametrize("found", [[], UnicodeError("label too long")])
    async def test_other_ways_to_have_no_address(self, found: object) -> None:
        """An empty answer and a name that cannot be asked for are failures of DNS."""
        async with transport(look_up=Names(buyer=found)) as sender:
            assert failed(await sender.send("b", ask("https://buyer.example/"))).kind == "dns"

    async def test_a_name_with_thousands_of_addresses(self, dialled: list[tuple[str, int]]) -> None:
        """The first few are tried; the rest would keep the process busy for nothing."""
        many = [f"8.8.{n // 256}.{n % 256}" for n in range(5000)]
        async with transport(look_up=Names(buyer=many)) as sender:
            assert failed(await sender.send("b", ask("https://buyer.example/"))).kind == "connect"
        assert len(set(dialled)) == ADDRESSES_MAX

    async def test_a_burst_shares_one_look_up(self) -> None:
        """Attempts that start together ask once and all go on."""
        names = Names(buyer=["127.0.0.1"])
        async with transport(look_up=names) as sender, loopback(always(OK)) as server:
            url = server.url(host="buyer.example")
            ended = await asyncio.gather(*[sender.send("b", ask(url)) for _ in range(10)])
            assert all(isinstance(one, HttpResponse) for one in ended)
            assert len(names.asked) == 1

    async def test_eight_hung_lanes_cost_a_healthy_one_nothing(self) -> None:
        """DNS hangs for eight buyers; the ninth is served by name while they wait, and those with less time fail."""
        with hanging() as hung:
            names = Names(healthy=["127.0.0.1"], **{f"hung{n}": hung for n in range(8)})
            async with transport(look_up=names) as sender, loopback(always(OK)) as server:
                patient = ask("https://hung.example/", timeout_ms=600_000, connect_ms=600_000)
                stuck = [
                    asyncio.create_task(sender.send(f"b{n}", structs.replace(patient, url=f"https://hung{n}.example/")))
                    for n in range(8)
                    for _ in range(3)
                ]
                while len(names.asked) < 8:
                    await asyncio.sleep(0)
                healthy = await sender.send("c", ask(server.url(host="healthy.example")))
                assert isinstance(healthy, HttpResponse)
                hasty = [sender.send(f"b{n}", ask(f"https://hung{n}.example/", connect_ms=30)) for n in range(8)]
                for ended in await asyncio.gather(*hasty):
                    assert (failed(ended).kind, failed(ended).certain) == ("dns", True)
                assert not any(task.done() for task in stuck)
                assert len(names.asked) == 9  # one thread a lane, however many attempts wait for it
                for task in stuck:
                    task.cancel()
                await asyncio.gather(*stuck, return_exceptions=True)

    async def test_a_hung_name_holds_up_the_other_names_of_its_lane_alone(self) -> None:
        """A lane's second name waits for its first: that is the budget. An address needs no look-up and goes on."""
        with hanging() as hung:
            names = Names(hung=hung, fine=["127.0.0.1"])
            async with transport(look_up=names) as sender, loopback(always(OK)) as server:
                first = failed(await sender.send("b", ask(server.url(host="hung.example"), connect_ms=30)))
                second = failed(await sender.send("b", ask(server.url(host="fine.example"), connect_ms=30)))
                assert (first.kind, second.kind) == ("dns", "dns")
                assert isinstance(await sender.send("b", ask(server.url())), HttpResponse)
                hung.set()
                assert isinstance(await sender.send("b", ask(server.url(host="fine.example"))), HttpResponse)
                assert isinstance(await sender.send("b", ask(server.url(host="hung.example"))), HttpResponse)
                assert names.asked == ["hung.example", "fine.example"]

    async def test_threads_have_a_bound(self) -> None:
        """Beyond the bound a look-up fails at once instead of starting one more thread."""
        with hanging() as hung:
            look_ups = LookUps(Names(a=hung, b=hung, c=["127.0.0.1"]), threads_max=2)
            waiting = [look_ups.start("a"), look_ups.start("b")]
            with pytest.raises(OSError, match="2 name look-ups"):
                await look_ups.start("c")
            hung.set()
            assert await asyncio.gather(*waiting) == [["127.0.0.1"]] * 2
            assert await look_ups.start("c") == ["127.0.0.1"]

    async def test_a_name_has_one_thread_however_many_lanes_ask(self) -> None:
        """Buyers behind one hung name take one thread together, each gets the answer, and other names go on."""
        with hanging() as hung:
            names = Names(hub=hung, fine=["127.0.0.1"])
            look_ups = LookUps(names, threads_max=2)
            waiting = [look_ups.start("hub") for _ in range(300)]
            assert await look_ups.start("fine") == ["127.0.0.1"]
            waiting[0].cancel()
            hung.set()
            assert await asyncio.gather(*waiting[1:]) == [["127.0.0.1"]] * 299
            assert names.asked.count("hub") == 1
            assert await look_ups.start("hub") == ["127.0.0.1"]  # asked anew

    async def test_whatever_goes_wrong_a_name_may_be_asked_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A resolver that breaks, a system without threads: a failure in words, and no name is stuck with it."""
        look_ups = LookUps(Names(odd=ValueError("null character")), threads_max=1)
        for _ in range(2):
            with pytest.raises(OSError, match="cannot be looked up: ValueError"):
                await look_ups.start("odd")

        def no_thread(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(OSError, match="gives no thread"):
                await look_ups.start("odd")
        with pytest.raises(OSError, match="ValueError"):
            await look_ups.start("odd")

    async def test_a_failed_look_up_fails_for_all_who_share_it(self) -> None:
        """Each of them is told why."""
        with hanging() as hung:

            def look_up(_name: str) -> list[str]:
                hung.wait()
                raise OSError("the server said no")

            look_ups = LookUps(look_up)
            waiting = [look_ups.start("hub") for _ in range(3)]
            hung.set()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert [str(one) for one in ended] == ["the server said no"] * 3


async def test_one_hung_buyer_costs_the_others_no_time() -> None:
    """Two hundred attempts hang at one buyer; another one's is answered while they do."""

    async def hang(visit: Visit) -> None:
        await visit.request()
        await asyncio.Event().wait()

    limit: Callable[[str], int] = lambda lane: 8  # noqa: E731
    async with transport(connections_max=limit) as sender, loopback(hang) as stuck, loopback(always(OK)) as server:
        request = ask(stuck.url(), timeout_ms=400, connect_ms=200)
        waiting = [asyncio.create_task(sender.send("stuck", request)) for _ in range(200)]
        while stuck.visits < 8:
            await asyncio.sleep(0)
        assert isinstance(await sender.send("fine", ask(server.url())), HttpResponse)
        kinds = [failed(ended).kind for ended in await asyncio.gather(*waiting)]
        assert (kinds.count("read_timeout"), kinds.count("no_connection")) == (8, 192)
        assert stuck.visits == 8


def test_the_time_to_live_is_short() -> None:
    """A buyer that moves is found again within a minute."""
    assert NEGATIVE_TTL_NS < POSITIVE_TTL_NS <= 60 * NS_S

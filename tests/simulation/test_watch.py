"""The watch over a running router: an alert is raised once, keeps its beginning, is over by itself, and is told."""

import asyncio
import base64
import hashlib
import hmac
from typing import Any

import orjson
import pytest

from router.engine import watch as watching
from router.engine import webhook
from router.engine.controls import Controls
from router.engine.feed import AlertTold
from router.engine.watch import Watch
from router.engine.webhook import LANE, PAUSES_S, WAITING_MAX, Webhook
from router.model.delivery import HttpRequest
from router.model.times import NS_HOUR, NS_MINUTE, NS_S
from router.terms.candidate import Candidate
from tests import factory
from tests.simulation.router_world import ACCEPTED, DOWN, Answer, RouterWorld, answer

SECRET = base64.b64encode(b"a key of operations").decode()
GONE = answer(410, b"")
WEBHOOK = {"alerts": {"webhook": {"url": "http://127.0.0.1:9/alerts", "secret": "secret:alerts"}}}
NETWORK = {"network": {"allow_private": ["127.0.0.0/8"], "allow_http": True}}


class Station(RouterWorld):
    """A router that is watched; what its webhook gets is kept apart from what buyers get."""

    def __init__(self, given: Answer = ACCEPTED, *, taken: list[Answer] | None = None, **contract: Any) -> None:
        book = factory.book(factory.buyer("b", factory.contract("c", **contract)), router=NETWORK | WEBHOOK)
        self.hooks: list[HttpRequest] = []
        self.taken = taken if taken is not None else []

        def script(lane: str, request: HttpRequest, number: int) -> tuple[float, Answer]:
            if lane == LANE:
                self.hooks.append(request)
                return 0.1, self.taken.pop(0) if self.taken else answer(204, b"")
            return 0.2, given

        super().__init__(book, script)
        self.secrets = {"alerts": f"whsec_{SECRET}"}
        self.told: list[AlertTold] = []

    async def start(self) -> None:
        """With a watch beside the engine."""
        await super().start()
        if not self.engine.state.certificates:
            await self.certify_all()
        self.watch = Watch(self.engine)
        self.watch.on_told.append(self.told.append)
        terms = self.engine.book.terms
        candidate = Candidate(terms=terms, problems=(), secrets=self.secrets)
        self.controls = Controls(self.engine, factory.reader(lambda: candidate))


def kinds(told: list[AlertTold]) -> list[tuple[str, bool]]:
    """What was told, in order."""
    return [(one.alert.kind, one.raised) for one in told]


def test_an_alert_is_raised_once_and_is_over_by_itself() -> None:
    """A 410 pauses and is told at once; looking again tells nothing new; a resume ends it."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Station)
        watching_it = asyncio.get_running_loop().create_task(world.watch.run())
        await world.sell(factory.lead("l1"))
        began_ns = world.clock.mono_ns()
        while not world.told:
            await asyncio.sleep(0.1)
        assert world.clock.mono_ns() - began_ns < 2 * NS_S
        await asyncio.sleep(60)
        assert kinds(world.told) == [("endpoint_paused", True)]
        (told,) = world.watch.open
        assert told.since_ns == world.engine.state.paused["contract:c"].at_ns
        await world.controls.resume("contract", "c", by="operator:ann")
        assert await world.watch.fresh() == []
        assert kinds(world.told)[-1] == ("endpoint_paused", False)
        watching_it.cancel()

    Station(GONE).play(story)


def test_a_restart_finds_the_same_alerts() -> None:
    """What is open follows from the state: the same id, since the same instant."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Station)
        await world.sell(factory.lead("l1"))
        before = await world.watch.fresh()
        await world.restart()
        assert await world.watch.fresh() == before != []

    Station(GONE).play(story)


def test_a_look_in_slices_sees_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the slices, every contract is looked at; between two slices others run."""
    monkeypatch.setattr(watching, "_SLICE", 1)
    buyers = [factory.buyer(f"b{n}", factory.contract(f"c{n}", price=f"{20 - n}.00")) for n in range(4)]
    world = RouterWorld(factory.book(*buyers), lambda lane, request, number: (0.1, GONE))

    async def story(world: RouterWorld) -> None:
        await world.certify_all()
        await world.sell(factory.lead("l1"))
        watch = Watch(world.engine)
        found = {told.alert.subject for told in await watch.fresh()}
        assert found == {f"contract:c{n}" for n in range(4)}

    world.play(story)


def test_terms_that_change_under_a_look_begin_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a look at terms that are gone says nothing; the next one does."""
    monkeypatch.setattr(watching, "_SLICE", 1)

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Station)
        await world.sell(factory.lead("l1"))
        look = asyncio.ensure_future(world.watch.look())
        await asyncio.sleep(0)
        world.engine.journal.book = factory.book()  # as `adopt` does, in the middle of a look
        await look
        assert world.told == []
        assert await world.watch.fresh() == []

    Station(GONE).play(story)


def test_a_clock_that_jumps_is_told_for_an_hour() -> None:
    """By more than ten minutes, either way; what follows is measured from the new time."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Station)
        world.clock.step(9 * NS_MINUTE)
        await world.watch.look()
        assert world.told == []
        world.clock.step(2 * NS_MINUTE)
        await world.watch.look()
        assert "ahead by 11m" in world.told[0].alert.message
        await asyncio.sleep(NS_HOUR / NS_S)
        await world.watch.look()
        assert kinds(world.told) == [("clock_jumped", True), ("clock_jumped", False)]
        world.clock.step(-NS_HOUR)
        await world.watch.look()
        assert "back by 60m" in world.told[-1].alert.message.replace("1h", "60m")

    Station().play(story)


def test_a_full_disk_is_told() -> None:
    """While nothing can be written."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Station)
        world.ledger.fill_disk()
        await world.watch.look()
        assert "no lead is taken" in world.told[0].alert.message
        world.ledger.make_room()
        await world.watch.look()
        assert kinds(world.told) == [("ledger_unwritable", True), ("ledger_unwritable", False)]

    Station().play(story)


def test_a_price_above_the_reserved_one_is_told_and_the_reserved_one_billed() -> None:
    """The answer's price is in the ledger, the lower one on the bill."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Station)
        await world.sell(factory.lead("l1"))
        (told,) = await world.watch.fresh()
        assert "the last 99.00 instead of 10.00" in told.alert.message
        assert world.engine.state.usage["contract:c"].spend_total == 1000

    Station(answer(body=b'{"status":"accepted","price":"99.00"}')).play(story)


# -- the webhook ---------------------------------------------------------------------------------


def signed(request: HttpRequest) -> bool:
    """Whether a request bears a Standard Webhooks signature of its body with our key."""
    headers = dict(request.headers)
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    wanted = base64.b64encode(hmac.digest(base64.b64decode(SECRET), text, hashlib.sha256)).decode()
    return headers["webhook-signature"] == f"v1,{wanted}"


def test_the_webhook_is_signed_and_goes_again_until_it_is_taken() -> None:
    """The same id each time, later and later; leads are sold meanwhile."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Station)
        hook = Webhook(world.engine)
        world.watch.on_told.append(hook.tell)
        posting = asyncio.get_running_loop().create_task(hook.run())
        world.ledger.fill_disk()
        await world.watch.look()
        world.ledger.make_room()
        await asyncio.sleep(0.5)
        assert (await world.sell(factory.lead("l1"))).status == "sold"
        await asyncio.sleep(sum(PAUSES_S))
        assert len(world.hooks) == 3
        assert all(map(signed, world.hooks))
        assert len({dict(request.headers)["webhook-id"] for request in world.hooks}) == 1
        said = orjson.loads(world.hooks[0].body)
        assert (said["type"], said["data"]["kind"]) == ("alert.raised", "ledger_unwritable")
        posting.cancel()

    Station(taken=[DOWN, answer(500, b"")]).play(story)


def test_a_webhook_nobody_takes_is_given_up_and_the_next_one_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its pauses it is a line in the log, and the line moves on."""
    logged: list[str] = []
    monkeypatch.setattr(webhook._log, "error", lambda event, **_: logged.append(event))

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Station)
        hook = Webhook(world.engine)
        world.watch.on_told.append(hook.tell)
        posting = asyncio.get_running_loop().create_task(hook.run())
        world.ledger.fill_disk()
        await world.watch.look()
        world.ledger.make_room()
        await world.watch.look()
        await asyncio.sleep(sum(PAUSES_S) + 60)
        tries = len(PAUSES_S) + 1
        assert [orjson.loads(one.body)["type"] for one in world.hooks] == ["alert.raised"] * tries + ["alert.cleared"]
        assert logged == ["webhook_failed"]
        posting.cancel()

    Station(taken=[answer(500, b"")] * (len(PAUSES_S) + 1)).play(story)


def test_the_line_of_the_webhook_is_bounded() -> None:
    """When nobody takes them, the oldest are left out, not memory eaten; without a webhook none waits."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Station)
        hook = Webhook(world.engine)
        world.ledger.fill_disk()
        await world.watch.look()
        world.ledger.make_room()
        for _ in range(WAITING_MAX + 5):
            hook.tell(world.told[0])
        assert len(hook._waiting) == WAITING_MAX
        await world.engine.adopt(factory.book(), world.engine.live, {}, by="operator:ann")
        quiet = Webhook(world.engine)
        quiet.tell(world.told[0])
        assert not quiet._waiting

    Station().play(story)

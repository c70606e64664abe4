"""Certification of endpoints: test leads go to the test_url, every step is told, and the result stays as one fact."""

import asyncio
from typing import Any

import orjson
import pytest
from msgspec import structs

from router.engine import Refused
from router.engine.proof import Proof
from router.engine.watch import Watch
from router.model.delivery import HttpRequest, TransportFailure
from router.model.facts import Certified, Received, Reserved
from router.model.times import NS_DAY, NS_S
from router.onboarding.certifying import Certifier, Report
from router.terms.book import Book
from router.terms.compile import compile_book
from tests import factory
from tests.simulation.router_world import ACCEPTED, DUPLICATE, ODD, REJECTED, Answer, RouterWorld, answer

TEST_URL = "http://127.0.0.1:9/test"
NETWORK = {"network": {"allow_private": ["127.0.0.0/8"], "allow_http": True}}
#: What a scripted endpoint answers to the test lead, its repeat, and a lead without its required fields.
GOOD = (ACCEPTED, DUPLICATE, REJECTED)


def book(endpoint: dict[str, Any] | None = None, onboarding: dict[str, Any] | None = None, **terms: Any) -> Book:
    """A buyer `b` whose endpoint `crm` has a test_url; its contract `c` requires phone and postal code."""
    reached = {"test_url": TEST_URL, "idempotent": True} | (endpoint or {})
    fields = {"fields": {"required": ["phone", "postal_code"], "optional": ["first_name"]}}
    router = NETWORK | ({"onboarding": onboarding} if onboarding else {})
    return factory.book(factory.buyer("b", factory.contract("c", **(fields | terms)), endpoint=reached), router=router)


class Bench(RouterWorld):
    """A router, and what its buyer's test_url got."""

    def __init__(self, terms: Book, answers: tuple[Answer, ...] = GOOD) -> None:
        self.posts: list[HttpRequest] = []
        self.answers = answers

        def script(lane: str, request: HttpRequest, number: int) -> tuple[float, Answer]:
            if not request.url.startswith(TEST_URL):
                return 0.1, ACCEPTED
            self.posts.append(request)
            return 0.1, self.answers[(len(self.posts) - 1) % len(self.answers)]

        super().__init__(terms, script)

    async def certify(self, **how: Any) -> Report:
        """The one endpoint's report."""
        (report,) = await Certifier(self.engine).certify("b", by="operator:ann", **how)
        return report


def reports(terms: Book, answers: tuple[Answer, ...] = GOOD, **how: Any) -> tuple[Report, Bench]:
    """Certify once."""
    bench = Bench(terms, answers)

    async def story(world: RouterWorld) -> Report:
        assert isinstance(world, Bench)
        return await world.certify(**how)

    return bench.play(story), bench


def steps(report: Report) -> dict[str, bool | None]:
    """How each step went, by name."""
    return {step.step: step.ok for step in report.steps}


def mend(report: Report, name: str) -> str:
    """What to do about a step that failed."""
    return next(step.mend for step in report.steps if step.step == name and step.ok is not True)


def test_a_good_endpoint_is_certified_step_by_step() -> None:
    """The lead, the same again, and one without its required fields; every rule that matched is named."""
    report, bench = reports(book())
    assert report.passed, report.steps
    assert steps(report) == {
        "test_lead": True, "mapping": True, "dns": True, "address": True, "connect": True, "tls": None, "auth": True,
        "answer": True, "timeout": True, "outcome": True, "repeat": True, "refusal": None, "responses[0]": True,
        "responses[1]": True, "responses[2]": True, "retry": None,
    }  # fmt: skip
    bodies = [orjson.loads(post.body) for post in bench.posts]
    assert bodies[0] == bodies[1]
    assert bodies[0]["phone"][3:8] == "55501"
    assert bodies[2] == {"zip": "78701"}
    keys = [dict(post.headers)["Idempotency-Key"] for post in bench.posts]
    assert keys[0] == keys[1] != keys[2]


class Bidder(Bench):
    """An endpoint that is asked for a bid first; `bids` are its answers to pings."""

    def __init__(self, terms: Book, bids: tuple[Answer, ...], takes_s: float = 0.1) -> None:
        super().__init__(terms)
        self.pings: list[HttpRequest] = []
        script = self.buyers._script

        def asked(lane: str, request: HttpRequest, number: int) -> tuple[float, Answer]:
            if not request.url.endswith("/ping"):
                return script(lane, request, number)
            self.pings.append(request)
            return takes_s, bids[min(len(self.pings), len(bids)) - 1]

        self.buyers._script = asked


PING = {
    "body": {"zip": "{{postal_code}}", "phone": "{{phone|national}}", "ref": "{{ping.reference}}"},
    "ping": {
        "url": "http://127.0.0.1:9/ping", "timeout": "500ms", "body": {"zip": "{{postal_code}}", "u": "{{utility}}"},
        "bid": "price", "reference": "id",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("bid", "takes_s", "ok", "words"),
    [
        (b'{"price":"12.50","id":"p-1"}', 0.1, True, "bids 12.50 in 100ms, and names it"),
        (b'{"price":null}', 0.1, False, "no bid: no amount"),
        (b'{"price":"0.01"}', 0.1, False, "bids 0.01"),
        (b'{"price":"12.50"}', 0.8, False, "bids 12.50, and took 800ms"),
    ],
)
def test_an_endpoint_that_is_asked_for_a_bid_is_asked_for_one(bid: bytes, takes_s: float, ok: bool, words: str) -> None:
    """The post names the bid's reference, as a sale's does; one that comes late, or not at all, is told."""
    fields = {"required": ["phone", "postal_code"], "optional": ["utility"]}
    bench = Bidder(book(PING, fields=fields, min_bid="1.00"), (answer(body=bid),), takes_s)

    async def story(world: RouterWorld) -> Report:
        assert isinstance(world, Bench)
        return await world.certify()

    report = bench.play(story)
    (step,) = [step for step in report.steps if step.step == "ping"]
    assert (step.ok, step.detail) == (ok, words)
    assert bool(step.mend) is not ok
    assert report.passed is ok
    assert b"555" not in bench.pings[0].body
    if ok:
        assert [orjson.loads(post.body).get("ref") for post in bench.posts] == ["p-1"] * 3
        assert "never sent" not in next(step.detail for step in report.steps if step.step == "mapping")


def test_the_result_is_one_fact_and_nothing_was_sold() -> None:
    """No lead, no reservation, no capacity; the state knows the version that passed."""
    report, bench = reports(book(caps=[{"per": "day", "limit": 1}]))
    facts = [entry.fact for entry in bench.ledger._entries]
    assert [fact for fact in facts if isinstance(fact, (Received, Reserved))] == []
    (fact,) = [fact for fact in facts if isinstance(fact, Certified)]
    assert (fact.buyer_id, fact.endpoint, fact.version, fact.passed, fact.by) == (
        "b", "crm", bench.book.contracts["c"].endpoint.version, True, "operator:ann",
    )  # fmt: skip
    assert bench.engine.state.certificates["b/crm"].passed_version == report.version
    assert not bench.engine.state.usage


@pytest.mark.parametrize(
    ("kind", "stage", "reached"),
    [
        ("dns", "dns", []),
        ("blocked_address", "address", ["dns"]),
        ("connect", "connect", ["dns", "address"]),
        ("tls", "tls", ["dns", "address", "connect"]),
        ("token", "auth", ["dns", "address", "connect"]),
        ("read_timeout", "answer", ["dns", "address", "connect"]),
    ],
)
def test_where_it_ends_is_told(kind: Any, stage: str, reached: list[str]) -> None:
    """What came before went well, the stage fails with its mend, what comes after was not reached."""
    report, bench = reports(book(), (TransportFailure(kind=kind, detail="what happened"),))
    seen = steps(report)
    assert seen[stage] is False
    assert all(seen[name] for name in reached)
    assert mend(report, stage)
    assert (report.passed, len(bench.posts)) == (False, 1)
    assert stage in bench.engine.state.certificates["b/crm"].failed


@pytest.mark.parametrize(
    ("answers", "endpoint", "failed"),
    [
        ((answer(401, b""),), {}, {"auth", "outcome"}),
        ((REJECTED,), {}, {"outcome"}),
        ((ODD,), {}, {"outcome"}),
        ((ACCEPTED, REJECTED, REJECTED), {}, {"repeat"}),
        ((ACCEPTED, ACCEPTED, REJECTED), {}, set()),
        ((ACCEPTED, REJECTED, REJECTED), {"idempotent": False}, set()),
        ((DUPLICATE, DUPLICATE, REJECTED), {}, set()),  # a sandbox that remembers the test lead
    ],
)
def test_answers_are_judged(answers: tuple[Answer, ...], endpoint: dict[str, Any], failed: set[str]) -> None:
    """Refused credentials, refusals, answers nobody classified, and repeats that break the promise of `idempotent`."""
    report, _ = reports(book(endpoint), answers)
    assert set(report.failed) == failed, report.steps


def test_a_slow_answer_has_no_headroom() -> None:
    """Half of the timeout is enough; more will one day be too late."""
    slow = answer()
    slow = type(slow)(status=slow.status, headers=slow.headers, body=slow.body, took_ns=3 * NS_S)
    report, _ = reports(book({"timeout": "5s"}), (slow, DUPLICATE, REJECTED))
    assert report.failed == ("timeout",)
    assert "3000ms of 5s" in next(step.detail for step in report.steps if step.step == "timeout")


def test_an_answer_that_says_later_is_asked_again() -> None:
    """Its Retry-After is honoured, within reason; what would be retried is told."""
    busy = answer(429, b"", Retry_After="3600")
    report, bench = reports(book(), (busy, *GOOD))
    assert report.passed, report.steps
    assert len(bench.posts) == 4
    assert "429, 503 would be tried again" in next(step.detail for step in report.steps if step.step == "retry")


def test_a_value_without_an_entry_in_its_map_does_not_arrive() -> None:
    """A required field that the request does not carry is found before a lead is lost over it."""
    endpoint = {
        "body": {"zip": "{{postal_code}}", "phone": "{{phone|map:phones}}"},
        "maps": {"phones": {"+15125550199": "office"}},
    }
    report, _ = reports(book(endpoint))
    assert report.failed == ("mapping",)
    assert "phone, which the request does not carry" in next(s.detail for s in report.steps if s.step == "mapping")


def test_what_is_accepted_and_never_sent_is_told() -> None:
    """An optional field that the body does not name is no failure."""
    report, _ = reports(book())
    assert "accepted and never sent: first_name" in next(s.detail for s in report.steps if s.step == "mapping")


def test_without_a_test_url_nothing_is_posted_and_it_is_said_what_to_do() -> None:
    """Nor is anything recorded: an endpoint without one cannot be certified."""
    report, bench = reports(book({"test_url": None}))
    assert (report.passed, report.tried, bench.posts) == (False, False, [])
    assert "endpoints.crm.test_url" in mend(report, "test_url")
    assert bench.engine.state.certificates == {}


def test_chosen_values_reach_the_sandbox_and_the_postal_code_is_remembered() -> None:
    """A sandbox that answers by postal code is asked with the same one again; nothing else is kept."""
    report, bench = reports(book(), fields={"postal_code": "78799", "first_name": "Somebody"})
    assert report.passed
    assert orjson.loads(bench.posts[0].body)["zip"] == "78799"
    fact = next(entry.fact for entry in bench.ledger._entries if isinstance(entry.fact, Certified))
    assert fact.postal_code == "78799"
    assert b"Somebody" not in orjson.dumps([str(fact)])


def test_each_lead_type_is_posted_for_once() -> None:
    """Two contracts of one type share the posts; the mapping of both is looked at."""
    fields = {"fields": {"required": ["phone"]}}
    one = factory.buyer(
        "b",
        factory.contract("c", **fields),
        factory.contract("d", fields={"required": ["email"]}),
        endpoint={"test_url": TEST_URL, "idempotent": True},
    )
    report, bench = reports(factory.book(one, router=NETWORK))
    assert len(bench.posts) == 3
    assert [step.ok for step in report.steps if step.step == "mapping"] == [True, False]
    assert report.contracts == ("c", "d")


def test_who_is_not_there() -> None:
    """404 for a buyer and for an endpoint; an endpoint that no contract uses says so."""
    spare = {"crm": factory.ENDPOINT, "spare": factory.ENDPOINT}
    world = RouterWorld(factory.book(factory.buyer("b", factory.contract("c"), endpoints=spare)), lambda *_: (0, ODD))

    async def story(world: RouterWorld) -> None:
        certifier = Certifier(world.engine)
        for how in ({"buyer_id": "nobody"}, {"buyer_id": "b", "endpoint": "fax"}):
            with pytest.raises(Refused):
                await certifier.certify(**how, by="operator:ann")  # type: ignore[arg-type]
        (report,) = await certifier.certify("b", by="operator:ann", endpoint="spare")
        assert (report.tried, report.steps[0].step) == (False, "contracts")

    world.play(story)


# -- what follows --------------------------------------------------------------------------------


def test_require_certified_keeps_leads_away_until_the_endpoint_is_certified() -> None:
    """`contract_inactive`, the same fast and explained; certified, the next lead is sold; it survives a restart."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Bench)
        assert (await world.sell(factory.lead("l1"))).reason == "no_eligible_contract"
        proof = Proof(world.engine)
        (refusal,) = proof.explain(factory.lead("l2"))["refusals"]
        assert (refusal["code"], refusal["actual"]) == ("contract_inactive", "never certified")
        assert (await world.certify()).passed
        assert (await world.sell(factory.lead("l3", phone="+15125550111"))).status == "sold"
        await world.restart()
        assert (await world.sell(factory.lead("l4", phone="+15125550112"))).status == "sold"
        shown = proof.contract("c")
        assert shown is not None
        assert shown["endpoint"]["certified"] is True

    Bench(book(onboarding={"require_certified": True})).play(story)


def test_a_changed_endpoint_is_to_be_certified_again() -> None:
    """The version is that of the endpoint's content; another timeout is another endpoint."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Bench)
        assert (await world.certify()).passed
        changed = book({"timeout": "7s"}, onboarding={"require_certified": True})
        await world.engine.adopt(changed, type(world.engine.live)(changed), {}, by="operator:ann")
        assert (await world.sell(factory.lead("l1"))).reason == "no_eligible_contract"
        (refusal,) = Proof(world.engine).explain(factory.lead("l2"))["refusals"]
        assert refusal["actual"] == "changed since it was certified"

    Bench(book(onboarding={"require_certified": True})).play(story)


def test_drift_is_an_alert_and_leads_go_on() -> None:
    """`certify_every` tests again by itself; credentials that expired are told before a lead fails over them."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Bench)
        certifier, watch = Certifier(world.engine), Watch(world.engine)
        assert [told.alert.kind for told in await watch.fresh()] == ["not_certified"]
        assert certifier.due() == []  # never tested by anybody: that is the operator's to begin
        assert (await world.certify(fields={"postal_code": "78799"})).passed
        assert await watch.fresh() == []
        world.clock.step(NS_DAY)
        world.answers = (answer(401, b""),)
        await certifier.renew()
        (alert,) = [told.alert for told in await watch.fresh() if told.alert.kind != "clock_jumped"]
        assert (alert.kind, alert.subject) == ("certification_failed", "endpoint:b/crm")
        assert "failed at auth, outcome, and passed 2026-11-24" in alert.message
        assert orjson.loads(world.posts[-1].body)["zip"] == "78799"
        assert (await world.sell(factory.lead("l1", at_ns=world.clock.wall_ns()))).status == "sold"
        assert certifier.due() == []
        world.clock.step(NS_DAY)
        world.answers = GOOD
        world.posts.clear()
        await certifier.renew()
        assert [told.alert.kind for told in await watch.fresh() if told.alert.kind != "clock_jumped"] == []

    Bench(book(onboarding={"require_certified": True, "certify_every": "24h"})).play(story)


def test_a_ledger_that_cannot_take_the_result_leaves_it_for_the_next_time() -> None:
    """The upkeep goes on."""

    async def story(world: RouterWorld) -> None:
        assert isinstance(world, Bench)
        await world.certify()
        world.clock.step(NS_DAY)
        world.ledger.fill_disk()
        await Certifier(world.engine).renew()
        world.ledger.make_room()
        while world.engine.journal.stale:
            await asyncio.sleep(0.1)
        assert len(Certifier(world.engine).due()) == 1

    Bench(book(onboarding={"certify_every": "24h"})).play(story)


def test_requiring_certification_reaches_every_contract_that_stays_as_it_is() -> None:
    """A reload that changes nothing but `router.toml` compiles the plans anew."""
    before = book()
    required = book(onboarding={"require_certified": True}).terms
    terms = structs.replace(before.terms, router=required.router)
    assert compile_book(terms, before).contracts["c"].must_be_certified
    assert compile_book(before.terms, compile_book(terms, before)).contracts["c"].must_be_certified is False

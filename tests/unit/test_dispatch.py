"""One delivery carried to its end over scripted buyers: what is sent, what is recorded, and what comes of it."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from router.clock import SystemClock
from router.core.retry_budget import FLOOR, RetryBudgets
from router.courier import Courier
from router.dispatch import BUDGET_SPENT, Desk, Finished, Job, carry
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.model.facts import Attempted, Repeating
from router.model.times import NS_S
from router.transport import ScriptedTransport
from tests.endpoints import answer, header
from tests.factory import NOON, book, buyer, contract, lead

BOTH_LOOPS = True
TOKEN_URL = "https://id.example.com/token"
OAUTH = {"type": "oauth2", "token_url": TOKEN_URL, "client_id": "acme", "client_secret": "secret:s"}
ACCEPTED = answer('{"status":"accepted"}')
UNAVAILABLE = answer("", 503, content_type="text/plain")
UNAUTHORIZED = answer('{"status":"who?"}', 401)
LOST = TransportFailure(kind="connection_lost", detail="gone")


class StillClock(SystemClock):
    """Noon until a test says otherwise."""

    now_ns = NOON

    def wall_ns(self) -> int:
        """Where the test put it."""
        return self.now_ns

    def mono_ns(self) -> int:
        """The same."""
        return self.now_ns


class Round:
    """One delivery to a buyer whose answers are given in turn, the last one for ever; token requests get `t1`, `t2`."""

    def __init__(self, *answers: HttpResponse | TransportFailure, **endpoint: Any) -> None:
        endpoint = {"retry": {"backoff": "0s"}} | endpoint
        self.answers = answers
        self.plan = book(buyer("b", contract("c"), endpoint=endpoint)).contracts["c"]
        self.secrets = {"s": "hunter2"}
        self.grant: Callable[[int], HttpResponse | TransportFailure] = lambda number: answer(
            orjson.dumps({"access_token": f"t{number}"})
        )
        self.clock = StillClock()
        self.retries = RetryBudgets()
        self.fetches = 0
        self.requests: list[HttpRequest] = []
        self.suppressed_after = 99  # requests
        self.told: list[Repeating | Attempted] = []

    async def _play(self, lane: str, request: HttpRequest) -> HttpResponse | TransportFailure:
        if request.url == TOKEN_URL:
            self.fetches += 1
            return self.grant(self.fetches)
        self.requests.append(request)
        return self.answers[min(len(self.requests), len(self.answers)) - 1]

    async def _intend(self, fact: Repeating) -> None:
        self.told.append(fact)

    async def run(self, **job: Any) -> Finished:
        """Carry it."""
        courier = Courier(ScriptedTransport(self._play), self.clock)
        desk = Desk(
            courier=courier,
            clock=self.clock,
            steady_ns=self.clock.wall_ns,
            secrets=self.secrets,
            retries=self.retries,
            intend=self._intend,
            record=self.told.append,
            suppressed=lambda _: len(self.requests) >= self.suppressed_after,
        )
        job = {"lead": lead(), "plan": self.plan, "delivery_id": "d", "price": 1000} | job
        finished = await carry(Job(**{"deadline_ns": NOON + 20 * NS_S} | job), desk)
        await courier.close()
        return finished

    @property
    def proofs(self) -> list[str | None]:
        """What proved who we are, a request each."""
        return [header(request, "Authorization") for request in self.requests]


def last(finished: Finished) -> Attempted:
    """The last attempt; fails the test when there was none."""
    assert finished.attempted is not None
    return finished.attempted


async def test_a_repeat_is_the_same_bytes_and_has_an_intent() -> None:
    """Two doubts at an idempotent endpoint, then an answer: one body, one key, an intent before each repeat."""
    world = Round(LOST, answer("?"), answer('{"status":"duplicate"}'), idempotent=True)
    finished = await world.run()
    assert finished.verdict.outcome == "accepted"  # a duplicate of our own doubtful attempt
    assert len({request.body for request in world.requests}) == 1
    assert {header(request, "Idempotency-Key") for request in world.requests} == {"d"}
    assert [(type(fact).__name__, fact.n) for fact in world.told] == [
        ("Attempted", 1), ("Repeating", 2), ("Attempted", 2), ("Repeating", 3),
    ]  # fmt: skip
    assert last(finished).n == 3


async def test_whoever_is_suppressed_meanwhile_is_not_sent_again() -> None:
    """Not before the first attempt either; a doubt stays one, for the buyer may have the lead."""
    world = Round(answer("", 503), idempotent=True, retry={"attempts": 3, "backoff": "1s"})
    world.suppressed_after = 1
    finished = await world.run()
    assert (finished.verdict.outcome, finished.verdict.reason, len(world.requests)) == ("failed", "suppressed", 1)
    assert [type(fact) for fact in world.told] == [Attempted]
    world = Round(LOST, idempotent=True)
    world.suppressed_after = 1
    finished = await world.run()
    assert (finished.verdict.outcome, finished.verdict.reason, len(world.requests)) == ("in_doubt", "suppressed", 1)
    world = Round(ACCEPTED)
    world.suppressed_after = 0
    finished = await world.run()
    assert (finished.verdict.outcome, finished.attempted, world.requests) == ("failed", None, [])


class TestAccessTokens:
    """OAuth 2 on the way of a delivery."""

    async def test_a_refused_token_is_renewed_once(self) -> None:
        """401: the same bytes with a new token, as an attempt like every other."""
        world = Round(UNAUTHORIZED, ACCEPTED, auth=OAUTH)
        finished = await world.run()
        assert finished.verdict.outcome == "accepted"
        assert world.proofs == ["Bearer t1", "Bearer t2"]
        assert len({request.body for request in world.requests}) == 1
        first, repeating = world.told
        assert isinstance(first, Attempted)
        assert (first.outcome, first.reason, first.sent) == ("failed", "auth", True)
        assert not first.auth_failed  # a stale token does not speak against our credentials
        assert repeating == Repeating(delivery_id="d", n=2)

    async def test_a_second_401_ends_it(self) -> None:
        """Then it is our credentials: failed, and it counts towards pausing the contract."""
        world = Round(UNAUTHORIZED, auth=OAUTH, retry={"attempts": 9, "backoff": "0s"})
        finished = await world.run()
        assert (finished.verdict.outcome, finished.verdict.reason) == ("failed", "auth")
        assert (len(world.requests), last(finished).auth_failed) == (2, True)

    async def test_within_the_rules_of_retry(self) -> None:
        """Where terms allow one attempt there is one; the next lead has a new token all the same."""
        world = Round(UNAUTHORIZED, auth=OAUTH, retry={"attempts": 1})
        finished = await world.run()
        assert (finished.verdict.outcome, len(world.requests), last(finished).auth_failed) == ("failed", 1, True)

    async def test_a_403_is_no_stale_token(self) -> None:
        """It is final, as for every kind of auth."""
        world = Round(answer("", 403), auth=OAUTH)
        assert (await world.run()).verdict.reason == "auth"
        assert len(world.requests) == 1

    async def test_a_rule_may_know_what_401_means(self) -> None:
        """The endpoint's own rules come first: what they call rejected is not sent again."""
        world = Round(answer('{"status":"rejected"}', 401), auth=OAUTH)
        assert (await world.run()).verdict.outcome == "rejected"
        assert len(world.requests) == 1

    async def test_a_401_after_a_doubt_leaves_the_doubt(self) -> None:
        """The first attempt may have been taken whatever became of the token since."""
        world = Round(LOST, UNAUTHORIZED, UNAUTHORIZED, ACCEPTED, auth=OAUTH, idempotent=True)
        assert (await world.run()).verdict.outcome == "accepted"

    async def test_no_token_is_a_certain_failure_that_is_retried(self) -> None:
        """Nothing was sent to the buyer, and the attempt says what the token endpoint did."""
        world = Round(ACCEPTED, auth=OAUTH)
        world.grant = lambda number: answer("", 503)
        finished = await world.run()
        attempted = last(finished)
        assert (finished.verdict.outcome, finished.verdict.reason, world.fetches) == ("failed", "token", 2)
        assert (attempted.sent, attempted.status, attempted.n) == (False, None, 2)
        assert attempted.detail == "the token endpoint gave no token: it answered 503"
        assert world.requests == []

    async def test_refused_credentials_are_not_tried_again(self) -> None:
        """As a 401 of the buyer: failed, `auth`, and five running pause the contract."""
        world = Round(ACCEPTED, auth=OAUTH)
        world.grant = lambda number: answer('{"error":"invalid_scope"}', 400)
        finished = await world.run()
        assert (finished.verdict.outcome, finished.verdict.reason, world.fetches) == ("failed", "auth", 1)
        assert (last(finished).auth_failed, last(finished).sent) == (True, False)

    async def test_no_token_is_waited_for_beyond_the_deadline(self) -> None:
        """The deadline bounds when an attempt may start; time spent on a token is inside it."""
        world = Round(ACCEPTED, auth=OAUTH)

        def slow(number: int) -> HttpResponse:
            world.clock.now_ns += 30 * NS_S
            return answer('{"access_token":"t"}')

        world.grant = slow
        finished = await world.run()
        assert (finished.verdict.outcome, finished.verdict.reason, world.requests) == ("failed", "token", [])

    async def test_a_token_that_a_buyer_repeats_is_not_kept(self) -> None:
        """A reason that quotes our header is stored without it."""
        world = Round(answer('{"status":"rejected","reason":"bad header Bearer t1token"}'), auth=OAUTH)
        world.grant = lambda number: answer('{"access_token":"t1token"}')
        assert (await world.run()).verdict.reason == "bad header Bearer [secret]"


@pytest.mark.parametrize(("doubted", "outcome"), [(False, "failed"), (True, "in_doubt")])
async def test_a_missing_secret_costs_its_own_delivery_alone(doubted: bool, outcome: str) -> None:
    """It cannot be sent, and the daemon lives; what an earlier attempt may have brought about stands."""
    world = Round(ACCEPTED, auth={"type": "bearer", "token": "secret:gone"})
    finished = await world.run(doubted=doubted)
    assert (finished.verdict.outcome, finished.verdict.reason, finished.attempted) == (outcome, "auth", None)
    assert world.requests == []


@pytest.mark.parametrize(("doubted", "outcome"), [(False, "failed"), (True, "in_doubt")])
async def test_a_deadline_that_passed_meanwhile_resolves_no_doubt(doubted: bool, outcome: str) -> None:
    """Taken up after a crash, and over before the intent was durable: nothing is sent, nothing new is known."""
    world = Round(ACCEPTED, idempotent=True)
    finished = await world.run(doubted=doubted, attempts=1, deadline_ns=NOON)
    assert (finished.verdict.outcome, finished.verdict.reason, world.requests) == (outcome, "deadline", [])


async def test_an_answer_that_breaks_the_reader_is_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a hostile answer makes us raise, it costs no more than its own delivery."""

    def broken(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr("router.dispatch.classify", broken)
    finished = await Round(ACCEPTED).run()
    assert (finished.verdict.outcome, finished.verdict.reason) == ("in_doubt", "unclassified")


class TestRetryBudget:
    """An endpoint is given so many retries and no more."""

    @staticmethod
    def spend(world: Round) -> None:
        """Take all that there is."""
        budget = world.retries.of("b/crm", NOON)
        for _ in range(FLOOR):
            assert budget.take(NOON)

    async def test_a_spent_budget_ends_the_retries(self) -> None:
        """The delivery has failed as its last attempt says, which also says why no other follows."""
        world = Round(UNAVAILABLE, ACCEPTED)
        self.spend(world)
        finished = await world.run()
        assert (finished.verdict.outcome, finished.verdict.reason) == ("failed", "unavailable")
        assert (len(world.requests), last(finished).n, last(finished).outcome) == (1, 1, "failed")
        assert last(finished).detail == BUDGET_SPENT

    async def test_it_is_said_beside_what_else_there_is_to_say(self) -> None:
        """The words for what went wrong stay."""
        world = Round(TransportFailure(kind="connect", detail="connection refused"))
        self.spend(world)
        assert last(await world.run()).detail == f"connection refused; {BUDGET_SPENT}"

    async def test_with_budget_left_it_is_tried_again(self) -> None:
        """And each retry is taken out of it."""
        world = Round(UNAVAILABLE, ACCEPTED)
        finished = await world.run()
        assert (finished.verdict.outcome, last(finished).n) == ("accepted", 2)
        assert world.retries.of("b/crm", NOON).retries == 1

    async def test_a_doubt_is_asked_about_whatever_is_spent(self) -> None:
        """Nothing but the deadline bounds those repeats, and they take nothing from the budget."""
        world = Round(LOST, LOST, ACCEPTED, idempotent=True)
        self.spend(world)
        assert (await world.run()).verdict.outcome == "accepted"
        assert world.retries.of("b/crm", NOON).retries == FLOOR

    async def test_a_stale_token_is_renewed_whatever_is_spent(self) -> None:
        """That is no outage of the buyer's, and happens once."""
        world = Round(UNAUTHORIZED, ACCEPTED, auth=OAUTH)
        self.spend(world)
        assert (await world.run()).verdict.outcome == "accepted"

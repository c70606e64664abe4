"""Certifies a buyer's endpoints: posts made-up test leads to their `test_url` and reports every step.

Nothing is sold: a certification takes no capacity and is no lead in the ledger. What stays is one fact for each
endpoint, with the version it was tested at, so that everybody can see whether it still holds.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from router.buyers.auth import SecretUnusableError, without_secrets
from router.buyers.classify import classify
from router.core.state import Certificate
from router.courier import Carried
from router.engine import Engine, Refused
from router.ledger.protocol import LedgerError
from router.model.decision import Bid
from router.model.delivery import HttpRequest, TransportFailure
from router.model.facts import Certified
from router.model.lead import Lead, Value
from router.model.times import NS_MINUTE, NS_S
from router.onboarding import steps
from router.onboarding.made_up import make_up
from router.onboarding.steps import Post, Step
from router.terms.book import ContractPlan
from router.terms.endpoint import EndpointPlan

#: So many contracts of an endpoint are posted for, one a lead type; the mapping of so many is looked at.
POSTED_MAX: Final = 3
MAPPED_MAX: Final = 20
#: An answer that says "later" is believed for so long at most.
_LATER_MAX_S: Final = 2.0
AT_A_TIME: Final = 4
LOOK_EVERY_S: Final = 30.0
_log: Final = logging.getLogger(__name__)


class Report(Struct, frozen=True, kw_only=True):
    """What came of one endpoint's certification. `tried`: something was posted, so the result is recorded."""

    endpoint: str
    version: str
    contracts: tuple[str, ...]
    steps: tuple[Step, ...]
    tried: bool
    at_ns: int

    @property
    def failed(self) -> tuple[str, ...]:
        """The steps that went wrong."""
        return tuple(dict.fromkeys(step.step for step in self.steps if step.ok is False))

    @property
    def passed(self) -> bool:
        """Whether the endpoint is certified by this."""
        return self.tried and not self.failed


class Certifier:
    """Certifies for the running engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def certify(
        self, buyer_id: str, *, by: str, endpoint: str | None = None, fields: Mapping[str, Value] | None = None
    ) -> list[Report]:
        """Every endpoint of a buyer, or one of them. Raises Refused (404), LedgerError.

        `fields` are values of the test lead that somebody chose, such as the postal code a sandbox wants.
        """
        buyer = self._engine.book.buyers.get(buyer_id)
        if buyer is None:
            raise Refused(404, "not_found", "no buyer of that id")
        if endpoint is not None and endpoint not in buyer.endpoints:
            raise Refused(404, "not_found", "the buyer has no endpoint of that name")
        names = [endpoint] if endpoint is not None else list(buyer.endpoints)
        return [await self._certify(buyer_id, name, by, fields or {}) for name in names]

    async def _certify(self, buyer_id: str, name: str, by: str, fields: Mapping[str, Value]) -> Report:
        plans = [plan for plan in self._engine.book.contracts.values() if _uses(plan, buyer_id, name)]
        plans.sort(key=lambda plan: (plan.terms.status != "live", plan.id))
        report = await self._tested(name, plans, fields)
        if report.tried:
            code = fields.get("postal_code")
            fact = Certified(
                buyer_id=buyer_id,
                endpoint=name,
                version=report.version,
                passed=report.passed,
                failed=report.failed,
                by=by,
                postal_code=code if isinstance(code, str) else None,
            )
            await self._engine.write([fact])
        return report

    async def _tested(self, name: str, plans: list[ContractPlan], fields: Mapping[str, Value]) -> Report:
        at_ns = self._engine.now_ns()
        if not plans:
            step = Step("contracts", None, "no contract uses the endpoint", "Take it out, or let a contract use it")
            return Report(endpoint=name, version="", contracts=(), steps=(step,), tried=False, at_ns=at_ns)
        endpoint, found = plans[0].endpoint, list[Step]()
        tried = endpoint.test_url is not None
        if not tried:
            found.append(steps.no_test_url(endpoint))
        mapped = self._mapped(plans[:MAPPED_MAX], fields, found)
        for plan, lead in _one_a_type(mapped) if tried else ():
            found += await _Posting(self._engine, plan, lead).steps()
        return Report(
            endpoint=name,
            version=endpoint.version,
            contracts=tuple(plan.id for plan in plans),
            steps=tuple(found),
            tried=tried,
            at_ns=at_ns,
        )

    def _mapped(
        self, plans: list[ContractPlan], fields: Mapping[str, Value], found: list[Step]
    ) -> list[tuple[ContractPlan, Lead]]:
        """A made-up lead for each contract, looked at before it is sent."""
        engine, made = self._engine, []
        for plan in plans:
            at_ns = engine.now_ns()
            one = make_up(
                engine.book, plan, lead_id=engine.new_lead_id(), at_ns=at_ns, number=at_ns // NS_S, given=fields
            )
            found.append(steps.test_lead(plan, one.missed))
            if plan.endpoint.test_url is not None:
                found.append(steps.mapping(plan, one.lead, "certification", engine.deliveries.secrets))
            made.append((plan, one.lead))
        return made

    # -- by itself -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Test again what was certified `certify_every` ago. Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.renew()

    async def renew(self) -> None:
        """Certify every endpoint whose time has come, a few at a time."""
        due, free = self.due(), asyncio.Semaphore(AT_A_TIME)

        async def one(buyer_id: str, name: str, certificate: Certificate) -> None:
            async with free:
                await self._renew(buyer_id, name, certificate)

        async with asyncio.TaskGroup() as group:
            for buyer_id, name, certificate in due:
                group.create_task(one(buyer_id, name, certificate))

    def due(self) -> list[tuple[str, str, Certificate]]:
        """Endpoints of live contracts that were tested before, and not for `certify_every`."""
        engine = self._engine
        every = engine.book.router.onboarding.certify_every
        if every is None:
            return []
        now_ns, found = engine.now_ns(), dict[str, tuple[str, str, Certificate]]()
        for plan in engine.book.contracts.values():
            key = plan.endpoint_key
            certificate = engine.state.certificates.get(key)
            live = plan.terms.status == "live" and plan.buyer.status == "live"
            if certificate is not None and live and now_ns - certificate.at_ns >= every:
                found[key] = (plan.buyer_id, plan.endpoint.name, certificate)
        return list(found.values())

    async def _renew(self, buyer_id: str, name: str, certificate: Certificate) -> None:
        fields: dict[str, Value] = {"postal_code": certificate.postal_code} if certificate.postal_code else {}
        try:
            (report,) = await self.certify(buyer_id, by="certify_every", endpoint=name, fields=fields)
        except (Refused, LedgerError):
            return  # the buyer went meanwhile, or nothing can be recorded: next time
        _log.info(
            "certified" if report.passed else "not_certified",
            extra={"buyer_id": buyer_id, "key": name, "reason": ", ".join(report.failed) or None},
        )


def _uses(plan: ContractPlan, buyer_id: str, name: str) -> bool:
    return plan.buyer_id == buyer_id and plan.endpoint.name == name and plan.terms.status != "closed"


def _one_a_type(made: list[tuple[ContractPlan, Lead]]) -> list[tuple[ContractPlan, Lead]]:
    """The first contract of each lead type."""
    first: dict[str, tuple[ContractPlan, Lead]] = {}
    for plan, lead in made:
        first.setdefault(plan.lead_type, (plan, lead))
    return list(first.values())[:POSTED_MAX]


class _Posting:
    """The posts for one contract."""

    def __init__(self, engine: Engine, plan: ContractPlan, lead: Lead) -> None:
        self._engine = engine
        self._plan = plan
        self._lead = lead
        self._bid: Bid | None = None

    async def steps(self) -> list[Step]:
        """Post the lead, the same again, and one that should be refused; what each step comes to."""
        endpoint, id_ = self._plan.endpoint, self._engine.clock.new_id()
        asked = await self._ask()
        first = await self._post(self._lead, id_)
        if isinstance(first, Step):
            return [*asked, first]
        first = await self._later(first, id_)
        found = [*asked, *steps.reached(endpoint, first), steps.timeout(endpoint, first), steps.outcome(first)]
        posts = {"the test lead": first}
        if first.verdict.outcome != "failed" and not isinstance(first.answer, TransportFailure):
            await self._more(posts, id_)
            found += self._about_more(endpoint, posts)
        return [*found, *steps.responses(endpoint, posts), steps.retry(endpoint, posts.values())]

    async def _more(self, posts: dict[str, Post], id_: str) -> None:
        """The same again; and a lead that a buyer should refuse, where there is anything to leave out."""
        again = await self._post(self._lead, id_, after_doubt=posts["the test lead"].verdict.outcome == "in_doubt")
        if isinstance(again, Post):
            posts["its repeat"] = again
        bare = steps.bare(self._plan, self._lead)
        await self._ask()
        refused = await self._post(bare, self._engine.clock.new_id()) if bare != self._lead else None
        if isinstance(refused, Post):
            posts["a lead without its required fields"] = refused

    async def _ask(self) -> list[Step]:
        """Ask for a bid, where the endpoint is asked for one: without personal data, and nothing is promised by it."""
        if self._plan.endpoint.ping is None:
            return []
        self._bid = await self._engine.asker.ask_one(self._lead, self._plan)
        return [steps.ping(self._plan, self._bid)]

    def _about_more(self, endpoint: EndpointPlan, posts: Mapping[str, Post]) -> list[Step]:
        found = []
        if (again := posts.get("its repeat")) is not None:
            found.append(steps.repeat(endpoint, posts["the test lead"], again))
        if (refused := posts.get("a lead without its required fields")) is not None:
            found.append(steps.refusal(refused))
        return found

    async def _later(self, first: Post, id_: str) -> Post:
        """An answer that says "later" is taken at its word once, within reason."""
        if not first.verdict.retryable or isinstance(first.answer, TransportFailure):
            return first
        wait_s = min((first.verdict.retry_after_ns or self._plan.endpoint.retry.backoff) / NS_S, _LATER_MAX_S)
        await asyncio.sleep(wait_s)
        again = await self._post(self._lead, id_)
        return again if isinstance(again, Post) else first

    async def _post(self, lead: Lead, delivery_id: str, *, after_doubt: bool = False) -> Post | Step:
        engine, plan, endpoint = self._engine, self._plan, self._plan.endpoint
        secrets = engine.deliveries.secrets
        request = steps.rendered(plan, lead, delivery_id, secrets, engine.now_ns() // NS_S, self._bid)
        if isinstance(request, Step):
            return request
        assert isinstance(request, HttpRequest)
        try:
            carried = await self._carry(request)
            if carried.token_refused:  # it was an old one, perhaps: once more with another
                carried = await self._carry(request)
        except SecretUnusableError as error:
            return Step("auth", False, str(error), error.mend)
        said = classify(endpoint, carried.answer, after_doubt=after_doubt, now_s=engine.now_ns() // NS_S)
        return Post(answer=carried.answer, verdict=without_secrets(said, endpoint.auth, secrets, carried.token))

    async def _carry(self, request: HttpRequest) -> Carried:
        plan, deliveries = self._plan, self._engine.deliveries
        within_ns = min(plan.endpoint.timeout_ns, NS_MINUTE)
        return await deliveries.courier.send(
            plan.buyer_id, plan.endpoint, request, deliveries.secrets, within_ns=within_ns
        )

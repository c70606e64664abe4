"""What a buyer will receive, when, and how its answers are read: from its contracts and endpoints.

The sample request is rendered by `buyers.render`, the code that renders real ones; only the proof of who we are is left
out and described instead, so that no secret is ever near this.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import structs

from router.buyers.render import RenderContext, render, render_ping
from router.core.rules.criteria import say
from router.model.delivery import HttpRequest
from router.model.money import format_money
from router.model.times import NS_S, format_duration
from router.onboarding.made_up import make_up
from router.onboarding.posting.document import Block, Document, Heading, Sample, Text, bullets, table
from router.terms.book import Book
from router.terms.compile import TermsError, compile_book
from router.terms.coverage import codes_in_use, expand
from router.terms.endpoint import EndpointPlan
from router.terms.geography import us
from router.terms.schema import Auth, Buyer, Cap, Contract, Endpoint, Guard, LeadType, ResponseRule, Terms, When

_NO_AUTH: Final = Auth()
_AT_S: Final = 1_795_453_200  # 2026-11-23T17:00:00Z
_LEAD_ID: Final = "01939b2e-7a40-7c11-8d3c-5a1f0e9b2c10"
_DELIVERY_ID: Final = "01939b2e-7a52-7f0e-9a44-2b7d8c6e1f03"
_STATES_SHOWN: Final = 8

#: What proves who we are, in words; `{name}` and `{url}` are what is no secret of it.
_AUTH: Final = {
    "none": "nothing but the request itself",
    "basic": "`Authorization: Basic …` with the user name `{username}` and the password you gave us",
    "bearer": "`Authorization: Bearer …` with the token you gave us",
    "header": "the header `{name}: …` with the key you gave us",
    "query": "the query parameter `{name}=…` with the key you gave us",
    "hmac": "a signature as Standard Webhooks describes: `webhook-id` (the delivery's id), `webhook-timestamp` and"
    " `webhook-signature` (`v1,…`, one for each secret while they rotate), over `id.timestamp.body`",
    "oauth2": "`Authorization: Bearer …` with an access token that we fetch from `{token_url}` by client credentials",
    "mtls": "our TLS client certificate",
}
_SOLD: Final = {
    "exclusive": "to you alone",
    "shared": "to at most {copies} buyers",
    "best": "to you alone, or to at most {copies} buyers, whichever brings more",
}
_WIRES: Final = {"json": "JSON", "form": "a form", "query": "the query of the URL", "xml": "XML", "soap": "SOAP 1.1"}
_ALWAYS: Final = (
    "`Idempotency-Key`: the delivery's id, the same on every repeat of it; `Accept-Encoding: identity`; `User-Agent`"
)
_OUTCOMES: Final = {
    "accepted": "you have it and pay for it",
    "rejected": "you do not want it; it may go to somebody else",
    "duplicate": "you had it already; it may go to somebody else",
    "failed": "you certainly do not have it",
    "in_doubt": "nobody knows; it stays with you until that is settled",
}
_KNOWS_AGAIN: Final = (
    "You told us that you know a delivery again by its id: one whose answer was lost is repeated, and `duplicate` then"
    " counts as accepted. Do not take it twice."
)
_KNOWS_NOT: Final = "You do not know a delivery again by its id: one whose answer was lost is never repeated."
#: What an answer means that no rule of the endpoint matches.
_TABLE: Final = (
    ("401, 403", "failed", "our credentials are wrong; after five running we stop and call you"),
    ("404, 405", "failed", "the address is wrong"),
    ("410", "failed", "you are gone: we stop at once"),
    ("other 4xx", "failed", "the request is not as you want it"),
    ("301, 307, 308", "failed", "redirects are never followed"),
    ("2xx, 302, 303", "in doubt", "no rule says what it means"),
    ("5xx", "in doubt", "you may have it or not"),
    ("no answer in time", "in doubt", "you may have it or not"),
    ("no connection", "failed", "nothing was sent"),
)


def buyer_document(buyer: Buyer, terms: Terms) -> Document:
    """The specification for one buyer: its contracts, then each endpoint they use."""
    blocks: list[Block] = []
    for contract in buyer.contracts:
        if contract.status != "closed" and contract.lead_type in terms.lead_types:
            blocks += _contract(buyer, contract, terms)
    book = _book(buyer, terms)
    for name, endpoint in buyer.endpoints.items():
        using = [one for one in buyer.contracts if one.endpoint == name and one.lead_type in terms.lead_types]
        if using and book is not None:
            blocks += _endpoint(name, endpoint, using, book)
    if book is None:
        blocks.append(Text("The terms have errors, so no request can be shown: `lead-router check` says which."))
    blocks += _own(buyer)
    return Document(f"Receiving leads: {buyer.name}", tuple(blocks))


def _book(buyer: Buyer, terms: Terms) -> Book | None:
    """This buyer's terms, compiled; None when they cannot be."""
    try:
        return compile_book(structs.replace(terms, buyers={buyer.id: buyer}))
    except (TermsError, KeyError):
        return None


# -- contracts -----------------------------------------------------------------------------------


def _contract(buyer: Buyer, contract: Contract, terms: Terms) -> Iterator[Block]:
    kind = terms.lead_types[contract.lead_type]
    yield Heading(2, f"Contract `{contract.id}`: {kind.id}")
    if contract.status != "live":
        yield Text(f"It is {contract.status}: no leads come under it yet.")
    yield table(("", ""), [(name, said) for name, said in _terms_of(buyer, contract, kind, terms) if said])
    yield Text("Fields that you accept; nothing else of a lead is sent to you:")
    yield table(("field", "type", "always there", "must be"), list(_fields(contract, kind)))
    if contract.criteria:
        yield Text("Only leads for which all of this holds:")
        yield bullets([f"`{say(node)}`" for node in contract.criteria])


def _terms_of(buyer: Buyer, contract: Contract, kind: LeadType, terms: Terms) -> Iterator[tuple[str, str]]:
    yield "Price", _price(contract, terms.router.defaults.currency)
    yield "Sold", _SOLD[kind.sell.mode].format(copies=kind.sell.max_copies)
    yield "First day", contract.go_live or ""
    yield "Where", _where(contract, terms)
    yield "At most", "; ".join(map(_cap, (*contract.caps, *buyer.caps)))
    yield "Rate", _rate(contract)
    yield "Pace", "evenly over the open hours of the day" if contract.pacing == "even" else ""
    yield "Ramp", _ramp(contract)
    yield "Hours", _hours(contract, buyer.time_zone or terms.router.defaults.time_zone)
    yield "Age", _age(contract)
    yield "Consent", _consent(contract)
    yield "No repeats", _dedup(contract)
    yield "Returns", _returns(contract)
    yield "Guards", "; ".join(map(_guard, contract.sla.guards if contract.sla is not None else ()))
    yield "At a time", f"at most {buyer.max_in_flight} deliveries on their way to you"


def _price(contract: Contract, currency: str) -> str:
    price, alone = f"{format_money(contract.price)} {currency}", contract.exclusive_price
    return price if alone is None else f"{price}, {format_money(alone)} when you alone get the lead"


def _rate(contract: Contract) -> str:
    rate = contract.rate
    if rate is None:
        return ""
    return f"{rate.leads} a {rate.per}" + (f", at most {rate.burst} at once" if rate.burst else "")


def _where(contract: Contract, terms: Terms) -> str:
    if contract.coverage is None:
        return ""
    coverage, _ = expand(contract.coverage, lists=terms.lists, country=terms.router.defaults.country)
    if coverage.country != "US":
        return f"postal codes of {coverage.country}, as listed in our agreement"
    codes = codes_in_use(coverage)
    states: dict[str, int] = {}
    for code in codes:
        place = us().place(code)
        if place is not None:
            states[place.state] = states.get(place.state, 0) + 1
    most = sorted(states.items(), key=lambda entry: (-entry[1], entry[0]))
    shown = ", ".join(f"{state} {n:,}" for state, n in most[:_STATES_SHOWN])
    return f"{len(codes):,} postal codes: {shown}{', …' if len(most) > _STATES_SHOWN else ''}"


def _cap(cap: Cap) -> str:
    what = f"{cap.limit} leads" if cap.limit is not None else f"{format_money(cap.spend or 0)}"
    if cap.per == "total":
        return f"{what} in all"
    return f"{what} a {cap.per}" + (", rolling" if cap.window == "rolling" else "")


def _ramp(contract: Contract) -> str:
    ramp = contract.ramp
    if ramp is None:
        return ""
    hold = ramp.hold_below_acceptance
    said = f"{ramp.start} a day, {ramp.step} more every {format_duration(ramp.every)}"
    said += "" if ramp.until is None else f", up to {ramp.until}"
    return said + ("" if hold is None else f"; a step is left out while you take less than {hold:.0%}")


def _hours(contract: Contract, zone: str) -> str:
    schedule = contract.schedule
    if schedule is None:
        return ""
    closed = f"; closed on {', '.join(schedule.closed_dates)}" if schedule.closed_dates else ""
    return f"{', '.join(schedule.open)} ({zone}){closed}"


def _age(contract: Contract) -> str:
    sla = contract.sla
    said = []
    if sla is not None and sla.max_lead_age is not None:
        said.append(f"at most {format_duration(sla.max_lead_age)} old when it is sent")
    if sla is not None and sla.deliver_within is not None:
        said.append(f"with you within {format_duration(sla.deliver_within)} of its receipt")
    return ", ".join(said)


def _consent(contract: Contract) -> str:
    consent = contract.consent
    if consent is None:
        return ""
    said = ["always there" if consent.required else "where there is one"]
    if consent.certificates:
        said.append(" or ".join(consent.certificates))
    if consent.max_age is not None:
        said.append(f"at most {format_duration(consent.max_age)} old")
    if consent.names_seller is not None:
        said.append(f"names {consent.names_seller}")
    if consent.text:
        said.append("with its words")
    return ", ".join(said)


def _dedup(contract: Contract) -> str:
    dedup = contract.dedup
    if dedup is None:
        return ""
    keys = " or ".join(" and ".join(names) for names in dedup.keys)
    what = {"contract": "this contract", "buyer": "you", "lead_type": "anybody"}[dedup.scope]
    counts = "that you took" if dedup.counts == "accepted" else "that was sent"
    return f"the same {keys} as a lead {counts} within {format_duration(dedup.window)} ({what})"


def _returns(contract: Contract) -> str:
    returns = contract.returns
    if returns is None:
        return ""
    most = "" if returns.max_rate is None else f", at most {returns.max_rate:.0%} a month"
    return f"within {format_duration(returns.window)} for {', '.join(returns.reasons)}{most}"


def _guard(guard: Guard) -> str:
    """`acceptance rate below 50% over the last 20: we pause, and try 3 again after 30m`."""
    beyond = "below" if guard.metric == "acceptance_rate" else "above"
    limit = guard.trip if isinstance(guard.trip, str) else f"{guard.trip:.0%}"
    over = f"the last {guard.over} answers" if isinstance(guard.over, int) else guard.over
    metric = guard.metric.replace("_", " ")
    does = {
        "warn": "we are told",
        "throttle": f"you get {guard.throttle_to or 0:.0%} of your leads",
        "pause": "you get none",
    }[guard.action]
    again = "" if guard.action == "warn" else f", and after {format_duration(guard.cool_down)} {guard.probes} to try"
    return f"{metric} {beyond} {limit} over {over}: {does}{again}"


def _fields(contract: Contract, kind: LeadType) -> Iterator[tuple[str, str, str, str]]:
    for names, always in ((contract.fields.required, "yes"), (contract.fields.optional, "no")):
        for name in names:
            terms, rule = kind.fields.get(name), contract.fields.rules.get(name)
            said = "" if rule is None else say(rule, name).removeprefix(f"{name} ")
            yield f"`{name}`", "any" if terms is None else terms.type, always, said


# -- endpoints -----------------------------------------------------------------------------------


def _endpoint(name: str, endpoint: Endpoint, contracts: list[Contract], book: Book) -> Iterator[Block]:
    contract = next((one for one in contracts if one.status == "live"), contracts[0])
    plan = structs.replace(book.contracts[contract.id].endpoint, auth=_NO_AUTH, secrets=())
    yield Heading(2, f"Requests to `{name}`")
    yield table(("", ""), _request_rows(endpoint, plan))
    context = _context(contract, book)
    if plan.ping is not None:
        ping = render_ping(plan, context, {}, now_s=_AT_S)
        assert ping is not None
        yield Heading(3, "First we ask for a bid")
        yield Text(
            "Nothing personal is in it. A bid counts that comes within"
            f" {format_duration(plan.ping.timeout_ns)}; we read it at `{endpoint.ping.bid if endpoint.ping else ''}`."
        )
        yield Sample(_http(ping), "http")
    yield Heading(3, "A lead")
    yield Text(
        "Of a made-up person. What a lead does not have is left out, or empty where the format knows no other way."
    )
    yield Sample(_http(render(plan, context, {}, now_s=_AT_S)), "http")
    yield from _answers(endpoint)
    yield from _trouble(endpoint)


def _request_rows(endpoint: Endpoint, plan: EndpointPlan) -> list[tuple[str, str]]:
    auth = endpoint.auth
    words = {"username": auth.username, "name": auth.name, "token_url": auth.token_url}
    whole, connect = format_duration(endpoint.timeout), format_duration(endpoint.connect_timeout)
    test = f"`{endpoint.test_url}`" if endpoint.test_url else "no test address: test leads are not sent to you"
    return [
        ("Address", f"`{endpoint.method} {endpoint.url}`"),
        ("Format", _WIRES[plan.wire]),
        ("Who we are", _AUTH[auth.type].format(**words)),
        ("Always there", _ALWAYS),
        ("Time", f"{whole} for the whole exchange, of which {connect} to connect"),
        ("Tests", test),
    ]


def _context(contract: Contract, book: Book) -> RenderContext:
    """What a made-up lead that meets the contract's terms is rendered from."""
    made = make_up(book, book.contracts[contract.id], lead_id=_LEAD_ID, at_ns=_AT_S * NS_S, number=0)
    return RenderContext(
        lead=structs.replace(made.lead, test=False),
        delivery_id=_DELIVERY_ID,
        contract_id=contract.id,
        price=int(contract.price),
        ping={"reference": "your-ping-id", "bid": format_money(contract.price)},
        accepted=frozenset((*contract.fields.required, *contract.fields.optional)),
    )


def _http(request: HttpRequest) -> str:
    lines = [f"{request.method} {request.url}", *(f"{name}: {value}" for name, value in request.headers)]
    body = request.body.decode()
    if body.startswith("{"):
        body = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    return "\n".join([*lines, "", body]) if body else "\n".join(lines)


def _answers(endpoint: Endpoint) -> Iterator[Block]:
    yield Heading(3, "How your answer is read")
    yield Text("The first line that holds counts; the body is looked at, whatever its Content-Type says, to 64 KiB.")
    rows = [(_when(rule.when), rule.outcome, _extracted(rule)) for rule in endpoint.responses]
    yield table(("when", "means", "and we read"), rows)
    named = dict.fromkeys(rule.outcome for rule in endpoint.responses)
    yield bullets([f"{outcome.replace('_', ' ')}: {_OUTCOMES[outcome]}" for outcome in named])
    yield Text("Where none of them holds:")
    again = ", ".join(map(str, endpoint.retry.on))
    rows = [(again, "failed", "you are busy: we come again")] if again and endpoint.retry.attempts > 1 else []
    yield table(("answer", "means", "because"), [*rows, *_TABLE])


def _when(when: When) -> str:
    said = []
    if when.status is not None:
        status = when.status if isinstance(when.status, tuple) else (when.status,)
        said.append(f"status {' or '.join(map(str, status))}")
    place = next(
        (f"{kind} `{getattr(when, kind)}`" for kind in ("path", "xpath", "header") if getattr(when, kind)), None
    )
    tests = []
    if when.equals is not None:
        tests.append(f"is `{_word(when.equals)}`")
    if when.one_of is not None:
        tests.append("is one of " + ", ".join(f"`{_word(one)}`" for one in when.one_of))
    if when.pattern is not None:
        tests.append(f"matches `{when.pattern}`")
    if when.exists is not None:
        tests.append("is there" if when.exists else "is not there")
    if place is not None:
        said.append(f"{place} {' and '.join(tests) or 'is there and not false'}")
    if when.keyword is not None:
        said.append(f"the words `{when.keyword}` anywhere, in any case")
    return ", and ".join(said)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _extracted(rule: ResponseRule) -> str:
    names = ("price", "reason", "reference", "redirect_url")
    return ", ".join(f"{name.replace('_', ' ')} at `{getattr(rule, name)}`" for name in names if getattr(rule, name))


def _trouble(endpoint: Endpoint) -> Iterator[Block]:
    yield Heading(3, "When something goes wrong")
    retry = endpoint.retry
    backoff = format_duration(retry.backoff)
    lines = [
        f"What you certainly did not get we send up to {retry.attempts} times, {backoff} apart at first, then twice as"
        " long each time; `Retry-After` is kept to."
        if retry.attempts > 1
        else "What you certainly did not get is not sent to you again.",
        "A repeat has the same bytes and the same `Idempotency-Key`.",
        _KNOWS_AGAIN if endpoint.idempotent else _KNOWS_NOT,
    ]
    if endpoint.in_doubt_resolves is not None:
        lines.append(
            f"One that stays in doubt counts as {endpoint.in_doubt_resolves} after"
            f" {format_duration(endpoint.in_doubt_after)}, unless you or we say otherwise before."
        )
    else:
        lines.append("One that stays in doubt is held until you or we say what became of it.")
    yield bullets(lines)


# -- the buyer's own calls -----------------------------------------------------------------------


def _own(buyer: Buyer) -> Iterable[Block]:
    if not buyer.token_sha256:
        return
    yield Heading(2, "What you can ask us")
    rows = [
        ("`GET /v1/deliveries?since=`", "your deliveries, oldest first"),
        (
            "`POST /v1/deliveries/{id}:resolve`",
            '`{"outcome": "accepted"}` or `"rejected"`: what became of one in doubt',
        ),
    ]
    if any(contract.returns is not None for contract in buyer.contracts):
        rows.append(("`POST /v1/returns`", "`{delivery_id, reason, note}`: give a lead back"))
    if "pause" in buyer.permissions:
        rows.append(("`POST /v1/contracts/{id}:pause`, `:resume`", "stop and start your own contracts"))
    yield table(("", ""), rows)
    yield Text("With `Authorization: Bearer YOUR_TOKEN`.")

"""Every route of both listeners, once: the listeners dispatch by this table and the OpenAPI document is made from it.

A path holds at most one `{id}`, which is one path segment; what follows it (`:pause`, `/trace`) names the action. So
finding a route is one dict lookup, or one prefix and a handful of suffixes.
"""

from collections.abc import Iterable
from typing import Final, Literal
from urllib.parse import unquote

from msgspec import Struct, structs

from router.web.auth import ROLES, Who

ListenerName = Literal["intake", "admin"]

SOURCE: Final = frozenset({Who.SOURCE})
BUYER: Final = frozenset({Who.BUYER})
AUDITOR: Final = frozenset({Who.AUDITOR})
OPERATOR: Final = frozenset({Who.OPERATOR})
ADMIN: Final = frozenset({Who.ADMIN})
_INTAKE: Final[frozenset[ListenerName]] = frozenset({"intake", "admin"})
_ADMIN: Final[frozenset[ListenerName]] = frozenset({"admin"})

#: Content types of a lead, and of an operator's small JSON bodies.
LEAD_TYPES: Final = ("application/json", "application/x-www-form-urlencoded")
NDJSON_TYPES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")
JSON_TYPES: Final = ("application/json",)


class Parameter(Struct, frozen=True):
    """One query parameter or request header."""

    name: str
    says: str
    place: Literal["query", "header"] = "query"


class Route(Struct, frozen=True, kw_only=True):
    """One method of one path.

    `handler` names the function of the listener that serves it, and is the operation's id in the OpenAPI document.
    `allowed` says who may call it (an operator's role holds the lower ones), none: anybody. `body` and the texts in
    `answers` name schemas of the document; an answer's text without a schema is a description.
    """

    method: str
    path: str
    handler: str
    says: str
    listeners: frozenset[ListenerName]
    allowed: frozenset[Who] | None
    parameters: tuple[Parameter, ...] = ()
    body: str | None = None
    body_types: tuple[str, ...] = ()
    body_required: bool = True
    answers: dict[int, tuple[str, str]] = {}  # status -> (description, `Schema`, `One|Other`, or content type)
    problems: tuple[int, ...] = ()


#: In `/v1/contracts/{id}` the kind starts here; every path with an id looks like this.
_KIND_AT: Final = len("/v1/")

_KEY = Parameter(
    "Idempotency-Key", "1 to 255 visible ASCII characters or spaces; the source's own, kept 7 days", "header"
)
_PREFER = Parameter(
    "Prefer", "`respond-async`: answer when durable; `wait=N`: wait up to N seconds for the sale, at most 60", "header"
)
_TAKING = (400, 401, 403, 409, 411, 413, 415, 422, 429, 503)
_ACTING = (400, 401, 403, 404, 411, 413, 415, 422)
_READING = (400, 401, 403, 404)


def _pausing(kind: str, verb: str) -> Route:
    """`POST /v1/contracts/{id}:pause` and its likes; a buyer may have it for its own contracts."""
    own = kind == "contract"
    whose = "a source" if kind == "source" else f"a {kind}"
    return Route(
        method="POST",
        path=f"/v1/{kind}s/{{id}}:{verb}",
        handler=f"{verb}_{kind}",
        says=f"Stop leads: pause {whose}" if verb == "pause" else f"Take back the pause of {whose}",
        listeners=_INTAKE if own else _ADMIN,
        allowed=OPERATOR | BUYER if own else OPERATOR,
        body="Pause" if verb == "pause" else "Resume",
        body_types=JSON_TYPES,
        body_required=False,
        answers={200: ("done", "Paused" if verb == "pause" else "Resumed")},
        problems=_ACTING,
    )


def _overriding(kind: str, verb: str) -> Route:
    """`POST /v1/contracts/{id}:override` and its likes."""
    override = verb == "override"
    return Route(
        method="POST",
        path=f"/v1/{kind}s/{{id}}:{verb}",
        handler=f"{verb}_{kind}",
        says=f"Set other limits for a {kind} until an instant" if override else f"Take back what was set for a {kind}",
        listeners=_ADMIN,
        allowed=OPERATOR,
        body="Override" if override else None,
        body_types=JSON_TYPES,
        body_required=override,
        answers={200: ("done", "Overridden" if override else "Restored")},
        problems=_ACTING,
    )


def _report(name: str, says: str) -> Route:
    """`GET /v1/reports/NAME`: made in a process of its own."""
    return Route(
        method="GET",
        path=f"/v1/reports/{name}",
        handler=f"report_{name.replace('-', '_')}",
        says=says,
        listeners=_ADMIN,
        allowed=AUDITOR,
        parameters=(Parameter("since", "RFC 3339; without it: the last 30 days"),),
        answers={200: ("the report", "Report")},
        problems=(400, 401, 403, 503),
    )


ROUTES: Final = (
    Route(
        method="POST",
        path="/v1/leads",
        handler="post_lead",
        says="Give one lead; it is durable before the answer",
        listeners=_INTAKE,
        allowed=SOURCE,
        parameters=(_KEY, _PREFER),
        body="Lead",
        body_types=LEAD_TYPES,
        answers={
            201: ("sold, unsold, duplicate, in_doubt or expired", "LeadAnswer"),
            202: ("routing or queued: ask again with GET", "LeadAnswer"),
        },
        problems=_TAKING,
    ),
    Route(
        method="POST",
        path="/v1/leads:batch",
        handler="post_batch",
        says="Give up to 10,000 leads, one a line; the answer has a line for each, in order, as they are done",
        listeners=_INTAKE,
        allowed=SOURCE,
        parameters=(_KEY, _PREFER),
        body="Lead",
        body_types=NDJSON_TYPES,
        answers={200: ("one LeadAnswer or Problem a line, each with `line` and `status_code`", "application/x-ndjson")},
        problems=(400, 401, 403, 411, 415, 503),
    ),
    Route(
        method="GET",
        path="/v1/leads/{id}",
        handler="get_lead",
        says="A source: its own lead as it is now. An operator (admin listener): everything about any lead",
        listeners=_INTAKE,
        allowed=SOURCE | AUDITOR,
        answers={200: ("the lead, or for an operator its trace", "LeadAnswer|Trace")},
        problems=(401, 403, 404),
    ),
    Route(
        method="GET",
        path="/v1/deliveries",
        handler="get_deliveries",
        says="A buyer's own deliveries since an instant, oldest first",
        listeners=_INTAKE,
        allowed=BUYER,
        parameters=(Parameter("since", "RFC 3339; without it: the last 24 hours"),),
        answers={200: ("the deliveries", "Deliveries")},
        problems=(400, 401, 403),
    ),
    Route(
        method="POST",
        path="/v1/deliveries/{id}:resolve",
        handler="resolve_delivery",
        says="Say what became of a delivery in doubt: a buyer of its own, an operator of any",
        listeners=_INTAKE,
        allowed=BUYER | OPERATOR,
        body="Resolve",
        body_types=JSON_TYPES,
        answers={200: ("recorded", "Resolved")},
        problems=(*_ACTING, 409),
    ),
    _pausing("contract", "pause"),
    _pausing("contract", "resume"),
    Route(
        method="GET",
        path="/healthz",
        handler="healthz",
        says="200 while the process lives",
        listeners=_INTAKE,
        allowed=None,
        answers={200: ("alive", "Health")},
    ),
    Route(
        method="GET",
        path="/",
        handler="dashboard",
        says="The dashboard: a page that asks for an operator's token",
        listeners=_ADMIN,
        allowed=None,
        answers={200: ("the page", "text/html")},
    ),
    Route(
        method="GET",
        path="/docs",
        handler="docs",
        says="This document as a page",
        listeners=_ADMIN,
        allowed=None,
        answers={200: ("the page", "text/html")},
    ),
    Route(
        method="GET",
        path="/openapi.json",
        handler="openapi",
        says="This document",
        listeners=_ADMIN,
        allowed=None,
        answers={200: ("OpenAPI 3.1", "application/json")},
    ),
    Route(
        method="GET",
        path="/readyz",
        handler="readyz",
        says="Whether leads are taken and sent, and why not",
        listeners=_ADMIN,
        allowed=None,
        answers={200: ("ready", "Readiness"), 503: ("not ready", "Readiness")},
    ),
    Route(
        method="GET",
        path="/metrics",
        handler="metrics",
        says="Prometheus text",
        listeners=_ADMIN,
        allowed=None,
        answers={200: ("the metrics", "text/plain")},
    ),
    Route(
        method="GET",
        path="/v1/status",
        handler="status",
        says="Live numbers: what the dashboard and `lead-router status` show",
        listeners=_ADMIN,
        allowed=AUDITOR,
        answers={200: ("the numbers", "Status")},
        problems=(401, 403),
    ),
    Route(
        method="POST",
        path="/v1/explain",
        handler="explain",
        says="The full decision about a lead; nothing is recorded, nothing reserved, nobody asked",
        listeners=_ADMIN,
        allowed=AUDITOR,
        body="ExplainLead",
        body_types=LEAD_TYPES,
        answers={200: ("every contract of the lead type, every failure", "Decision")},
        problems=(400, 401, 403, 411, 413, 415, 422),
    ),
    Route(
        method="GET",
        path="/v1/leads",
        handler="search_leads",
        says="Find leads, newest first, a page at a time",
        listeners=_ADMIN,
        allowed=AUDITOR,
        parameters=(
            Parameter("phone", "in any usual form"),
            Parameter("email", "compared without case"),
            Parameter("source", "a source's id"),
            Parameter("status", "a lead's status"),
            Parameter("since", "RFC 3339: received since then"),
            Parameter("limit", "leads a page, 1 to 500; 50 without it"),
            Parameter("cursor", "`next_cursor` of the page before"),
        ),
        answers={200: ("a page of leads", "FoundLeads")},
        problems=(400, 401, 403),
    ),
    Route(
        method="GET",
        path="/v1/leads/{id}/trace",
        handler="trace_lead",
        says="Everything about a lead: decisions, deliveries, attempts, and why each was allowed",
        listeners=_ADMIN,
        allowed=AUDITOR,
        parameters=(Parameter("contract", "this contract alone, whoever it is"),),
        answers={200: ("the trace", "Trace")},
        problems=_READING,
    ),
    Route(
        method="POST",
        path="/v1/leads/{id}:reroute",
        handler="reroute_lead",
        says="Route a lead again now",
        listeners=_ADMIN,
        allowed=OPERATOR,
        body_types=JSON_TYPES,
        body_required=False,
        answers={200: ("on its way again", "LeadAnswer")},
        problems=(401, 403, 404, 409, 503),
    ),
    Route(
        method="POST",
        path="/v1/wallets/{id}:deposit",
        handler="deposit",
        says="Put money into a buyer's wallet; a reference is booked once",
        listeners=_ADMIN,
        allowed=ADMIN,
        body="Deposit",
        body_types=JSON_TYPES,
        answers={200: ("booked", "Deposited")},
        problems=(*_ACTING, 409, 503),
    ),
    Route(
        method="POST",
        path="/v1/suppressions",
        handler="suppress",
        says="Never send this person to anybody, by phone, e-mail or both; what is on its way to a buyer arrives",
        listeners=_ADMIN,
        allowed=OPERATOR,
        body="Suppression",
        body_types=JSON_TYPES,
        answers={201: ("recorded", "Suppressed")},
        problems=(*_ACTING, 503),
    ),
    Route(
        method="GET",
        path="/v1/contracts",
        handler="get_contracts",
        says="Every contract: terms in short and live state",
        listeners=_ADMIN,
        allowed=AUDITOR,
        answers={200: ("the contracts", "Contracts")},
        problems=(401, 403),
    ),
    Route(
        method="GET",
        path="/v1/contracts/{id}",
        handler="get_contract",
        says="One contract: terms and live state, each cap's used, held, limit and resets_at",
        listeners=_ADMIN,
        allowed=AUDITOR,
        answers={200: ("the contract", "Contract")},
        problems=(401, 403, 404),
    ),
    Route(
        method="PUT",
        path="/v1/buyers/{id}",
        handler="put_buyer",
        says="Onboard or change a buyer: its record is judged, kept, and live in one step",
        listeners=_ADMIN,
        allowed=ADMIN,
        parameters=(Parameter("dry_run", "1: only check, and show in words and numbers what would change"),),
        body="Buyer",
        body_types=JSON_TYPES,
        answers={200: ("changed, or tried out", "Placed"), 201: ("a new buyer", "Placed")},
        problems=(400, 401, 403, 409, 411, 413, 415, 422, 503),
    ),
    Route(
        method="POST",
        path="/v1/buyers/{id}:certify",
        handler="certify_buyer",
        says="Post made-up test leads to the test_url of each endpoint and report every step",
        listeners=_ADMIN,
        allowed=OPERATOR,
        body="Certify",
        body_types=JSON_TYPES,
        body_required=False,
        answers={200: ("what came of each endpoint", "Certification")},
        problems=(*_ACTING, 503),
    ),
    _pausing("buyer", "pause"),
    _pausing("buyer", "resume"),
    _pausing("source", "pause"),
    _pausing("source", "resume"),
    _overriding("contract", "override"),
    _overriding("contract", "restore"),
    _overriding("buyer", "override"),
    _overriding("buyer", "restore"),
    _report("acceptance", "How each contract's buyer answered: rates, reasons, by source"),
    _report("near-misses", "Leads that stayed unsold for one rule of a contract that covers them"),
    _report("coverage", "Who covers what, and the postal codes nobody or one buyer covers, by leads"),
    Route(
        method="GET",
        path="/v1/events",
        handler="get_events",
        says="What happens, as it happens: decision, outcome, paused, resumed, certified, terms and alert events",
        listeners=_ADMIN,
        allowed=AUDITOR,
        parameters=(Parameter("Last-Event-ID", "go on after this event, as far as it is still there", "header"),),
        answers={200: ("server-sent events; a listener that does not keep up is dropped", "text/event-stream")},
        problems=(401, 403, 503),
    ),
    Route(
        method="GET",
        path="/v1/alerts",
        handler="get_alerts",
        says="What needs somebody: open alerts, oldest first, each with what to do",
        listeners=_ADMIN,
        allowed=AUDITOR,
        answers={200: ("the alerts", "Alerts")},
        problems=(401, 403),
    ),
    Route(
        method="GET",
        path="/v1/terms",
        handler="get_terms",
        says="The terms version in force",
        listeners=_ADMIN,
        allowed=AUDITOR,
        answers={200: ("the version", "Terms")},
        problems=(401, 403),
    ),
    Route(
        method="GET",
        path="/v1/terms/{id}",
        handler="get_terms_version",
        says="The terms of a version, in pieces as the ledger keeps them; `current` is the one in force",
        listeners=_ADMIN,
        allowed=ADMIN,
        answers={200: ("every piece by its address, the hash of it", "TermsPieces")},
        problems=_READING,
    ),
    Route(
        method="POST",
        path="/v1/terms:reload",
        handler="reload_terms",
        says="Load the configuration anew: all of it or nothing",
        listeners=_ADMIN,
        allowed=ADMIN,
        body_types=JSON_TYPES,
        body_required=False,
        answers={200: ("in force", "Terms")},
        problems=(401, 403, 422),
    ),
    Route(
        method="POST",
        path="/v1/terms:check",
        handler="check_terms",
        says="What a reload would find: nothing changes",
        listeners=_ADMIN,
        allowed=OPERATOR,
        parameters=(Parameter("diff", "1: show in words and numbers what a reload would change"),),
        body_types=JSON_TYPES,
        body_required=False,
        answers={200: ("the findings; `ok` when a reload would pass", "Findings")},
        problems=(400, 401, 403),
    ),
)


def for_listener(route: Route, listener: ListenerName) -> Route:
    """The route as that listener serves it: on intake, which may face the world, operators have no powers."""
    if listener == "admin" or route.allowed is None:
        return route
    return structs.replace(route, allowed=route.allowed.difference(ROLES))


class Found(Struct, frozen=True):
    """The routes of an address by method, and the id in it (`""` when it has none)."""

    methods: dict[str, Route]
    id: str = ""


class Table:
    """The routes of one listener, found by path."""

    def __init__(self, listener: ListenerName, routes: Iterable[Route] = ROUTES) -> None:
        self._plain: dict[str, Found] = {}
        self._with_id: dict[str, dict[str, dict[str, Route]]] = {}
        for route in routes:
            if listener in route.listeners:
                self._add(for_listener(route, listener))

    def _add(self, route: Route) -> None:
        """`route` under its path."""
        before, placeholder, after = route.path.partition("{id}")
        if placeholder:
            assert before.find("/", _KIND_AT) == len(before) - 1, f"{route.path}: an id stands after /v1/KIND/"
            methods = self._with_id.setdefault(before, {}).setdefault(after, {})
        else:
            methods = self._plain.setdefault(before, Found({})).methods
        assert route.method not in methods, f"{route.method} {route.path} stands twice in the table"
        methods[route.method] = route

    def find(self, raw_path: str) -> Found | None:
        """What is at this path (still percent-encoded); None when nothing is."""
        found = self._plain.get(raw_path)
        if found is not None:
            return found
        cut = raw_path.find("/", _KIND_AT) + 1
        suffixes = self._with_id.get(raw_path[:cut])
        return None if suffixes is None else _in(suffixes, raw_path[cut:])


def _in(suffixes: dict[str, dict[str, Route]], rest: str) -> Found | None:
    """`rest` is an id with one of the suffixes behind it; a named suffix wins over none."""
    for suffix, methods in suffixes.items():
        if suffix and rest.endswith(suffix):
            return _found(methods, rest.removesuffix(suffix))
    return _found(suffixes[""], rest) if "" in suffixes else None


def _found(methods: dict[str, Route], raw_id: str) -> Found | None:
    if not raw_id or "/" in raw_id:
        return None
    return Found(methods, unquote(raw_id))

"""The words of the configuration: one struct a TOML table, exactly as an operator writes them.

Nothing here computes. `terms.load` fills these structs strictly, `terms.check` judges them together,
`terms.compile` turns them into the Book that routing reads. Long lists of postal codes are held packed (`terms.codes`).
Absent optional tables are `None`: a rule that is not written is not enforced.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.structs import force_setattr

from router.model.money import Money
from router.model.times import NS_HOUR, NS_MINUTE, NS_MS, NS_S, Duration
from router.terms.codes import packed

Scalar = str | int | float | bool

FieldType = Literal[
    "string", "phone", "email", "postal_code", "state", "country", "integer", "number", "boolean",
    "date", "datetime", "enum", "url", "ip",
]  # fmt: skip
Per = Literal["minute", "hour", "day", "week", "month", "total"]
Method = Literal["price", "priority", "weighted", "percentage", "round_robin", "distance"]
Metric = Literal["acceptance_rate", "error_rate", "timeout_rate", "late_rate", "return_rate", "latency_p95"]
AfterBlock = Literal["skip", "queue"]
Status = Literal["draft", "live", "paused", "closed"]
Certificate = Literal["trustedform", "jornaya"]


class Table(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, gc=False):
    """A TOML table with exactly these keys. A tree, so the garbage collector need not look at a million of them."""


# -- router.toml ---------------------------------------------------------------------------------


class Server(Table, kw_only=True, frozen=True):
    """`[server]`: where the daemon listens and what it bears."""

    intake: tuple[str, ...] = ("127.0.0.1:8080", "unix:lead-router.sock")
    admin: tuple[str, ...] = ("127.0.0.1:8081",)
    body_max: str = "64KiB"
    connections_max: int = 4096
    drain: Duration = Duration(30 * NS_S)


class LedgerTerms(Table, kw_only=True, frozen=True):
    """`[ledger]`."""

    retention_pii: Duration = Duration(90 * 24 * NS_HOUR)
    snapshot_every: Duration = Duration(60 * NS_S)


class Onboarding(Table, kw_only=True, frozen=True):
    """`[onboarding]`."""

    require_certified: bool = False
    certify_every: Duration | None = None


class Webhook(Table, kw_only=True, frozen=True):
    """`webhook = { url, secret }` of `[alerts]`."""

    url: str
    secret: str


class Alerts(Table, kw_only=True, frozen=True):
    """`[alerts]`."""

    webhook: Webhook | None = None


class Network(Table, kw_only=True, frozen=True):
    """`[network]`: which addresses endpoints may reach."""

    allow_private: tuple[str, ...] = ()
    allow_http: bool = False


class Limits(Table, kw_only=True, frozen=True):
    """`[limits]` of the whole process."""

    in_flight_max: int = 2000
    queue_max: int = 100_000


class Defaults(Table, kw_only=True, frozen=True):
    """`[defaults]` for what a file does not say."""

    country: str = "US"
    currency: str = "USD"
    time_zone: str = "America/New_York"


class Operator(Table, kw_only=True, frozen=True):
    """One `[operators]` entry: who may use the admin listener, and as what."""

    token_sha256: str
    role: Literal["auditor", "operator", "admin"]


class RouterTerms(Table, kw_only=True, frozen=True):
    """`router.toml`."""

    server: Server = Server()
    ledger: LedgerTerms = LedgerTerms()
    onboarding: Onboarding = Onboarding()
    alerts: Alerts = Alerts()
    network: Network = Network()
    limits: Limits = Limits()
    defaults: Defaults = Defaults()
    operators: dict[str, Operator] = field(default_factory=dict)


# -- lead_types/*.toml ---------------------------------------------------------------------------


class FieldTerms(Table, kw_only=True, frozen=True):
    """One `[fields.NAME]` of a lead type's schema."""

    type: FieldType
    required: bool = False
    personal: bool | UnsetType = UNSET
    min: float | int | None = None
    max: float | int | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    one_of: tuple[str, ...] | None = None
    line_types: tuple[str, ...] | None = None


class IntakeDedup(Table, kw_only=True, frozen=True):
    """`[dedup]` of a lead type: one consumer, once. `keys` is an OR of ANDs."""

    keys: tuple[tuple[str, ...], ...]
    window: Duration
    counts: Literal["received", "sold"] = "received"


class Sell(Table, kw_only=True, frozen=True):
    """`[sell]`."""

    mode: Literal["exclusive", "shared", "best"] = "exclusive"
    max_copies: int = 1
    parallel: int = 1
    floor: Money | None = None
    margin_floor: Money | None = None


class Tier(Table, kw_only=True, frozen=True):
    """One `[[tiers]]` entry."""

    name: str
    method: Method = "price"
    secondary: Method | None = None


class Queue(Table, kw_only=True, frozen=True):
    """`[queue]`."""

    hold_max: Duration


class LeadType(Table, kw_only=True, frozen=True):
    """One `lead_types/*.toml`."""

    id: str
    deadline: Duration = Duration(20 * NS_S)
    max_age: Duration | None = None
    unknown_fields: Literal["refuse", "drop", "keep"] = "refuse"
    fields: dict[str, FieldTerms] = field(default_factory=dict)
    dedup: IntakeDedup | None = None
    sell: Sell = Sell()
    tiers: tuple[Tier, ...] = ()
    queue: Queue | None = None


# -- sources/*.toml ------------------------------------------------------------------------------


class Payout(Table, kw_only=True, frozen=True):
    """`payout = { solar = { amount = "12.00", per = "sold_copy" } }`; plain text means per accepted lead."""

    amount: Money
    per: Literal["accepted_lead", "sold_copy"] = "accepted_lead"


class Cap(Table, kw_only=True, frozen=True):
    """A limit per window, on leads (`limit`) or money (`spend`), never both."""

    id: str | None = None
    per: Per
    limit: int | None = None
    spend: Money | None = None
    window: Literal["calendar", "rolling"] = "calendar"


class Rate(Table, kw_only=True, frozen=True):
    """A token bucket: `leads` tokens come back per `per`, at most `burst` are kept (default: `leads`)."""

    leads: int
    per: Literal["second", "minute", "hour", "day"]
    burst: int | None = None


class Source(Table, kw_only=True, frozen=True):
    """One `sources/*.toml`."""

    id: str
    token_sha256: tuple[str, ...] = ()
    status: Literal["live", "paused"] = "live"
    lead_types: tuple[str, ...] = ()
    payout: dict[str, Payout] = field(default_factory=dict)
    caps: tuple[Cap, ...] = ()
    rate: Rate | None = None
    reply: Literal["final", "accepted"] = "final"
    wait: Duration = Duration(15 * NS_S)
    idempotency: Literal["optional", "required"] = "optional"
    map: dict[str, str] = field(default_factory=dict)
    returns_to_source: bool = False
    adapter: Literal["native", "meta", "google", "adf"] = "native"
    adapter_secret: str | None = None
    forms: dict[str, str] = field(default_factory=dict)


# -- buyers/*.toml -------------------------------------------------------------------------------


class Wallet(Table, kw_only=True, frozen=True):
    """`wallet = { mode, credit_limit }`."""

    mode: Literal["none", "prepay", "postpay"] = "none"
    credit_limit: Money | None = None


class Auth(Table, kw_only=True, frozen=True):
    """How a request to an endpoint proves who we are; which keys belong to which `type` is checked."""

    type: Literal["none", "basic", "bearer", "header", "query", "hmac", "oauth2", "mtls"] = "none"
    username: str | None = None
    password: str | None = None
    token: str | None = None
    name: str | None = None
    value: str | None = None
    secrets: tuple[str, ...] | None = None
    token_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    scope: str | None = None
    cert: str | None = None
    key: str | None = None


class Retry(Table, kw_only=True, frozen=True):
    """`attempts` counts all, the first included; `on` lists statuses that certainly mean "not taken"."""

    attempts: int = 2
    backoff: Duration = Duration(500 * NS_MS)
    on: tuple[int, ...] = (429, 503)


class When(Table, kw_only=True, frozen=True):
    """What must all hold for a response rule to match."""

    status: str | int | tuple[int, ...] | None = None
    path: str | None = None
    xpath: str | None = None
    header: str | None = None
    equals: Scalar | None = None
    one_of: tuple[Scalar, ...] | None = None
    exists: bool | None = None
    pattern: str | None = None
    keyword: str | None = None


class ResponseRule(Table, kw_only=True, frozen=True):
    """One `[[endpoints.X.responses]]` entry; the optional texts are paths into the answer."""

    when: When
    outcome: Literal["accepted", "rejected", "duplicate", "failed", "in_doubt"]
    price: str | None = None
    reason: str | None = None
    reference: str | None = None
    redirect_url: str | None = None


class Ping(Table, kw_only=True, frozen=True):
    """`[endpoints.X.ping]`: ask for a bid first, without personal data."""

    url: str
    timeout: Duration = Duration(800 * NS_MS)
    body: dict[str, object] = field(default_factory=dict)
    bid: str
    reference: str | None = None


class Endpoint(Table, kw_only=True, frozen=True):
    """One `[endpoints.X]`: how a buyer is reached. Leaf texts of `body` are templates."""

    url: str
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    format: Literal["json", "form", "query", "xml", "soap"] = "json"
    timeout: Duration = Duration(5 * NS_S)
    connect_timeout: Duration = Duration(2 * NS_S)
    idempotent: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    auth: Auth = Auth()
    retry: Retry = Retry()
    test_url: str | None = None
    body: dict[str, object] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    responses: tuple[ResponseRule, ...] = ()
    ping: Ping | None = None
    in_doubt_resolves: Literal["accepted", "rejected"] | None = None
    in_doubt_after: Duration = Duration(6 * NS_HOUR)


class Criterion(Table, kw_only=True, frozen=True):
    """A node of a criteria tree: exactly one of a leaf (`field` and a test), `all`, `any` or `not`."""

    field_: str | None = field(name="field", default=None)
    min: Scalar | None = None
    max: Scalar | None = None
    equals: Scalar | None = None
    one_of: tuple[Scalar, ...] | None = None
    not_one_of: tuple[Scalar, ...] | None = None
    pattern: str | None = None
    missing: Literal["fail", "pass"] = "fail"
    all_: "tuple[Criterion, ...] | None" = field(name="all", default=None)
    any_: "tuple[Criterion, ...] | None" = field(name="any", default=None)
    not_: "Criterion | None" = field(name="not", default=None)


#: Whose earlier deliveries a contract's dedup counts.
Scope = Literal["contract", "buyer", "lead_type"]


class ContractDedup(Table, kw_only=True, frozen=True):
    """`dedup` of a contract. `scope` says whose earlier deliveries count, `counts` which of them."""

    keys: tuple[tuple[str, ...], ...]
    window: Duration
    scope: Scope = "contract"
    counts: Literal["accepted", "delivered"] = "accepted"


class Ramp(Table, kw_only=True, frozen=True):
    """The day cap grows: on local day d after go_live it is `start + step * (d // every)`, at most `until`."""

    start: int
    step: int
    every: Duration = Duration(24 * NS_HOUR)
    until: int | None = None
    hold_below_acceptance: float | None = None


class Schedule(Table, kw_only=True, frozen=True):
    """Open hours on local wall time: `"Mon-Fri 08:00-18:00"`; `22:00-02:00` crosses midnight. None said: always."""

    open: tuple[str, ...] = ("00:00-24:00",)
    closed_dates: tuple[str, ...] = ()
    when_closed: AfterBlock = "skip"


class Radius(Table, kw_only=True, frozen=True):
    """Every US postal code whose centre lies within `miles` of that of `center`."""

    center: str
    miles: float | int


class Exclude(Table, kw_only=True, frozen=True):
    """What coverage leaves out; wins over everything, `everywhere` included."""

    postal_codes: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class CoverageTerms(Table, kw_only=True, frozen=True):
    """`[contracts.coverage]`."""

    country: str | None = None
    postal_codes: Sequence[str] = ()
    states: tuple[str, ...] = ()
    counties: tuple[str, ...] = ()
    cities: tuple[str, ...] = ()
    radius: tuple[Radius, ...] = ()
    files: tuple[str, ...] = ()
    exclude: Exclude = Exclude()
    everywhere: bool = False

    def __post_init__(self) -> None:
        force_setattr(self, "postal_codes", packed(self.postal_codes))


class FieldRule(Table, kw_only=True, frozen=True):
    """One `[contracts.fields.rules]` entry; applies only where the field is present."""

    min: Scalar | None = None
    max: Scalar | None = None
    min_length: int | None = None
    max_length: int | None = None
    one_of: tuple[Scalar, ...] | None = None
    not_one_of: tuple[Scalar, ...] | None = None
    pattern: str | None = None
    max_age: int | None = None
    min_age: int | None = None
    line_types: tuple[str, ...] | None = None
    not_domains: tuple[str, ...] | None = None


class AcceptedFields(Table, kw_only=True, frozen=True):
    """`[contracts.fields]`: only these are sent."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    rules: dict[str, FieldRule] = field(default_factory=dict)


class ConsentTerms(Table, kw_only=True, frozen=True):
    """`[contracts.consent]`."""

    required: bool = True
    certificates: tuple[Certificate, ...] = ()
    max_age: Duration | None = None
    names_seller: str | None = None
    text: bool = False


class Guard(Table, kw_only=True, frozen=True):
    """One SLA guard; `over` is a duration text or the last N outcomes; rates are shares, latency_p95 duration texts."""

    metric: Metric
    over: str | int
    min_sample: int = 1
    trip: float | str
    recover: float | str | None = None
    action: Literal["warn", "throttle", "pause"] = "warn"
    throttle_to: float | None = None
    cool_down: Duration = Duration(10 * NS_MINUTE)
    probes: int = 3


class Sla(Table, kw_only=True, frozen=True):
    """`[contracts.sla]`."""

    max_lead_age: Duration | None = None
    deliver_within: Duration | None = None
    guards: tuple[Guard, ...] = ()


class Returns(Table, kw_only=True, frozen=True):
    """`[contracts.returns]`."""

    window: Duration
    reasons: tuple[str, ...]
    max_rate: float | None = None
    auto: bool = False
    frees_cap: bool = False


class Contract(Table, kw_only=True, frozen=True):
    """One `[[contracts]]` entry: one set of a buyer's terms for one lead type."""

    id: str
    lead_type: str
    endpoint: str
    status: Status = "live"
    go_live: str | None = None
    sources: tuple[str, ...] = ("*",)
    exclude_sources: tuple[str, ...] = ()
    tier: str | None = None
    price: Money
    exclusive_price: Money | None = None
    priority: int = 100
    weight: int = 1
    share: float | None = None
    min_bid: Money | None = None
    criteria: tuple[Criterion, ...] = ()
    dedup: ContractDedup | None = None
    caps: tuple[Cap, ...] = ()
    at_cap: AfterBlock = "skip"
    rate: Rate | None = None
    pacing: Literal["even", "asap"] | None = None
    ramp: Ramp | None = None
    schedule: Schedule | None = None
    coverage: CoverageTerms | None = None
    fields: AcceptedFields = AcceptedFields()
    consent: ConsentTerms | None = None
    sla: Sla | None = None
    returns: Returns | None = None


class Buyer(Table, kw_only=True, frozen=True):
    """One `buyers/*.toml` or `$STATE/buyers/*.json`: a buyer's onboarding record."""

    id: str
    name: str
    status: Status = "live"
    time_zone: str | None = None
    token_sha256: tuple[str, ...] = ()
    wallet: Wallet | None = None
    caps: tuple[Cap, ...] = ()
    max_in_flight: int = 64
    permissions: tuple[Literal["pause"], ...] = ()
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    contracts: tuple[Contract, ...] = ()


class Terms(Struct, frozen=True, kw_only=True):
    """Everything an operator wrote, decoded, before it is judged as a whole.

    `places` maps an object (`"buyer:brightroof"`, `"contract:brightroof-tx"`, `"lead_type:solar"`, `"source:acme-web"`)
    to the file it came from, relative to the configuration directory. `lists` holds the text of every file that
    coverage refers to, by the name it is referred to with.
    """

    router: RouterTerms
    lead_types: dict[str, LeadType]
    sources: dict[str, Source]
    buyers: dict[str, Buyer]
    lists: dict[str, str]
    places: dict[str, str]

"""The values a delivery passes through: request, answer or failure, verdict."""

from typing import Final, Literal

from msgspec import Struct

from router.model.codes import Outcome

#: No more of an answer is read, in bytes.
BODY_MAX: Final = 64 * 1024


class ClientIdentity(Struct, frozen=True):
    """The certificate we show in a TLS handshake, and its key, both PEM. Never shown anywhere else."""

    cert: str
    key: str

    def __repr__(self) -> str:
        return "ClientIdentity(...)"


class HttpRequest(Struct, frozen=True, kw_only=True):
    """One attempt's bytes. `url` is absolute with its query; `headers` hold everything but Host and Content-Length.

    `identity` is who we are in the TLS handshake, where the endpoint wants to know.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeout_ns: int
    connect_timeout_ns: int
    identity: ClientIdentity | None = None


class HttpResponse(Struct, frozen=True, kw_only=True):
    """A complete answer. `headers` keep order and case; `body` holds at most 64 KiB, `truncated` if there was more."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    truncated: bool = False
    took_ns: int = 0
    peer: str = ""  # the address actually connected to, "203.0.113.9:443"


#: Stages before any request byte was written prove that the buyer did not take the lead; the later ones do not.
FailureKind = Literal[
    "dns", "connect", "tls", "blocked_address", "no_connection",  # certainly not taken -> failed
    "token", "auth",  # no access token was to be had, or our credentials for one were refused -> failed
    "read_timeout", "connection_lost", "bad_answer", "crash",  # may have been taken -> in_doubt
]  # fmt: skip
CERTAIN_FAILURES: Final = frozenset({"dns", "connect", "tls", "blocked_address", "no_connection", "token", "auth"})


class TransportFailure(Struct, frozen=True, kw_only=True):
    """No complete answer. `detail` says what happened in words for an operator, without lead data."""

    kind: FailureKind
    detail: str
    took_ns: int = 0
    peer: str = ""

    @property
    def certain(self) -> bool:
        """Whether it is certain that no byte of the request left, so that the buyer cannot have the lead."""
        return self.kind in CERTAIN_FAILURES


class Verdict(Struct, frozen=True, kw_only=True):
    """What one attempt means.

    `reason` is the buyer's words or our code (`auth`, `gone`, `contract`, `redirect`, `unclassified`, ...);
    `rule` names what decided (`"responses[0]"` or a row of the built-in table); `price` is minor units.
    `retry_after_ns` is how long the answer asked us to wait. `health` tells the breaker whether the endpoint worked.
    """

    outcome: Outcome
    rule: str
    reason: str | None = None
    price: int | None = None
    reference: str | None = None
    redirect_url: str | None = None
    retry_after_ns: int | None = None
    retryable: bool = False  # `failed` by a status in retry.on or by transport: may be tried again
    healthy: bool = True
    pause: bool = False  # 410: pause the contract at once
    auth_failed: bool = False  # 401/403: five running pause the contract
    sniffed: str | None = None  # "json" | "xml" | "text": how the body was read when the header lied

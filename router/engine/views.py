"""What the engine tells the outside: how a lead stands, and how it says no."""

from msgspec import Struct

from router.model.codes import LeadStatus
from router.terms.problems import Problem


class LeadView(Struct, frozen=True, kw_only=True):
    """How a lead stands. `payout` is minor units; `ended`: nothing more happens by itself."""

    lead_id: str
    source_id: str
    status: LeadStatus
    copies: int = 0
    payout: int = 0
    reason: str | None = None
    redirect_url: str | None = None
    ended: bool = False


class KnownRequest(Struct, frozen=True):
    """A request that was taken before. `answering`: its first answer has not been given yet by this process."""

    lead_id: str
    body_sha256: bytes
    answering: bool


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure
    """The engine says no: an HTTP status, a stable code, words, and after how many seconds to try again."""

    def __init__(self, status: int, code: str, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s


class ReloadResult(Struct, frozen=True, kw_only=True):
    """What a reload came to; with errors among the problems nothing changed."""

    version: str
    changed: bool
    problems: tuple[Problem, ...] = ()

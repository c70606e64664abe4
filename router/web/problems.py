"""Every "no" the HTTP side can say, in one table, as RFC 9457 `application/problem+json`.

A problem never repeats a value somebody sent: `detail` and `errors` name the place and the mend. Handlers raise
`Problem`; the one place that translates it into an answer is `Listener` (and a line of a batch).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from router.core.intake.refusal import FieldError

PROBLEM_JSON: Final = "application/problem+json"

#: code -> (status, title). The codes are public: clients branch on them.
PROBLEMS: Final[dict[str, tuple[int, str]]] = {
    "bad_framing": (400, "The request is not framed as HTTP wants it"),
    "not_json": (400, "The body is not JSON"),
    "too_deep": (400, "The JSON is nested too deeply"),
    "not_form": (400, "The body is not a form"),
    "bad_parameter": (400, "A query parameter cannot be used"),
    "idempotency_key_invalid": (400, "The Idempotency-Key cannot be used"),
    "idempotency_key_required": (400, "This source must send an Idempotency-Key"),
    "unauthorized": (401, "Who are you?"),
    "forbidden": (403, "This token may not do that"),
    "source_paused": (403, "This source is paused"),
    "lead_type_not_allowed": (403, "This source may not send leads of this type"),
    "not_found": (404, "There is nothing here"),
    "method_not_allowed": (405, "That method is not for this address"),
    "timeout": (408, "The request did not arrive in time"),
    "idempotency_key_in_use": (409, "The same Idempotency-Key is being worked on"),
    "in_flight": (409, "The delivery is in flight"),
    "already_settled": (409, "The delivery has its outcome"),
    "still_routing": (409, "The lead is on its way"),
    "already_sold": (409, "The lead is sold"),
    "erased": (409, "The lead's person was forgotten"),
    "no_wallet": (409, "The buyer has no wallet"),
    "already_booked": (409, "That deposit was booked before"),
    "buyer_in_file": (409, "The buyer stands in a file"),
    "lead_type_gone": (409, "The lead's type is not in the terms"),
    "length_required": (411, "The length of the body is missing"),
    "too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "That content type is not understood here"),
    "lead_invalid": (422, "The lead does not fit its lead type"),
    "not_an_object": (422, "The body is not a JSON object"),
    "duplicate_key": (422, "A key is given twice"),
    "control_character": (422, "Text holds control characters"),
    "invalid": (422, "The content does not fit"),
    "terms_invalid": (422, "The configuration cannot be used"),
    "idempotency_key_reused": (422, "The Idempotency-Key was used with another body"),
    "source_rate_limited": (429, "Too many leads from this source just now"),
    "source_cap_reached": (429, "This source has reached its cap"),
    "internal": (500, "Something went wrong on our side"),
    "overloaded": (503, "Too much is waiting"),
    "draining": (503, "The router is stopping or starting"),
    "report_failed": (503, "The report could not be made"),
    "ledger_unavailable": (503, "The ledger cannot be written"),
    "http_version": (505, "HTTP 1.0 and 1.1 are spoken here"),
}
#: The code to use for a status when the one given is not in the table.
_BY_STATUS: Final = {status: code for code, (status, _) in reversed(PROBLEMS.items())}


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """A request is refused. `code` is a key of `PROBLEMS`, whose status holds unless `status` says otherwise.

    `detail` is for whoever sent the request; `retry_after_s` becomes Retry-After (whole seconds, at least 1).
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Iterable[FieldError] = (),
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(code)
        known = PROBLEMS.get(code)
        self.code = code
        self.status = status or (known[0] if known else 500)
        self.title = known[1] if known else PROBLEMS[_BY_STATUS.get(self.status, "internal")][1]
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = None if retry_after_s is None else max(1, int(-(-retry_after_s // 1)))
        self.headers = dict(headers or {})
        self.hint = hint

    def plain(self) -> dict[str, Any]:
        """The problem as the members of its JSON object."""
        said: dict[str, Any] = {
            "type": f"urn:lead-router:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail or self._faults() or f"{self.title}.",
        }
        if self.hint:
            said["hint"] = self.hint
        if self.retry_after_s is not None:
            said["retry_after"] = self.retry_after_s
        if self.errors:
            said["errors"] = [{"field": at.field, "code": at.code, "message": at.message} for at in self.errors]
        return said

    def _faults(self) -> str:
        """The first fields at fault in a sentence, for whoever reads only that."""
        return "; ".join(
            f"`{at.field}` {at.message}" if at.field else f"The body {at.message}" for at in self.errors[:3]
        )

    def body(self) -> bytes:
        """The problem as JSON."""
        return orjson.dumps(self.plain())

    def answer(self) -> web.Response:
        """The problem as a whole HTTP answer."""
        headers = {"Content-Type": PROBLEM_JSON, "Cache-Control": "no-store", **self.headers}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return web.Response(status=self.status, body=self.body(), headers=headers)

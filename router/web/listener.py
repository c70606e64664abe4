"""A listener: from a request to its handler, and from whatever the handler raises to a problem.

This is the one place where exceptions become answers. What is not foreseen is a 500 whose log line names the place in
the code but not the message, because messages may hold what somebody sent.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from router.engine import Engine, Refused
from router.ledger.protocol import LedgerError, LedgerFull
from router.metrics import Metrics
from router.web.auth import authenticate
from router.web.exchange import Exchange
from router.web.problems import Problem
from router.web.routes import Found, ListenerName, Table

Handler = Callable[[Exchange], Awaitable[web.StreamResponse]]

_log: Final = logging.getLogger("router.web")
_LEDGER_RETRY_S: Final = 5.0


class Listener:
    """The routes of one listener bound to what serves them."""

    def __init__(self, name: ListenerName, engine: Engine, handlers: Mapping[str, Handler], metrics: Metrics) -> None:
        """`handlers` holds a function for the `handler` of every route in the table."""
        self._metrics = metrics
        self._table = Table(name)
        self._engine = engine
        self._handlers = handlers

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is. Raises only what means that the connection is gone."""
        try:
            return await self._serve(request)
        except ConnectionError:
            raise
        except Exception as error:
            problem = problem_of(error)
            self._metrics.refused(problem.code)
            return problem.answer()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        found = self._table.find(request.rel_url.raw_path)
        if found is None:
            raise Problem("not_found", "There is no such address; /openapi.json on the admin listener lists all.")
        route = found.methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            allowed = _allow(found)
            raise Problem("method_not_allowed", f"This address takes {allowed}.", headers={"Allow": allowed})
        who = None
        if route.allowed is not None:
            who = authenticate(self._engine.book, request.headers.getall("Authorization", ()), route.allowed)
        return await self._handlers[route.handler](Exchange(request, who, found.id))


def _allow(found: Found) -> str:
    methods = sorted(found.methods)
    return ", ".join([*methods, "HEAD"] if "GET" in found.methods else methods)


def problem_of(error: Exception) -> Problem:
    """What an exception means to whoever sent the request; the unforeseen is logged and becomes a 500."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refused):
        return Problem(error.code, error.detail, status=error.status, retry_after_s=error.retry_after_s)
    if isinstance(error, LedgerError):
        what = "The disk is full" if isinstance(error, LedgerFull) else "The ledger has failed"
        return Problem("ledger_unavailable", f"{what}: nothing was taken.", retry_after_s=_LEDGER_RETRY_S)
    if isinstance(error, web.RequestPayloadError):
        return Problem("bad_framing", "The body broke off or is not framed as its headers say.")
    _log.error("unforeseen", extra={"error": type(error).__name__, "places": places(error)})
    return Problem("internal", "The operator finds it in the log. Nothing was taken unless an earlier answer said so.")


def places(error: BaseException) -> list[str]:
    """Where an exception came from, innermost last: `engine.submit:120`. Never its message or any value."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{frame.filename.rpartition('/')[2].removesuffix('.py')}.{frame.name}:{frame.lineno}" for frame in frames]

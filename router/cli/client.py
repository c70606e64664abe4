"""A small HTTP client for a person at a terminal: the standard library's, over TCP or a unix socket.

One connection a call: a command makes a handful of calls, and a connection that was kept could have died meanwhile.
"""

import argparse
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from router.cli.exits import NO, UNREACHABLE, USAGE, CommandError

TIMEOUT_S: Final = 120.0
_JSON: Final = "application/json"


class Answer:
    """A complete answer: `status`, `headers` with lower-case names, `body`."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    def json(self) -> Any:
        """The body as JSON. Raises CommandError when it is something else: then no lead-router answered."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise CommandError(
                UNREACHABLE, f"the answer (status {self.status}) is not JSON", "Is --url that of a lead-router?"
            ) from None


class Daemon:
    """The daemon, as the options say where it is."""

    def __init__(self, options: argparse.Namespace) -> None:
        """`options` holds what `options.daemon` declares. Raises CommandError for an address that is none."""
        parts = urlsplit(options.url)
        self._socket: Path | None = options.socket
        self._token: str | None = options.token
        self._tls = parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        try:
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            self._host, self._port = "", None
        if parts.scheme not in ("http", "https") or not self._host:
            raise CommandError(USAGE, "--url is not an address", f"It looks like {_EXAMPLE}.")

    def ask(self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """One call with a JSON body (none: no body) -> the JSON answer. Raises CommandError when it says no."""
        answer = self.call(
            method,
            path,
            None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": _JSON, **(headers or {})} if body is not None else headers,
        )
        if answer.status >= 400:
            raise refusal(answer)
        return answer.json()

    def call(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One call -> its whole answer, whatever the status. Raises CommandError when nobody answers."""
        connection, response = self._send(method, path, body, headers)
        try:
            return Answer(response.status, dict(response.getheaders()), response.read())
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def lines(self, path: str, body: bytes, *, headers: Mapping[str, str]) -> Iterator[bytes]:
        """POST -> the answer's lines as they come. Raises CommandError on 4xx and 5xx, or when it breaks off."""
        connection, response = self._send("POST", path, body, headers)
        try:
            if response.status >= 400:
                raise refusal(Answer(response.status, dict(response.getheaders()), response.read()))
            yield from response
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        sent = {"Accept": _JSON, **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request(method, self._prefix + path, body, sent)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from None
        except ValueError:  # a control character in the token
            connection.close()
            raise CommandError(USAGE, "the token holds a character that no token has") from None

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket is not None:
            return _UnixConnection(self._socket)
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=TIMEOUT_S)

    def _unreachable(self, error: Exception) -> CommandError:
        place = str(self._socket) if self._socket else f"{self._host}:{self._port or (443 if self._tls else 80)}"
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        return CommandError(
            UNREACHABLE,
            f"no lead-router answers at {place}: {why}",
            "Start one with `lead-router serve`, or say where it is with --url, --socket or LEAD_ROUTER_URL.",
        )


_EXAMPLE: Final = "http://127.0.0.1:8081"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Open the socket. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def refusal(answer: Answer) -> CommandError:
    """A 4xx or 5xx answer (problem+json) -> the error that says it, with the fields at fault."""
    return CommandError(NO, *_words(answer.status, _problem(answer)))


def _problem(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


_MENDS: Final = {
    401: "Give the token with --token or LEAD_ROUTER_TOKEN; `lead-router token new` makes one.",
    403: "This token's role may not do that; use one whose role may.",
    429: "Too much for now; try again after a moment.",
    503: "The daemon takes nothing just now; `lead-router status` says why.",
}


def _words(status: int, problem: dict[str, Any]) -> tuple[str, str]:
    title = problem.get("detail") or problem.get("title") or "no reason given"
    lines = [f"{title} (status {status}{', ' + str(problem['code']) if problem.get('code') else ''})"]
    for error in problem.get("errors") or ():
        lines.append(f"  {error.get('field', '')}: {error.get('message') or error.get('code', '')}")
    return "\n".join(lines), str(problem.get("hint") or _MENDS.get(status, ""))

"""The sockets the daemon listens on: those systemd opened, and for every other configured address one of our own.

A unix socket left behind by a daemon that died is taken away; one that somebody still listens on is not.
"""

import errno
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from router.daemon.systemd import Passed

_BACKLOG: Final = 4096
UNIX: Final = "unix:"
_MODE: Final = 0o660


class AddressError(Exception):
    """An address cannot be listened on. The message names it; `mend` says what to do."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(f"{message}. {mend}")


class Bound(Struct, frozen=True):
    """A listening socket. `address` is what it is really bound to: `127.0.0.1:8080`, `unix:/var/x.sock`.

    `passed` sockets belong to systemd, which keeps clients waiting in them while we are away.
    """

    socket: socket.socket
    address: str
    passed: bool

    def close(self) -> None:
        """Listen no more; our own unix socket's file goes too."""
        self.socket.close()
        if self.address.startswith(UNIX) and not self.passed:
            with suppress(FileNotFoundError):
                Path(self.address.removeprefix(UNIX)).unlink()


def listen(name: str, addresses: Sequence[str], state_dir: Path, passed: Iterable[Passed]) -> list[Bound]:
    """The sockets of the listener `name`: passed ones of that name or address, and new ones for the other addresses.

    Relative unix paths live in the state directory. Raises AddressError; then nothing stays open.
    """
    wanted = [_absolute(address, state_dir) for address in addresses]
    bound = [
        Bound(one.socket, address_of(one.socket), passed=True)
        for one in passed
        if one.name == name or address_of(one.socket) in wanted
    ]
    taken = {one.address for one in bound}
    try:
        for address in wanted:
            if address not in taken:
                opened = _open_unix(address) if address.startswith(UNIX) else _open_tcp(address)
                bound.append(Bound(opened, address_of(opened), passed=False))
    except AddressError:
        for one in bound:
            if not one.passed:
                one.close()
        raise
    for one in bound:
        one.socket.setblocking(False)
    return bound


def address_of(listening: socket.socket) -> str:
    """What a socket is bound to, written as in `router.toml`."""
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return f"{UNIX}{name}"
    return f"[{name[0]}]:{name[1]}" if listening.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def _absolute(address: str, state_dir: Path) -> str:
    if not address.startswith(UNIX):
        return address
    return f"{UNIX}{(state_dir / address.removeprefix(UNIX)).absolute()}"


def _open_tcp(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = found[0]
        opened = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise AddressError(f"{address} cannot be listened on: {error.strerror}", _CORRECT) from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(place)
        opened.listen(_BACKLOG)
    except OSError as error:
        opened.close()
        raise AddressError(f"{address} cannot be listened on: {error.strerror}", _mend(error)) from None
    return opened


def _open_unix(address: str) -> socket.socket:
    path = Path(address.removeprefix(UNIX))
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _remove_stale(path)
        opened.bind(str(path))
        path.chmod(_MODE)
        opened.listen(_BACKLOG)
    except OSError as error:
        opened.close()
        why = error.strerror or str(error)
        raise AddressError(f"{address} cannot be listened on: {why}", _mend(error)) from None
    return opened


def _remove_stale(path: Path) -> None:
    """Take away a socket file that nobody listens on. Raises OSError when somebody does, or it is no socket."""
    if not path.exists():
        return
    if not path.is_socket():
        raise OSError(errno.EEXIST, "there is a file of that name that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another process listens there")


_CORRECT: Final = "Correct the address under [server] in router.toml"


def _mend(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "Stop what listens there, or name another address under [server] in router.toml"
    if error.errno == errno.EACCES:
        return "Use a port above 1023 or a directory of the daemon's own, or let systemd open the socket"
    return _CORRECT

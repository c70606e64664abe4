"""What systemd and the daemon say to each other: readiness, the watchdog, sockets that are open already.

A datagram is all of the protocol, so no library stands between. Without systemd every call does nothing.
"""

import os
import socket
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

_FIRST_FD: Final = 3
_ENVIRONMENT: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Notifier:
    """Tells the service manager how the daemon stands (`sd_notify`)."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_usec = _watchdog_usec(environment)

    @property
    def watchdog_s(self) -> float | None:
        """Within how many seconds the watchdog wants to be fed; None when there is none."""
        return self._watchdog_usec / 1e6 if self._watchdog_usec else None

    def ready(self, status: str) -> None:
        """Leads are taken; also after a reload."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self, mono_ns: int) -> None:
        """The configuration is being loaded anew."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={mono_ns // 1000}\nSTATUS=loading the configuration")

    def stopping(self) -> None:
        """No new leads; what is in flight is being finished."""
        self._tell("STOPPING=1\nSTATUS=finishing what is in flight")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._tell("WATCHDOG=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(text.encode(), self._address)
            except OSError:
                return  # a manager that does not listen is no reason to stop


def _watchdog_usec(environment: Mapping[str, str]) -> int:
    usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    ours = pid in ("", str(os.getpid()))
    return int(usec) if ours and usec.isascii() and usec.isdigit() else 0


class Passed(Struct, frozen=True):
    """A listening socket that systemd opened for us, and the name its unit gives it."""

    name: str
    socket: socket.socket


def passed_sockets(environment: Mapping[str, str] = os.environ) -> list[Passed]:
    """The sockets that systemd hands over (`LISTEN_FDS`), if they are for this process."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isascii() or not count.isdigit():
        return []
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for index in range(int(count)):
        os.set_inheritable(_FIRST_FD + index, False)
        name = names[index] if index < len(names) else ""
        found.append(Passed(name, socket.socket(fileno=_FIRST_FD + index)))
    return found


def forget_passed_sockets() -> None:
    """Children must not think that the sockets are theirs."""
    for name in _ENVIRONMENT:
        os.environ.pop(name, None)

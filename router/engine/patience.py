"""Whom not to ask for bids for a while: an endpoint that leaves pings unanswered costs every lead the whole wait.

This is courtesy, not a term: it lives in memory, says so in the bid it stands in for, and touches neither guards nor
breaker, which judge deliveries. After so many unanswered pings running an endpoint rests; then one ping tries it.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import Struct

from router.model.times import NS_S

UNANSWERED_MAX: Final = 5
REST_NS: Final = 30 * NS_S
ENDPOINTS_MAX: Final = 100_000


class Pinged(NamedTuple):
    """An endpoint of a buyer; another `version` is another one."""

    buyer_id: str
    version: str


class _Silence(Struct):
    running: int = 0
    until_ns: int = 0
    tried: bool = False


class Patience:
    """Counts unanswered pings. `mono_ns` is the steady clock."""

    def __init__(self, mono_ns: Callable[[], int]) -> None:
        self._mono_ns = mono_ns
        self._silent: dict[Pinged, _Silence] = {}

    def rests(self, endpoint: Pinged) -> bool:
        """Whether it is not to be asked now. Once its rest is over, one is let through until that is answered."""
        silence = self._silent.get(endpoint)
        if silence is None or silence.running < UNANSWERED_MAX:
            return False
        if silence.tried or self._mono_ns() < silence.until_ns:
            return True
        silence.tried = True
        return False

    def answered(self, endpoint: Pinged) -> None:
        """It answered in time, whatever it said."""
        self._silent.pop(endpoint, None)

    def unanswered(self, endpoint: Pinged) -> bool:
        """It did not, or with a server error; says whether its rest begins with this."""
        if len(self._silent) >= ENDPOINTS_MAX:
            self._silent.clear()
        silence = self._silent.setdefault(endpoint, _Silence())
        silence.running += 1
        silence.tried = False
        if silence.running < UNANSWERED_MAX:
            return False
        silence.until_ns = self._mono_ns() + REST_NS
        return silence.running == UNANSWERED_MAX

"""The door of the transport, so that the rest of the router does not know which one it has."""

from typing import Protocol

from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.terms.schema import Network


class Transport(Protocol):
    """Carries requests to buyers."""

    async def send(self, lane: str, request: HttpRequest) -> HttpResponse | TransportFailure:
        """One attempt, written at most once. Never raises for what the world does; only cancelling it passes.

        `lane` is whose connections and look-ups are used: the buyer's id. `request.timeout_ns` bounds the whole,
        `request.connect_timeout_ns` what comes before the first byte. Redirects are not followed.
        """

    def update(self, network: Network) -> None:
        """New terms: which addresses may be reached from now on. Attempts under way end as they began."""

    async def close(self) -> None:
        """Close every connection; attempts under way end as failures."""

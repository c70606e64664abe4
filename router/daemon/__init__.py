"""The daemon: what `lead-router serve` runs."""

from router.daemon.serve import Addresses, serve

__all__ = ["Addresses", "serve"]

"""The two listeners over one engine."""

from typing import NamedTuple

from router.web.admin import Admin, Behind
from router.web.intake import Intake
from router.web.listener import Listener
from router.web.openapi import document_bytes

__all__ = ["Behind", "Site", "build_site"]


class Site(NamedTuple):
    """What is served; each is given whole requests by a server."""

    intake: Listener
    admin: Listener


def build_site(behind: Behind, *, version: str) -> Site:
    """Both listeners over what stands behind them. `version` is the product's, for the API document."""
    intake = Intake(behind.engine, behind.controls)
    admin = Admin(behind, intake, document_bytes(version))
    return Site(
        intake=Listener("intake", behind.engine, intake.handlers(), behind.metrics),
        admin=Listener("admin", behind.engine, admin.handlers(), behind.metrics),
    )

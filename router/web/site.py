"""The two listeners over one engine."""

from typing import NamedTuple

from router.engine import Engine
from router.engine.controls import Controls
from router.engine.proof import Proof
from router.engine.watch import Watch
from router.metrics import Metrics
from router.web.admin import Admin
from router.web.intake import Intake
from router.web.listener import Listener
from router.web.openapi import document_bytes


class Site(NamedTuple):
    """What is served; each is given whole requests by a server."""

    intake: Listener
    admin: Listener


def build_site(
    engine: Engine, controls: Controls, proof: Proof, watch: Watch, metrics: Metrics, *, version: str
) -> Site:
    """Both listeners. `version` is the product's, for the API document."""
    intake = Intake(engine, controls)
    admin = Admin(engine, controls, proof, watch, intake, metrics, document_bytes(version))
    return Site(
        intake=Listener("intake", engine, intake.handlers(), metrics),
        admin=Listener("admin", engine, admin.handlers(), metrics),
    )

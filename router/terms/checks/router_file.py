"""`router.toml`: where the daemon listens, what it bears, who may use it."""

import re
from typing import Final

from router.model.addresses import literal, networks
from router.model.sizes import parse_size
from router.model.times import NS_MINUTE, NS_S
from router.terms.checks.endpoints import judge_url
from router.terms.checks.page import Page
from router.terms.checks.values import (
    judge_at_least,
    judge_id,
    judge_positive,
    judge_token_hash,
    judge_zone,
    shown,
)
from router.terms.endpoint import url_problems
from router.terms.enforced import MEND, NOT_YET, unenforced
from router.terms.postal import COUNTRIES
from router.terms.schema import Defaults, Network, RouterTerms, Server, Webhook
from router.terms.secrets import PREFIX
from router.terms.template import below

_TCP: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_SOCKET_PATH_BYTES_MAX: Final = 100
_BODY_BYTES: Final = range(1024, 16 * 2**20 + 1)


def judge_router(page: Page, router: RouterTerms) -> None:
    """Everything in `router.toml` that can be judged by itself."""
    for key in unenforced(router):
        page.error(key, NOT_YET, MEND)
    _judge_server(page.at("server"), router.server)
    _judge_defaults(page.at("defaults"), router.defaults)
    if router.alerts.webhook is not None:
        _judge_webhook(page.at("alerts.webhook"), router.alerts.webhook, router.network)
    every = router.onboarding.certify_every
    if every is not None and every < NS_MINUTE:
        mend = 'Write at least a minute; "24h" is often enough'
        page.error("onboarding.certify_every", "buyers' sandboxes would be tested without a pause", mend)
    judge_positive(page, "ledger.retention_pii", router.ledger.retention_pii, "people would be forgotten at once")
    if router.ledger.snapshot_every < NS_S:
        page.error("ledger.snapshot_every", "snapshots that often leave no time for leads", 'Write "60s" or so')
    judge_at_least(page, "limits.in_flight_max", router.limits.in_flight_max, 1)
    judge_at_least(page, "limits.queue_max", router.limits.queue_max, 1)
    for index, text in enumerate(router.network.allow_private):
        try:
            networks([text])
        except ValueError as error:
            page.error(f"network.allow_private[{index}]", str(error), "Correct it, or leave it out")
    for name, operator in router.operators.items():
        judge_id(page, below("operators", name), name)
        judge_token_hash(page, below("operators", name) + ".token_sha256", operator.token_sha256)


def _judge_webhook(page: Page, webhook: Webhook, network: Network) -> None:
    """Alerts go over the same guarded transport as leads, and are signed."""
    problems = url_problems(webhook.url, "url")
    for problem in problems:
        page.take(problem)
    if not problems:
        try:
            allow = networks(network.allow_private)
        except ValueError:
            allow = ()  # judge_router says which range is wrong
        judge_url(page, "url", webhook.url, allow, network.allow_http)
    if not webhook.secret.startswith(PREFIX):
        page.error("secret", "a secret is written inline", f'Put it into a file and write "{PREFIX}NAME"')


def _judge_server(page: Page, server: Server) -> None:
    seen: dict[str, str] = {}
    for listener, addresses in (("intake", server.intake), ("admin", server.admin)):
        for index, address in enumerate(addresses):
            key = f"{listener}[{index}]"
            _judge_address(page, key, address)
            if address in seen and not address.endswith(":0"):
                page.error(key, f"{seen[address]} listens on {shown(address)} too", "Give one of them another port")
            seen.setdefault(address, key)
    if not server.intake:
        page.error("intake", "no address is named, so no lead could come in", 'Write ["127.0.0.1:8080"] or so')
    _judge_body_max(page, server.body_max)
    judge_at_least(page, "connections_max", server.connections_max, 1)


def _judge_address(page: Page, key: str, address: str) -> None:
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if not path or len(path.encode()) > _SOCKET_PATH_BYTES_MAX:
            mend = f"Name a path of 1 to {_SOCKET_PATH_BYTES_MAX} bytes; relative ones live in the state directory"
            page.error(key, f"{shown(address)} names no socket", mend)
        return
    match = _TCP.fullmatch(address)
    if match is None or int(match[2]) > 65535 or (match[1].startswith("[") and literal(match[1]) is None):
        mend = 'Write host and port, "127.0.0.1:8080" or "[::1]:8080", or a socket, "unix:lead-router.sock"'
        page.error(key, f"{shown(address)} is no address to listen on", mend)


def _judge_body_max(page: Page, text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError as error:
        page.error("body_max", f"{shown(text)} cannot be read", str(error))
        return
    if size not in _BODY_BYTES:
        page.error("body_max", f"{shown(text)} is not between 1KiB and 16MiB", 'A lead is small; "64KiB" is plenty')


def _judge_defaults(page: Page, defaults: Defaults) -> None:
    if defaults.country not in COUNTRIES:
        mend = f"Write one of {', '.join(COUNTRIES)}"
        page.error("country", f"postal codes of {shown(defaults.country)} are not known here", mend)
    if _CURRENCY.fullmatch(defaults.currency) is None:
        page.error(
            "currency", f"{shown(defaults.currency)} is not a currency", 'Write its three letters, such as "USD"'
        )
    judge_zone(page, "time_zone", defaults.time_zone)

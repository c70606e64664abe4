"""Endpoints: may this URL be reached, is no secret written out, can the template and the response rules work."""

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from router.model.addresses import Network, literal, refused
from router.model.times import format_duration
from router.terms.checks.page import Page
from router.terms.checks.values import judge_id, judge_positive, shown
from router.terms.endpoint import compile_endpoint
from router.terms.schema import Contract, Endpoint, LeadType
from router.terms.secrets import PREFIX
from router.terms.template import Placeholder, below, split

#: Names under which partners hand out keys; a literal value there is a secret in a file that many may read.
_SECRET_NAMES: Final = re.compile(
    r"authorization|cookie|x-auth|token|.*(api[-_]?key|secret|passwor[dt]|passwd|(access|auth)[-_]?token)",
    re.IGNORECASE,
)
#: Answers after which a lead may be taken all the same.
_MAY_BE_TAKEN: Final = frozenset((500, 502, 504))
_LOCAL_NAMES: Final = re.compile(r"(.*\.)?localhost\.?", re.IGNORECASE)
_NUMBER_LAST: Final = re.compile(r".*(^|\.)(\d+|0x[0-9a-f]*)\.?", re.IGNORECASE)


def judge_endpoint(
    page: Page, name: str, endpoint: Endpoint, *, lead_types: Sequence[LeadType], allow: Sequence[Network], http: bool
) -> None:
    """One endpoint. `lead_types` are those of the contracts that use it, `allow` and `http` what `[network]` allows."""
    judge_id(page, "", name)
    plan_problems = compile_endpoint(name, endpoint, lead_types=lead_types)[1]
    for problem in plan_problems:
        page.take(problem)
    for key, url in _urls(endpoint):
        if not any(problem.key == key for problem in plan_problems):
            judge_url(page, key, url, allow, http)
    _judge_inline_secrets(page, endpoint)
    _judge_times(page, endpoint, lead_types)
    _judge_repeats(page, endpoint)
    if not endpoint.idempotent and endpoint.in_doubt_resolves is None:
        mend = (
            'Ask the buyer whether it dedupes on delivery_id (idempotent = true), or set in_doubt_resolves = "accepted"'
        )
        page.warn("", "an attempt whose answer is lost holds its lead until somebody resolves it", mend)


def _judge_repeats(page: Page, endpoint: Endpoint) -> None:
    """What may be sent twice, to a buyer that might take it twice."""
    bold = [status for status in endpoint.retry.on if status in _MAY_BE_TAKEN]
    if bold and not endpoint.idempotent and endpoint.retry.attempts > 1:
        message = f"{bold[0]} does not say that the buyer has nothing, and a repeat may be taken and billed twice"
        mend = "List statuses that certainly mean not taken (429, 503), or make sure that it dedupes on delivery_id"
        page.warn("retry.on", message, mend)
    shown_id = "delivery_id" in named_fields(endpoint) or endpoint.auth.type == "hmac"
    if endpoint.idempotent and not shown_id:
        message = "the body does not hold the delivery's id, so a repeat is known by the header Idempotency-Key only"
        mend = 'Put "{{delivery_id}}" into the body, or ask the buyer whether it reads that header'
        page.warn("idempotent", message, mend)


def judge_left_out(
    page: Page, endpoint: Endpoint, contracts: Sequence[Contract], lead_types: Sequence[LeadType]
) -> None:
    """Warn of fields that the templates name and none of the contracts that use them accepts: they never go out."""
    fields = {name for lead_type in lead_types for name in lead_type.fields}
    accepted = {name for one in contracts for name in (*one.fields.required, *one.fields.optional)}
    idle = sorted((named_fields(endpoint) & fields) - accepted)
    if idle and accepted:
        names, them = ", ".join(idle), "it" if len(idle) == 1 else "them"
        message = f"{names}: no contract that uses this endpoint accepts {them}, so nothing is ever sent there"
        mend = "Add to the contract's fields.optional what the buyer wants, or take it out of the body"
        page.warn("body", message, mend)


def named_fields(endpoint: Endpoint) -> set[str]:
    """Every path that a placeholder of the endpoint's body or headers names."""
    found: set[str] = set()
    for text in (*_leaves(endpoint.body), *endpoint.headers.values()):
        try:
            found.update(part.path for part in split(text) if isinstance(part, Placeholder))
        except ValueError:
            continue  # compile_endpoint says what is wrong with it
    return found


def _leaves(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list | tuple):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _leaves(child)


def _urls(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    yield "url", endpoint.url
    if endpoint.test_url is not None:
        yield "test_url", endpoint.test_url
    if endpoint.ping is not None:
        yield "ping.url", endpoint.ping.url
    if endpoint.auth.token_url is not None:
        yield "auth.token_url", endpoint.auth.token_url


def judge_url(page: Page, key: str, url: str, allow: Sequence[Network], http: bool) -> None:
    """Where a well written URL leads: by https, and to no address inside our own network."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http" and not http:
        mend = "Write https, or set network.allow_http = true in router.toml to send people's data in the clear"
        page.error(key, "this URL is plain http, which anybody on the way can read", mend)
    address = literal("127.0.0.1" if _LOCAL_NAMES.fullmatch(host) else host)
    if address is None:
        if _NUMBER_LAST.fullmatch(host) or not host.strip("."):
            page.error(key, f"{shown(host)} is neither a name nor an address", "Correct the host of the URL")
        return
    reason = refused(str(address), allow)
    if reason is not None:
        mend = (
            f"Use the buyer's public address; to test, put {address}/{address.max_prefixlen} into network.allow_private"
        )
        page.error(key, f"{shown(host)} is {reason}, which no endpoint may reach", mend)


def _judge_inline_secrets(page: Page, endpoint: Endpoint) -> None:
    for name, text in endpoint.headers.items():
        if _SECRET_NAMES.fullmatch(name) and text and "{{" not in text and not text.startswith(PREFIX):
            mend = f'Use auth = {{ type = "header", name = {shown(name)}, value = "{PREFIX}NAME" }}'
            page.error(below("headers", name), "a secret is written inline", mend)
    for key, url in _urls(endpoint):
        for name, text in parse_qsl(urlsplit(url).query):
            if _SECRET_NAMES.fullmatch(name) and text:
                mend = f'If it is one, use auth = {{ type = "query", name = {shown(name)}, value = "{PREFIX}NAME" }}'
                page.warn(key, f"the parameter {shown(name)} looks like a secret written inline", mend)


def _judge_times(page: Page, endpoint: Endpoint, lead_types: Sequence[LeadType]) -> None:
    judge_positive(page, "timeout", endpoint.timeout, "no answer could come in time")
    judge_positive(page, "connect_timeout", endpoint.connect_timeout, "no connection could be made in time")
    judge_positive(page, "in_doubt_after", endpoint.in_doubt_after, "every doubt would be resolved by a guess at once")
    if endpoint.ping is None:
        return
    judge_positive(page, "ping.timeout", endpoint.ping.timeout, "no bid could come in time")
    for lead_type in lead_types:
        if endpoint.ping.timeout >= lead_type.deadline:
            most = format_duration(lead_type.deadline)
            message = f"leads of type {lead_type.id} have {most}: the wait for bids would leave no time to send them"
            page.error("ping.timeout", message, 'Write "800ms" or so')

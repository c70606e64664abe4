"""What the consumer agreed to, from a `consent` object or from the flat names that forms use.

Certificates are taken as they come: whether one is well formed is a contract's rule, not the lead's.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from router.core.intake.refusal import FieldError, Wrong, shown_name
from router.core.intake.values import read_instant, read_ip, read_text, read_url
from router.model.lead import Consent
from router.model.times import NS_MINUTE

#: How far ahead of ours another clock may be.
CLOCK_SKEW_NS: Final = 5 * NS_MINUTE
_SELLERS_MAX: Final = 1000

#: Also put into forms by those scripts, and of no use here.
IGNORED_NAMES: Final = frozenset({"xxTrustedFormPingUrl", "xxTrustedFormToken"})


def read_sellers(raw: Any) -> tuple[str, ...] | None:
    """A list of names, or one text with `;` or `|` between them (a comma belongs to "Acme, Inc.")."""
    if type(raw) is str:
        raw = raw.replace("|", ";").split(";")
    if type(raw) is not list:
        raise Wrong("wrong_type", "is not a list of names")
    if len(raw) > _SELLERS_MAX:
        raise Wrong("too_long", f"names more than {_SELLERS_MAX} sellers")
    names: list[str] = []
    for name in raw:
        if type(name) is not str:
            raise Wrong("wrong_type", "is not a list of names")
        if stripped := name.strip():
            names.append(stripped)
    return tuple(names) or None


_READS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "given_at": read_instant,
    "text": read_text,
    "url": read_url,
    "ip": read_ip,
    "trustedform_cert_url": read_text,
    "jornaya_lead_id": read_text,
    "sellers": read_sellers,
}


def read_consent(
    parts: Mapping[str, Any], *, received_at_ns: int, refuse_unknown: bool, errors: list[FieldError]
) -> Consent | None:
    """The keys of a `consent` object -> Consent; None when nothing is given. What is wrong goes to `errors`."""
    found: dict[str, Any] = {}
    for key, raw in parts.items():
        if raw is None or raw == "":
            continue
        read = _READS.get(key)
        if read is None:
            if refuse_unknown:
                errors.append(FieldError(f"consent.{shown_name(key)}", "unknown_field", "is not a part of consent"))
            continue
        try:
            value = read(raw)
        except Wrong as wrong:
            errors.append(FieldError(f"consent.{key}", wrong.code, wrong.message))
            continue
        if value is not None:
            found[key] = value
    if not found:
        return None
    given_at = found.pop("given_at", None)
    if given_at is not None and given_at > received_at_ns:
        if given_at > received_at_ns + CLOCK_SKEW_NS:
            errors.append(FieldError("consent.given_at", "in_future", "lies more than 5 minutes ahead"))
        given_at = received_at_ns
    return Consent(given_at_ns=given_at, **found)

"""A lead as the router knows it: normalised fields and consent, and nothing of how it came in."""

from typing import Final, Literal

from msgspec import Struct

#: A normalised field value. phone: E.164; email: lower case; postal_code: canonical; date: `YYYY-MM-DD`;
#: datetime: RFC 3339 UTC; state and country: two upper-case letters; integer: int; number: float; boolean: bool.
Value = str | int | float | bool
#: By what somebody who is never to be sent is known.
Contact = Literal["phone", "email"]


class Consent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the consumer agreed to. `given_at_ns` is nanoseconds since 1970 UTC."""

    given_at_ns: int | None = None
    text: str | None = None
    url: str | None = None
    ip: str | None = None
    trustedform_cert_url: str | None = None
    jornaya_lead_id: str | None = None
    sellers: tuple[str, ...] = ()


#: Template paths below `consent.`; `given_at` is rendered as RFC 3339.
CONSENT_PATHS: Final = (
    "given_at", "text", "url", "ip", "trustedform_cert_url", "jornaya_lead_id", "sellers",
)  # fmt: skip


class Lead(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One consumer's request. Instants are nanoseconds since 1970 UTC; `submitted_at_ns` defaults to receipt."""

    lead_id: str
    lead_type: str
    source_id: str
    received_at_ns: int
    submitted_at_ns: int
    fields: dict[str, Value]
    country: str  # of the postal code, such as "US"
    consent: Consent | None = None
    external_id: str | None = None
    test: bool = False

    @property
    def postal_code(self) -> str | None:
        """The canonical postal code that coverage is judged by."""
        code = self.fields.get("postal_code")
        return code if isinstance(code, str) else None

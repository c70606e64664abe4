"""What a buyer's own API insists on before it looks at a lead: its format, who asks, its fields, nobody twice. Pure.

A buyer of the farm takes whatever comes; with a door (`[NAME.asks]` of a `--voices` file) it turns away what its API
document says it turns away, in its own words. A person it had is told by digests: no field is kept.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Literal

from msgspec import Struct

from router.demo.reading import Fields, Kind
from router.model.times import parse_duration


class Token(Struct, frozen=True, forbid_unknown_fields=True):
    """OAuth 2 client credentials: `POST /token/NAME` gives a token for them that lives so long."""

    client_id: str
    client_secret: str
    scope: str | None = None
    lasts: str = "10m"

    @property
    def lasts_ns(self) -> int:
        """How long a token lives."""
        return int(parse_duration(self.lasts))

    def grants(self, form: Mapping[str, str], user: str | None, password: str | None) -> bool:
        """Whether these are the credentials, in the body or as user and password."""
        client = (user, password) if user is not None else (form.get("client_id"), form.get("client_secret"))
        scoped = self.scope is None or form.get("scope") == self.scope
        return (
            form.get("grant_type") == "client_credentials" and client == (self.client_id, self.client_secret) and scoped
        )


class Door(Struct, frozen=True, forbid_unknown_fields=True):
    """`[NAME.asks]`. Fields are named as in the request, inside others with dots (`contact.phone`).

    `person`: fields that together tell a person, any of the lists; one that was taken before is a duplicate.
    """

    format: Literal["json", "form", "xml"] | None = None
    headers: dict[str, str] = {}
    token: Token | None = None
    fields: tuple[str, ...] = ()
    ping_fields: tuple[str, ...] = ()
    person: tuple[tuple[str, ...], ...] = ()

    def stranger(self, headers: Mapping[str, str], tokens: frozenset[str]) -> bool:
        """Whether who asks is not known. `tokens` are those that live."""
        if self.token is not None and headers.get("Authorization", "").removeprefix("Bearer ") not in tokens:
            return True
        return any(headers.get(name) != value for name, value in self.headers.items())

    def lacks(self, kind: Kind, fields: Fields, *, ping: bool) -> str | None:
        """What is wrong with a request, in a word; None when nothing is."""
        if self.format is not None and kind != self.format:
            return "format"
        given = {name for name, text in fields if text}
        return next((name for name in (self.ping_fields if ping else self.fields) if name not in given), None)

    def marks(self, fields: Fields) -> Iterator[bytes]:
        """A digest for each list of fields that tells the person and is whole."""
        given = dict(fields)
        for names in self.person:
            values = [given.get(name, "") for name in names]
            if all(values):
                yield blake2b("\0".join((*names, *values)).encode(), digest_size=16).digest()

"""Secrets by reference only: terms say `secret:NAME`, and this is the one place that turns a name into its value.

systemd hands secrets over in `$CREDENTIALS_DIRECTORY`; without it they lie in `secrets/` of the configuration
directory, readable by their owner alone. A value is returned to whoever renders a request and stands nowhere else:
not in terms, not in a terms version, not in an error, not in a `repr`.
"""

import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from router.terms.problems import Problem, Severity
from router.terms.schema import Auth, Buyer, Terms
from router.terms.template import below

PREFIX: Final = "secret:"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_BYTES_MAX: Final = 64 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
#: The keys of an `auth` table whose values prove who we are, and so may only be written as `secret:NAME`.
AUTH_SECRETS: Final = ("password", "token", "value", "client_secret", "cert", "key")
#: Those that may be a reference or plain text.
_AUTH_NAMES: Final = ("username", "client_id")


class SecretError(Exception):
    """A secret cannot be had. The message names the file and never holds the value; `mend` says what to do."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(f"{message}. {mend}")
        self.message: Final = message
        self.mend: Final = mend


class Secrets:
    """Reads secrets from systemd's credentials directory, else from `secrets/` of the configuration directory."""

    def __init__(self, config_dir: Path, credentials_dir: Path | None = None) -> None:
        """`credentials_dir` is `$CREDENTIALS_DIRECTORY`, None when the daemon was given no credentials."""
        self._own_dir: Final = config_dir / "secrets"
        self._credentials_dir: Final = credentials_dir

    def read(self, reference: str) -> str:
        """`"secret:NAME"` -> the text of the secret, one newline at its end left out. Raises SecretError."""
        name = name_of(reference)
        if self._credentials_dir is not None:
            given = self._credentials_dir / name
            if given.is_file():
                return _text_of(given, guarded=False)  # systemd guards that directory itself
        path = self._own_dir / name
        if not path.is_file():
            raise SecretError(f'there is no secret "{name}": {path} is missing', _how_to_write(path))
        return _text_of(path, guarded=True)

    def values(self, terms: Terms) -> dict[str, str]:
        """Every secret that terms refer to and that can be read: name -> value. `missing` names the others."""
        found: dict[str, str] = {}
        for _, _, reference, _ in references(terms):
            with suppress(SecretError):
                found[name_of(reference)] = self.read(reference)
        return found

    def missing(self, terms: Terms, *, strict: bool) -> list[Problem]:
        """A problem for every place whose secret cannot be read: errors when `strict` (to serve), else warnings.

        Secrets of buyers that are not live are warnings in any case: nothing is sent to them.
        """
        found: list[Problem] = []
        for file, key, reference, live in references(terms):
            try:
                self.read(reference)
            except SecretError as error:
                severity: Severity = "error" if strict and live else "warning"
                found.append(Problem(file, key, error.message, error.mend, severity))
        return found


def name_of(reference: str) -> str:
    """`"secret:NAME"` -> `NAME`. Raises SecretError when it is no reference or the name could leave its folder."""
    name = reference.removeprefix(PREFIX)
    if name == reference:
        raise SecretError("this is no reference to a secret", f"Write it as {PREFIX}NAME")
    if _NAME.fullmatch(name) is None:
        mend = f"Use letters, digits, dots, dashes and underscores: {PREFIX}buyer_token"
        raise SecretError("this is no name for a secret", mend)
    return name


def references(terms: Terms) -> Iterator[tuple[str, str, str, bool]]:
    """Every reference in terms as (file, key path, reference, whether anything live needs it)."""
    webhook = terms.router.alerts.webhook
    if webhook is not None and webhook.secret.startswith(PREFIX):
        yield "router.toml", "alerts.webhook.secret", webhook.secret, True
    for source in terms.sources.values():
        if source.adapter_secret is not None and source.adapter_secret.startswith(PREFIX):
            yield terms.places[f"source:{source.id}"], "adapter_secret", source.adapter_secret, True
    for buyer in terms.buyers.values():
        file, live = terms.places[f"buyer:{buyer.id}"], live_endpoints(buyer)
        for name, endpoint in buyer.endpoints.items():
            place = below("endpoints", name)
            named = ((key, getattr(endpoint.auth, key) or "") for key in _AUTH_NAMES)
            for key, text in (*named, *auth_secrets(endpoint.auth)):
                if text.startswith(PREFIX):
                    yield file, f"{place}.auth.{key}", text, name in live


def auth_secrets(auth: Auth) -> Iterator[tuple[str, str]]:
    """The keys of an `auth` table whose values must be secrets, as (key, what is written there)."""
    for key in AUTH_SECRETS:
        written = getattr(auth, key)
        if written is not None:
            yield key, written
    for index, written in enumerate(auth.secrets or ()):
        yield f"secrets[{index}]", written


def live_endpoints(buyer: Buyer) -> set[str]:
    """The endpoints of a buyer that leads may be sent to under these terms."""
    if buyer.status in ("draft", "closed"):
        return set()
    return {contract.endpoint for contract in buyer.contracts if contract.status not in ("draft", "closed")}


def _how_to_write(path: Path) -> str:
    return f"Write it there, readable by the daemon's user alone (chmod 600 {path.name}), or give it by LoadCredential"


def _text_of(path: Path, *, guarded: bool) -> str:
    try:
        if guarded and stat.S_IMODE(path.stat().st_mode) & _OTHERS:
            raise SecretError(f"others than its owner can read {path}", f"chmod 600 {path}")
        data = path.read_bytes()
    except OSError as error:
        raise SecretError(f"{path} cannot be read: {error.strerror}", "Let the daemon's user read it") from None
    if len(data) > _BYTES_MAX:
        raise SecretError(f"{path} is larger than {_BYTES_MAX >> 10} KiB", "A secret is one short text")
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretError(f"{path} is not UTF-8 text", "Save it as text") from None
    if not text:
        raise SecretError(f"{path} is empty", _how_to_write(path))
    return text

"""From files to terms the engine may use, with all that is wrong said at once; and a buyer's record to disk."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import structs

from router.terms.candidate import Candidate
from router.terms.check import check, check_buyer
from router.terms.load import load, with_buyer
from router.terms.problems import Problem, abridged
from router.terms.schema import RouterTerms, Terms
from router.terms.secrets import Secrets
from router.transport.credentials import unusable

_CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"


def read_candidate(config_dir: Path, state_dir: Path) -> Candidate:
    """The terms as they stand on disk now, judged; with the secrets they refer to."""
    terms, problems = load(config_dir, state_dir if state_dir.is_dir() else None)
    if terms is None:
        return Candidate(terms=None, problems=tuple(abridged(problems)), secrets={})
    secrets = _secrets(config_dir)
    values = secrets.values(terms)
    found: list[Problem] = [*problems, *check(terms), *secrets.missing(terms, strict=True), *unusable(terms, values)]
    return Candidate(terms=terms, problems=tuple(abridged(found)), secrets=values)


def _secrets(config_dir: Path) -> Secrets:
    given = os.environ.get(_CREDENTIALS)
    return Secrets(config_dir, Path(given) if given else None)


class BuyerRecords:
    """The buyers that the API keeps: `$STATE/buyers/ID.json`, each written whole or not at all."""

    def __init__(self, config_dir: Path, state_dir: Path) -> None:
        self._config_dir = config_dir
        self._folder = state_dir / "buyers"

    def in_file(self, buyer_id: str) -> str | None:
        """The configuration's own file of that name, which a reload would find beside a record of ours."""
        path = self._config_dir / "buyers" / f"{buyer_id}.toml"
        try:
            return f"buyers/{path.name}" if path.exists() else None
        except OSError:  # longer than any file's name: the id itself is at fault
            return None

    def propose(self, terms: Terms, tree: object) -> Candidate:
        """These terms with that buyer in place, judged; with the secrets the buyer refers to."""
        changed, problems = with_buyer(terms, tree, self._config_dir)
        if changed is None:
            return Candidate(terms=None, problems=tuple(abridged(problems)), secrets={})
        buyer = next(buyer for id_, buyer in changed.buyers.items() if terms.buyers.get(id_) is not buyer)
        alone = structs.replace(changed, buyers={buyer.id: buyer}, sources={}, router=RouterTerms())
        secrets = _secrets(self._config_dir)
        values = secrets.values(alone)
        own = (*check_buyer(changed, buyer.id), *secrets.missing(alone, strict=True), *unusable(alone, values))
        return Candidate(terms=changed, problems=tuple(abridged((*problems, *own))), secrets=values)

    def keep(self, buyer_id: str, record: bytes | None) -> bytes | None:
        """Put a record in place of the one there (none: take it away), durably; what stood there. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{buyer_id}.json"
        before = path.read_bytes() if path.exists() else None
        if record is None:
            path.unlink(missing_ok=True)
        else:
            _write_whole(path, record)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return before


def _write_whole(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    try:
        with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise

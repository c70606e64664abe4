"""From files to a Book the engine can run on, with everything that is wrong said at once."""

import os
from pathlib import Path
from typing import Final

from router.engine.controls import Candidate
from router.terms.check import check
from router.terms.load import load
from router.terms.problems import Problem
from router.terms.secrets import Secrets
from router.transport.credentials import unusable

_CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"


def read_candidate(config_dir: Path, state_dir: Path) -> Candidate:
    """The terms as they stand on disk now, judged; with the secrets they refer to."""
    terms, problems = load(config_dir, state_dir if state_dir.is_dir() else None)
    if terms is None:
        return Candidate(terms=None, problems=tuple(problems), secrets={})
    given = os.environ.get(_CREDENTIALS)
    secrets = Secrets(config_dir, Path(given) if given else None)
    values = secrets.values(terms)
    found: list[Problem] = [*problems, *check(terms), *secrets.missing(terms, strict=True), *unusable(terms, values)]
    return Candidate(terms=terms, problems=tuple(found), secrets=values)

"""`lead-router check`: every error of every file at once, each with its place and the mend.

Secrets that cannot be read are warnings here: a configuration is often checked where its secrets are not. `serve`
insists on them.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from router.cli import options as shared
from router.cli.exits import DONE, NO
from router.cli.screen import print_json
from router.ledger.past import open_past
from router.ledger.protocol import LedgerError
from router.terms.check import check
from router.terms.checks.certified import judge_certified
from router.terms.load import load
from router.terms.problems import Problem, abridged, errors
from router.terms.schema import Terms
from router.terms.secrets import Secrets
from router.transport.credentials import unusable


def arguments(parser: argparse.ArgumentParser) -> None:
    """`check [--config DIR] [--state DIR]`."""
    shared.config_dir(parser)
    shared.state_dir(parser)
    shared.json_output(parser)


def run(options: argparse.Namespace) -> int:
    """Check it; exit 1 when `serve` would refuse it. Warnings alone are no error."""
    loaded = load(options.config, options.state if options.state.is_dir() else None)
    problems = list(loaded.problems)
    if loaded.terms is not None:
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        secrets = Secrets(options.config, Path(credentials) if credentials else None)
        problems += [*check(loaded.terms), *secrets.missing(loaded.terms, strict=False)]
        problems += unusable(loaded.terms, secrets.values(loaded.terms))
        problems += _uncertified(loaded.terms, options.state)
    problems.sort(key=lambda one: (one.severity == "error", one))  # errors last, where the eye is
    wrong = bool(errors(problems))
    if options.json:
        print_json({"ok": not wrong, "problems": [_plain(one) for one in problems]})
    else:
        for one in abridged(problems):
            print(f"{one.severity + ':':<9}{one.line()}")
        print(_summary(problems))
    return NO if wrong else DONE


def _uncertified(terms: Terms, state_dir: Path) -> list[Problem]:
    """Live endpoints that were never certified as they are now, where a ledger is at hand to tell."""
    try:
        with open_past(state_dir) as past:
            return [] if past is None else judge_certified(terms, past.certified())
    except LedgerError as error:
        return [Problem("", "", f"what was certified cannot be read: {error}", error.hint, "warning")]


def _plain(one: Problem) -> dict[str, str]:
    return {"severity": one.severity, "file": one.file, "key": one.key, "message": one.message, "mend": one.mend}


def _summary(problems: Sequence[Problem]) -> str:
    n_errors = len(errors(problems))
    n_warnings = len(problems) - n_errors
    parts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((n_errors, "error"), (n_warnings, "warning")) if n]
    return " and ".join(parts) if parts else "no errors"

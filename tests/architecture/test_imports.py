"""Imports point one way, and the pure rooms do no I/O: the contracts of `pyproject.toml`, kept."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_import_contracts_are_kept() -> None:
    """`lint-imports` finds nothing; its report says which import broke which contract.

    In a process of its own: it sets logging up for itself, and other tests read what the router logs.
    """
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""Imports point one way, and the pure rooms do no I/O: the contracts of `pyproject.toml`, kept."""

from importlinter.cli import lint_imports


def test_import_contracts_are_kept() -> None:
    """`lint-imports` finds nothing; its report says which import broke which contract."""
    assert lint_imports(no_cache=True) == 0

"""What the benches have in common: terms out of plain tables, and where figures and pictures are kept."""

import argparse
import json
from pathlib import Path
from typing import Any

from router.terms.decode import decode


def decoded(tree: dict[str, Any], kind: Any) -> Any:
    """A table as terms of a kind."""
    found, problems = decode(tree, kind, "bench")
    assert found is not None, problems
    return found


def add_options(options: argparse.ArgumentParser) -> None:
    """`--json` and `--svg`."""
    options.add_argument("--json", type=Path, help="write the figures to this file too")
    options.add_argument("--svg", type=Path, help="draw them into this file")


def keep(asked: argparse.Namespace, figures: Any, picture: str) -> None:
    """Write both where they were asked for."""
    written = ((asked.json, json.dumps(figures, indent=2) + "\n"), (asked.svg, picture))
    for path, text in written:
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

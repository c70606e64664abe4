"""Cases of configurations: a small valid base, changes to it, and the findings they must bring.

A file below `tests/cases/config` holds `[[case]]` tables: `about`; `change`, a list of `{file, find, put}` where
`find` stands in the file and is replaced once; `file`, new files by name; `expect`, a list of `{file, key, says}`
where `says` is a piece of the finding's message or mend; `never`, a text that no finding may show.
"""

import shutil
from pathlib import Path
from typing import Any

import tomli

from router.terms.check import check
from router.terms.load import load
from router.terms.problems import Problem

CASES = Path(__file__).parent / "cases" / "config"


def read_cases(folder: str) -> list[Any]:
    """Every case of a folder, as pytest parameters would like them: (name, case)."""
    found = []
    for path in sorted((CASES / folder).glob("*.toml")):
        for case in tomli.loads(path.read_text())["case"]:
            found.append((f"{path.stem}: {case['about']}", case))
    return found


def lay_out(case: dict[str, Any], directory: Path) -> Path:
    """The base with the case's changes, below `directory`; returns the configuration directory."""
    config = directory / "config"
    shutil.copytree(CASES / "base", config)
    for change in case.get("change", ()):
        path = config / change["file"]
        text = path.read_text()
        assert change["find"] in text, f"the base has no {change['find']!r} in {change['file']}"
        path.write_text(text.replace(change["find"], change["put"], 1))
    for name, text in case.get("file", {}).items():
        path = config / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return config


def findings(config: Path, state: Path | None = None) -> list[Problem]:
    """Everything that reading and judging a configuration finds."""
    loaded = load(config, state)
    return loaded.problems + (check(loaded.terms) if loaded.terms is not None else [])


def matches(problem: Problem, expected: dict[str, str]) -> bool:
    """Whether a finding is the expected one."""
    return (problem.file, problem.key) == (expected["file"], expected["key"]) and (
        expected["says"] in problem.message or expected["says"] in problem.mend
    )

"""What README and the other pages tell people to do works, and what they link to is there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from router.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])
README = (ROOT / "README.md").read_text("utf-8")


def told(pattern: str) -> set[str]:
    """What every page tells people to type, by a pattern with one group."""
    return {word for page in PAGES for word in re.findall(pattern, page.read_text("utf-8"))}


def test_make_targets_exist() -> None:
    """Every `make TARGET` of any page is a target of the Makefile, and `make -n` accepts it."""
    assert shutil.which("make"), "make is needed to run this project"
    targets = told(r"(?:`|^)make ([a-z]+)") | {"demo", "test", "check"}
    subprocess.run(["make", "-n", *sorted(targets)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_commands_exist() -> None:
    """Every `lead-router COMMAND` of any page is a command."""
    later = {"diff", "certify", "coverage", "returns", "reconcile", "invoice", "backtest", "report", "export"}
    assert told(r"lead-router ([a-z]+)(?= |`|\n)") <= set(COMMANDS) | {"demo"} | later - later


def test_the_first_screen_gets_a_newcomer_going() -> None:
    """Clone to a routed lead in one command, and to passing tests in another, before anything else."""
    screen = "\n".join(README.splitlines()[:40])
    assert "make demo" in screen
    assert "make test" in screen


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file of the project, with the heading it names."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target}"
        if anchor and found.suffix == ".md":
            heads = re.findall(r"^#+ (.+)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}, target


def test_continuous_integration_runs_what_the_readme_says() -> None:
    """`.ci/run` is the README's make targets and nothing else."""
    script = (ROOT / ".ci/run").read_text("utf-8")
    assert set(re.findall(r"^make (\w+)", script, re.MULTILINE)) == {"check", "demo", "test"}
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_nothing_mentions_a_machine() -> None:
    """No file of the project names a path of the machine it was written on, or a package index."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    machine = re.compile(r"/home/\w|/root/|/Users/|(?<![\w./])/work/|pypi\.org|files\.pythonhosted")
    mine = Path(__file__).relative_to(ROOT)
    for name in tracked.splitlines():
        path = ROOT / name
        if path.is_file() and Path(name) != mine:
            text = path.read_text("utf-8", "replace")
            assert not machine.search(text), f"{name}: {machine.search(text)}"

"""Terms that overflow: each gives an error that names file, key and mend, or simply works; and soon."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from router.cli import main
from router.configuration.disk import read_candidate
from router.terms.check import check
from router.terms.compile import compile_book
from router.terms.load import load
from router.terms.problems import SHOWN_MAX, errors
from tests import factory
from tests.config_cases import findings, lay_out
from tests.property.worlds import World

BUYER = "buyers/roofer.toml"
CODES = 'postal_codes = ["78701", "78702-78705"]'
CAP = '{ per = "hour", limit = 10 }'
CRITERION = '{ field = "credit_score", min = 650 }'


def put(find: str, text: str) -> Callable[[Path], None]:
    """A change of the buyer's file."""

    def change(config: Path) -> None:
        path = config / BUYER
        before = path.read_text()
        assert find in before
        path.write_text(before.replace(find, text, 1))

    return change


def nested(word: str, depth: int) -> str:
    """A criterion below so many others."""
    opening, closing = ("{ not = ", " }") if word == "not" else (f"{{ {word} = [", "] }")
    return opening * depth + CRITERION + closing * depth


def listed(count: int) -> Callable[[Path], None]:
    """So many codes in a file that the contract names."""

    def change(config: Path) -> None:
        (config / "coverage").mkdir()
        (config / "coverage/many.csv").write_text("\n".join(f"{code % 100_000:05d}" for code in range(count)))
        put(CODES, 'files = ["coverage/many.csv"]')(config)

    return change


def named(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """A list that the contract names and somebody made so."""

    def change(config: Path) -> None:
        (config / "coverage").mkdir()
        make(config / name)
        put(CODES, f'files = ["{name}"]')(config)

    return change


def pipe(config: Path) -> None:
    """A pipe nobody writes to, among the buyers."""
    os.mkfifo(config / "buyers/pipe.toml")


def endless(config: Path) -> None:
    """A link to a device that never ends."""
    (config / "buyers/zero.toml").symlink_to("/dev/zero")


def circle(config: Path) -> None:
    """A link to itself."""
    (config / "buyers/loop.toml").symlink_to("loop.toml")


def no_folder(config: Path) -> None:
    """A file where the buyers' directory should be."""
    for path in (config / "buyers").iterdir():
        path.unlink()
    (config / "buyers").rmdir()
    (config / "buyers").write_text("")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put(CODES, f"postal_codes = {[f'{code % 100_000:05d}' for code in range(1_000_000)]}"), "coverage/"),
        *[(put(CRITERION, nested(word, 1000)), "write it flatter") for word in ("not", "all", "any")],
        (put(CRITERION, nested("not", 100_000)), "write it flatter"),
        (put('id = "roofer"', "x = " + "[" * 100_000 + "]" * 100_000), "write it flatter"),
        (put('id = "roofer"', ".".join("a" * 100_000) + " = 1"), "write it flatter"),
        (put('name = "Roofer Inc."', f'name = "{"x" * 5_000_000}"'), "Split it"),
        (put(CRITERION, '{ field = "first_name", pattern = "((a{1000}){1000}){1000}" }'), "plainer"),
        (put('limit = 10', f"limit = {'1' * 5000}"), "too long to be read"),
        (put('"America/Chicago"', '"../../../etc/passwd"'), "IANA name"),
        (put('"America/Chicago"', '"America"'), "no time zone"),
        (named("coverage/loop", lambda path: path.symlink_to("loop")), "links lead in a circle"),
        (named("coverage/zero", lambda path: path.symlink_to("/dev/zero")), "outside the configuration"),
        (named("coverage/folder", Path.mkdir), "there is no file"),
        (named("coverage/latin", lambda path: path.write_bytes(b"78701\n\xff")), "UTF-8"),
        (put(CRITERION, nested("any", 20)), "flatter"),
        (pipe, "is not a file"),
        (endless, "is not a file"),
        (circle, "cannot be read"),
        (no_folder, "is not a directory"),
    ],
)  # fmt: skip
def test_what_overflows_is_an_error_with_a_mend(change: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    """Nothing of it is read for ever, or takes all memory, or ends in anything but a finding."""
    config = lay_out({}, tmp_path)
    change(config)
    began = time.process_time()
    found = errors(findings(config))
    assert time.process_time() - began < 20
    assert any(says in problem.message or says in problem.mend for problem in found), found
    assert all(problem.file and problem.message and problem.mend for problem in found)
    assert all(len(problem.line()) < 1000 for problem in found)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(listed(1_000_000), marks=pytest.mark.nightly),
        listed(100_000),
        put(CRITERION, ", ".join(f'{{ field = "credit_score", min = {300 + n % 500} }}' for n in range(10_000))),
        put(CRITERION, f'{{ field = "credit_score", one_of = {list(range(100_000))} }}'),
        put(CAP, ", ".join(f'{{ id = "c{n}", per = "day", limit = 9 }}' for n in range(9999))),
        put('"Mon-Fri 08:00-18:00"', ", ".join(f'"Mon {n % 24:02d}:{n % 60:02d}-24:00"' for n in range(50_000))),
        put('priority = 10', "priority = -9007199254740991"),
        put('"78702-78705"', '"00000-99999"'),
    ],
    ids=["million codes", "codes", "criteria", "choices", "caps", "hours", "priority", "all codes"],
)  # fmt: skip
def test_what_is_merely_much_works(change: Callable[[Path], None], tmp_path: Path) -> None:
    """A million codes or ten thousand criteria of one contract are read, judged and routed by in seconds."""
    config = lay_out({}, tmp_path)
    change(config)
    began = time.process_time()
    assert errors(findings(config)) == []
    terms = load(config).terms
    assert terms is not None
    book = compile_book(terms)
    world = World(book)
    for number in range(3):
        world.sell(factory.lead(f"lead-{number}", credit_score=700, first_name="Ana", phone="+15125550147"))
    assert time.process_time() - began < 30


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"id": "x"', "[" * 10**5, '{"a":' * 10**5, '{"id": "x", "name": "n", "caps": 9e999}']
)  # fmt: skip
def test_a_broken_file_of_the_api_is_named(text: str, tmp_path: Path) -> None:
    """`$STATE/buyers/*.json` that is no buyer is an error of that file, with what to do."""
    config, state = lay_out({}, tmp_path), tmp_path / "state"
    (state / "buyers").mkdir(parents=True)
    (state / "buyers/x.json").write_text(text)
    found = errors(findings(config, state))
    assert [problem.file for problem in found] == ["$STATE/buyers/x.json"]
    assert found[0].mend


def test_thousands_of_slips_are_found_in_seconds(tmp_path: Path) -> None:
    """A buyer with thousands of contracts that all overlap and name sources that are not there."""
    config = lay_out({}, tmp_path)
    path = config / BUYER
    head, _, tail = path.read_text().partition("[[contracts]]")
    one = "[[contracts]]" + tail.replace('sources = ["*"]', 'sources = ["wbe"]')
    path.write_text(head + "".join(one.replace("roofer-tx", f"roofer-{n}") for n in range(1500)))
    began = time.process_time()
    found = errors(findings(config))
    assert time.process_time() - began < 30
    assert len(found) >= 1500


def test_thousands_of_contracts_that_overlap_are_judged_in_seconds(tmp_path: Path) -> None:
    """Five thousand contracts of one buyer over the same hundred codes: the first twenty pairs are named."""
    config = lay_out({}, tmp_path)
    listed(100)(config)
    terms = load(config).terms
    assert terms is not None
    buyer = terms.buyers["roofer"]
    many = tuple(replace(buyer.contracts[0], id=f"roofer-{number}") for number in range(5000))
    began = time.process_time()
    found = check(replace(terms, buyers={"roofer": replace(buyer, contracts=many)}))
    assert time.process_time() - began < 30
    assert len([problem for problem in found if "overlaps with" in problem.message]) == 20


def test_of_a_hundred_thousand_slips_the_first_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each for the first hundred errors of the file, and how many more there are; the count is of all of them.

    As JSON all are there; the daemon is told as much as an operator reads.
    """
    config, state = lay_out({}, tmp_path), tmp_path / "state"
    put('id = "roofer"', "\n".join(f"zzz{n} = 1" for n in range(100_000)) + '\nid = "roofer"')(config)
    (config / "sources/web.toml").write_text("yyy = 1")
    words = ["check", "--config", str(config), "--state", str(state)]
    assert main(words) == 1
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith(f"error:   {BUYER}")]
    assert len(told) == SHOWN_MAX + 1
    assert told[-1].startswith(f"error:   {BUYER}: {100_000 - SHOWN_MAX} errors more in this file")
    assert any("yyy" in line for line in lines)
    assert int(lines[-1].split()[0]) > 100_000
    main([*words, "--json"])
    assert capsys.readouterr().out.count("zzz") == 100_000
    problems = read_candidate(config, state).problems
    assert sum(problem.file == BUYER for problem in problems) == SHOWN_MAX + 1

"""Reading files: what counts, what does not, and errors that name the file and the line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from router.terms.check import check
from router.terms.load import load, state_place, with_buyer
from router.terms.problems import errors
from tests.config_cases import CASES

BUYER = {
    "id": "api",
    "name": "By API",
    "endpoints": {"e": {"url": "https://api.example", "idempotent": True, "body": {"phone": "{{phone}}"},
                        "responses": [{"when": {"keyword": "ok"}, "outcome": "accepted"}]}},
    "contracts": [{"id": "api-1", "lead_type": "solar", "endpoint": "e", "price": "9.00",
                   "coverage": {"postal_codes": ["60601"]}, "fields": {"required": ["phone"]}}],
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the small valid base."""
    shutil.copytree(CASES / "base", tmp_path / "config")
    return tmp_path / "config"


def keep(state: Path, name: str, buyer: object) -> None:
    """Write a buyer as the API does."""
    (state / "buyers").mkdir(parents=True, exist_ok=True)
    (state / "buyers" / name).write_text(json.dumps(buyer))


def test_places_say_which_file_an_object_came_from(config: Path, tmp_path: Path) -> None:
    """A file's name need not be its id; buyers of the API stand in the state directory."""
    (config / "buyers" / "roofer.toml").rename(config / "buyers" / "01-roofer.toml")
    keep(tmp_path / "state", "api.json", BUYER)
    terms = load(config, tmp_path / "state").terms
    assert terms is not None
    assert terms.places == {
        "lead_type:solar": "lead_types/solar.toml",
        "source:web": "sources/web.toml",
        "buyer:roofer": "buyers/01-roofer.toml",
        "contract:roofer-tx": "buyers/01-roofer.toml",
        "buyer:api": "$STATE/buyers/api.json",
        "contract:api-1": "$STATE/buyers/api.json",
    }
    assert state_place("api") == "$STATE/buyers/api.json"


def test_one_id_in_a_file_and_in_the_state_names_both(config: Path, tmp_path: Path) -> None:
    """Nobody has to guess which of two records counts."""
    keep(tmp_path / "state", "roofer.json", {**BUYER, "id": "roofer"})
    loaded = load(config, tmp_path / "state")
    assert loaded.terms is None
    (problem,) = loaded.problems
    assert problem.file == "$STATE/buyers/roofer.json"
    assert "buyers/roofer.toml" in problem.message


def test_json_that_is_none_is_an_error(config: Path, tmp_path: Path) -> None:
    """Broken, too deep or not UTF-8: the file is named and nothing is raised."""
    folder = tmp_path / "state" / "buyers"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text("{")
    (folder / "b.json").write_text("[" * 100_000)
    (folder / "c.json").write_bytes(b'"\xff"')
    assert [problem.file for problem in load(config, tmp_path / "state").problems] == [
        "$STATE/buyers/a.json",
        "$STATE/buyers/b.json",
        "$STATE/buyers/c.json",
    ]


def test_hidden_and_foreign_files_do_not_count(config: Path) -> None:
    """What editors and version control leave behind is no buyer."""
    (config / "buyers" / ".roofer.toml.swp.toml").write_text("nonsense")
    (config / "buyers" / "roofer.toml~").write_text("nonsense")
    (config / "buyers" / "README.md").write_text("hello")
    assert load(config).problems == []


def test_a_byte_order_mark_and_windows_lines_are_fine(config: Path) -> None:
    """Files come from everywhere."""
    path = config / "buyers" / "roofer.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load(config).problems == []


def test_files_that_cannot_be_read_are_named(config: Path) -> None:
    """Latin-1, too large, too deep, a directory: each its own error, all at once."""
    (config / "buyers" / "a.toml").write_bytes(b'id = "a"\nname = "\xfc"\n')
    (config / "buyers" / "b.toml").write_bytes(b"#" * (4 * 2**20 + 1))
    (config / "buyers" / "c.toml").write_text("a = " + "[" * 5000)
    (config / "buyers" / "d.toml").mkdir()
    found = {(problem.file, problem.key): problem.message for problem in load(config).problems}
    assert found["buyers/a.toml", "line 2"] == "is not UTF-8 text"
    assert found["buyers/b.toml", ""] == "is larger than 4 MiB"
    assert any(file == "buyers/c.toml" for file, _ in found)
    assert found["buyers/d.toml", ""].startswith("is not a file")


def other(config: Path, name: str, **changes: object) -> None:
    """One more buyer, sound but for the changes."""
    contract = {"id": f"{name}-1", "lead_type": "solar", "coverage": 'postal_codes = ["60601"]'} | changes
    (config / "buyers" / f"{name}.toml").write_text(f"""
        id = "{name}"
        name = "{name}"
        [endpoints.e]
        url = "{changes.get("url", "https://other.example")}"
        body = {{ phone = "{{{{phone}}}}" }}
        responses = [{{ when = {{ keyword = "ok" }}, outcome = "accepted" }}]
        [[contracts]]
        id = "{contract["id"]}"
        lead_type = "{contract["lead_type"]}"
        endpoint = "e"
        price = {changes.get("price", '"9.00"')}
        coverage = {{ {contract["coverage"]} }}
        fields = {{ required = ["phone"] }}
    """)


def test_errors_of_reading_hide_no_errors_of_judging(config: Path) -> None:
    """One pass shows what is misspelt in one file and what is wrong in another; nothing is said that may be untrue."""
    other(config, "dear", price="9.0")
    other(config, "lost", lead_type="nope")
    other(config, "near", url="https://10.1.1.1/")
    other(config, "away", coverage='postal_codes = ["x"]')
    router = (config / "router.toml").read_text()
    (config / "router.toml").write_text(
        router.replace("allow_private = []", 'allow_private = ["10.0.0.0/8"]') + "[ledgers]"
    )
    assert {(one.file, one.key) for one in errors(load(config).problems)} == {
        ("router.toml", "ledgers"),
        ("buyers/dear.toml", "contracts[0].price"),
        ("buyers/lost.toml", "contracts[0].lead_type"),
        ("buyers/away.toml", "contracts[0].coverage.postal_codes[0]"),
    }


def test_what_an_unread_file_may_say_is_no_error_elsewhere(config: Path) -> None:
    """What could not be read may have all that others refer to; what is wrong in these shows all the same."""
    other(config, "away", coverage='postal_codes = ["x"]')
    other(config, "more", coverage='files = ["coverage/none.csv"]')
    for file, line in (("lead_types/solar.toml", "deadlin = 1"), ("sources/web.toml", "waits = 1")):
        text = (config / file).read_text()
        (config / file).write_text(f"{line}\n{text}")
    expected = {
        ("lead_types/solar.toml", "deadlin"),
        ("sources/web.toml", "waits"),
        ("buyers/away.toml", "contracts[0].coverage.postal_codes[0]"),
        ("buyers/more.toml", "contracts[0].coverage.files[0]"),
    }
    assert {(one.file, one.key) for one in errors(load(config).problems)} == expected
    (config / "lead_types" / "solar.toml").write_text("no toml")
    found = {(one.file, one.key) for one in errors(load(config).problems)}
    assert found == (expected - {("lead_types/solar.toml", "deadlin")}) | {
        ("lead_types/solar.toml", "line 1, column 4")
    }


def test_no_router_toml_and_no_directory(config: Path) -> None:
    """The two first things that go wrong say what to do."""
    (config / "router.toml").unlink()
    (problem,) = load(config).problems
    assert (problem.file, problem.message) == ("router.toml", "is missing")
    (problem,) = load(config / "nowhere").problems
    assert "lead-router init" in problem.mend


def test_lists_of_postal_codes_are_read_once_by_their_name(config: Path) -> None:
    """Also those of `exclude`; links may lead inside the directory, not out of it."""
    (config / "coverage").mkdir(exist_ok=True)
    (config / "coverage" / "a.csv").write_text("78701\n")
    (config / "coverage" / "b.csv").symlink_to(config / "coverage" / "a.csv")
    (config / "coverage" / "out.csv").symlink_to("/etc/hostname")
    (config / "coverage" / "loop.csv").symlink_to(config / "coverage" / "loop.csv")
    path = config / "buyers" / "roofer.toml"
    text = path.read_text()
    good = 'files = ["coverage/a.csv", "coverage/a.csv"]\nexclude = { files = ["coverage/b.csv"] }'
    path.write_text(text.replace('postal_codes = ["78701", "78702-78705"]', good))
    terms = load(config).terms
    assert terms is not None
    assert terms.lists == {"coverage/a.csv": "78701\n", "coverage/b.csv": "78701\n"}
    bad = f'files = ["coverage/out.csv", "coverage/loop.csv", "coverage", "", "{"x" * 300}"]'
    path.write_text(text.replace('postal_codes = ["78701", "78702-78705"]', bad))
    loaded = load(config)
    assert loaded.terms is None
    assert [problem.key for problem in loaded.problems] == [f"contracts[0].coverage.files[{at}]" for at in range(5)]


def test_a_buyer_can_be_proposed(config: Path) -> None:
    """`with_buyer` gives the terms as they would be; replacing frees the contract ids of the buyer's earlier record."""
    terms = load(config).terms
    assert terms is not None
    proposed = with_buyer(terms, BUYER, config)
    assert proposed.problems == []
    assert proposed.terms is not None
    assert set(proposed.terms.buyers) == {"roofer", "api"}
    assert errors(check(proposed.terms)) == []
    again = with_buyer(proposed.terms, {**BUYER, "name": "Again"}, config)
    assert again.terms is not None
    assert again.terms.buyers["api"].name == "Again"
    assert set(terms.buyers) == {"roofer"}


def test_a_proposed_buyer_with_errors_changes_nothing(config: Path) -> None:
    """Wrong types, contract ids of others and missing lists are found before anything is kept."""
    terms = load(config).terms
    assert terms is not None
    (problem,) = with_buyer(terms, {**BUYER, "name": 3}, config).problems
    assert (problem.file, problem.key) == ("$STATE/buyers", "name")
    taken = {**BUYER, "contracts": [{**BUYER["contracts"][0], "id": "roofer-tx"}]}  # type: ignore[dict-item, index]
    (problem,) = with_buyer(terms, taken, config).problems
    assert (problem.key, "buyers/roofer.toml" in problem.message) == ("contracts[0].id", True)
    lost = {**BUYER, "contracts": [{**BUYER["contracts"][0], "coverage": {"files": ["coverage/no.csv"]}}]}  # type: ignore[dict-item, index]
    loaded = with_buyer(terms, lost, config)
    assert (loaded.terms, [problem.key for problem in loaded.problems]) == (None, ["contracts[0].coverage.files[0]"])


def test_a_key_that_means_nothing_hides_no_other_error(config: Path, tmp_path: Path) -> None:
    """The rest of the file is judged all the same; one that was misspelt is not missed a second time."""
    odd = {**BUYER, "zzz": 1, "contracts": [{**BUYER["contracts"][0], "qqq": 2, "coverage": {}}]}  # type: ignore[index]
    keep(tmp_path / "state", "api.json", odd)
    keys = [problem.key for problem in errors(load(config, tmp_path / "state").problems)]
    assert {"zzz", "contracts[0].qqq"} < set(keys)
    assert any(key.startswith("contracts[0].coverage") for key in keys)
    odd = {
        **BUYER,
        "contracts": [{key.replace("coverage", "coverge"): one for key, one in odd["contracts"][0].items()}],
    }
    keep(tmp_path / "state", "api.json", odd)
    keys = [problem.key for problem in errors(load(config, tmp_path / "state").problems)]
    assert sorted(keys) == ["contracts[0].coverge", "contracts[0].qqq"]


def test_a_number_that_cannot_be_read_hides_no_other_error(config: Path, tmp_path: Path) -> None:
    """Of the wrong type, missing or misspelt: the rest of its file is judged, and nothing is said of it twice."""
    terms = load(config).terms
    assert terms is not None
    first: dict[str, Any] = BUYER["contracts"][0]  # type: ignore[index, assignment]
    for wrong, said in (
        ({"price": 10}, ["price"]),
        ({"price": None}, ["price"]),
        ({"prise": first["price"]}, ["prise", "price"]),
        ({"caps": [{"id": "day", "per": "day", "limit": "5"}]}, ["caps[0].limit"]),
        ({"sla": {"deliver_within": 5}}, ["sla.deliver_within"]),
    ):
        contract = {**first, "lead_type": "wind", "coverage": {"postal_codes": ["2134"]}, **wrong}
        if "prise" in wrong:
            del contract["price"]
        tree = {**BUYER, "contracts": [contract]}
        wanted = {f"contracts[0].{key}" for key in (*said, "lead_type", "coverage.postal_codes[0]")}
        keep(tmp_path / "state", "api.json", tree)
        for problems in (load(config, tmp_path / "state").problems, with_buyer(terms, tree, config).problems):
            keys = [problem.key for problem in errors(problems)]
            assert set(keys) == wanted, (wrong, keys)
            assert len(keys) == len(set(keys))

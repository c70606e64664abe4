"""The configuration's files -> Terms, or every error of every file at once.

What an operator wrote stands in `router.toml`, `lead_types/`, `sources/` and `buyers/`; what the API wrote stands in
the state directory, `buyers/*.json`, in the same words. Lists of postal codes that contracts name are read along, so
that from here on terms are values and nobody touches a file again.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from os.path import isfile  # unlike Path.is_file it never raises, not even for names that are too long
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import tomli

from router.terms.check import check, check_buyer
from router.terms.decode import decode, decode_known
from router.terms.problems import Problem, errors
from router.terms.rest import ANY_ID, judge_rest
from router.terms.schema import Buyer, LeadType, RouterTerms, Source, Terms

_ROUTER: Final = "router.toml"
#: The tables of `router.toml` by which other files are judged.
_JUDGED_BY: Final = ("network", "defaults")
_FOLDERS: Final = ("lead_types", "sources", "buyers")
#: How files in the state directory are named in problems and in `Terms.places`.
STATE_PLACE: Final = "$STATE/"
_FILE_BYTES_MAX: Final = 4 * 2**20
_LIST_BYTES_MAX: Final = 64 * 2**20
_AT_LINE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|(end of document))\)$")
_DIGITS: Final = re.compile(r"[0-9_]+")

Owned = TypeVar("Owned", LeadType, Source, Buyer)


class Loaded(NamedTuple):
    """What came of reading: `terms` is None when any file could not be read as terms; `problems` says why."""

    terms: Terms | None
    problems: list[Problem]


class _Reading:
    """One pass over the files: what was found and what was wrong."""

    def __init__(self, config_dir: Path, state_dir: Path | None) -> None:
        self.config_dir = config_dir
        self.state_dir = state_dir
        self.problems: list[Problem] = []
        self.places: dict[str, str] = {}
        self.unread: set[str] = set()  # "lead_type:solar", "source:*": what stands in files that could not be read
        self.stood_in: list[tuple[str, str]] = []  # (file, key) of numbers that could not be read

    def error(self, file: str, key: str, message: str, mend: str) -> None:
        self.problems.append(Problem(file, key, message, mend))


def load(config_dir: Path, state_dir: Path | None = None) -> Loaded:
    """Read all terms of a configuration directory and, if given, the buyers that the API keeps in the state directory.

    Judging terms together is `check`'s business; but where some cannot be read, the others are judged here as far as
    that goes, so that all errors show at once. Raises nothing for what stands in files.
    """
    reading = _Reading(config_dir, state_dir)
    if not config_dir.is_dir():
        mend = "Name the directory that holds router.toml; `lead-router init DIR` writes a commented one"
        return Loaded(None, [Problem("", "", f"{config_dir} is not a directory", mend)])
    router = _router(reading)
    _strangers(reading)
    lead_types = _folder(reading, "lead_types", "lead_type", LeadType)
    sources = _folder(reading, "sources", "source", Source)
    buyers = _folder(reading, "buyers", "buyer", Buyer)
    _state_buyers(reading, buyers)
    for buyer in buyers.values():
        _claim_contracts(reading, buyer)
    lists = _lists(reading, buyers.values())
    if router is None:
        return Loaded(None, reading.problems)
    terms = Terms(
        router=router, lead_types=lead_types, sources=sources, buyers=buyers, lists=lists, places=reading.places
    )
    if errors(reading.problems):
        return Loaded(None, reading.problems + judge_rest(check(terms), terms, reading.unread, reading.stood_in))
    return Loaded(terms, reading.problems)


def with_buyer(terms: Terms, tree: object, config_dir: Path) -> Loaded:
    """These terms with one buyer put in place of the one of its id, or added: what `PUT /v1/buyers/{id}` proposes.

    `tree` is the decoded JSON body. Lists its coverage names are read from the configuration directory. The buyer's
    place becomes its file in the state directory; whether it may be put at all is the caller's question.
    """
    file = f"{STATE_PLACE}buyers"
    buyer, problems, stood_in = decode_known(tree, Buyer, file)
    if buyer is None:
        return Loaded(None, problems)
    file = state_place(buyer.id)
    reading = _Reading(config_dir, None)
    old = terms.buyers.get(buyer.id)
    gone = {f"contract:{contract.id}" for contract in old.contracts} if old else set()
    reading.places = {name: place for name, place in terms.places.items() if name not in gone}
    reading.places[f"buyer:{buyer.id}"] = file
    _claim_contracts(reading, buyer)
    lists = {**terms.lists, **_lists(reading, [buyer])}
    if errors(reading.problems):
        return Loaded(None, [*problems, *reading.problems])
    buyers = {**terms.buyers, buyer.id: buyer}
    changed = msgspec.structs.replace(terms, buyers=buyers, lists=lists, places=reading.places)
    if stood_in:
        rest = judge_rest(check_buyer(changed, buyer.id), changed, set(), [(file, key) for key in stood_in])
        return Loaded(None, [*problems, *reading.problems, *rest])
    return Loaded(changed, [*problems, *reading.problems])


def state_place(buyer_id: str) -> str:
    """The name in problems and places of the file in the state directory that the API keeps a buyer in."""
    return f"{STATE_PLACE}buyers/{buyer_id}.json"


# -- files ---------------------------------------------------------------------------------------


def _router(reading: _Reading) -> RouterTerms | None:
    path = reading.config_dir / _ROUTER
    if not path.exists():
        reading.error(_ROUTER, "", "is missing", "Write it; it may be empty, every key in it has a default")
        return None
    tree = _toml(reading, path, _ROUTER)
    if tree is None:
        return None
    router, problems = decode(tree, RouterTerms, _ROUTER)
    reading.problems += problems
    if router is None:  # what the other files are judged by may be in order all the same
        router, _ = decode({key: tree[key] for key in _JUDGED_BY if key in tree}, RouterTerms, _ROUTER)
    return router


def _folder(reading: _Reading, folder: str, word: str, kind: type[Owned]) -> dict[str, Owned]:
    found: dict[str, Owned] = {}
    for path in _files(reading, reading.config_dir / folder, folder, ".toml"):
        file = f"{folder}/{path.name}"
        tree = _toml(reading, path, file)
        if tree is not None:
            _keep(reading, found, tree, file, word, kind)
        else:
            reading.unread.add(f"{word}:{ANY_ID}")
    return found


def _state_buyers(reading: _Reading, buyers: dict[str, Buyer]) -> None:
    if reading.state_dir is None:
        return
    for path in _files(reading, reading.state_dir / "buyers", f"{STATE_PLACE}buyers", ".json"):
        file = f"{STATE_PLACE}buyers/{path.name}"
        data = _bytes(reading, path, file, _FILE_BYTES_MAX)
        if data is None:
            continue
        try:
            tree = msgspec.json.decode(data)
        except RecursionError:
            reading.error(file, "", "is nested too deeply to be read", "PUT the buyer again, or take the file away")
            continue
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            reading.error(file, "", f"is not JSON: {error}", "PUT the buyer again, or take the file away")
            continue
        _keep(reading, buyers, tree, file, "buyer", Buyer)


def _keep(reading: _Reading, found: dict[str, Owned], tree: object, file: str, word: str, kind: type[Owned]) -> None:
    owned, problems, stood_in = decode_known(tree, kind, file)
    reading.problems += problems
    reading.stood_in += [(file, key) for key in stood_in]
    if owned is None:
        own_id = tree.get("id") if isinstance(tree, dict) else None
        reading.unread.add(f"{word}:{own_id if isinstance(own_id, str) else ANY_ID}")
        return
    _claim(reading, f"{word}:{owned.id}", file, "id")
    found.setdefault(owned.id, owned)


def _claim_contracts(reading: _Reading, buyer: Buyer) -> None:
    file = reading.places[f"buyer:{buyer.id}"]
    for index, contract in enumerate(buyer.contracts):
        _claim(reading, f"contract:{contract.id}", file, f"contracts[{index}].id")


def _claim(reading: _Reading, name: str, file: str, key: str) -> None:
    """Take a name for the object in this file, or say where it stands already."""
    other = reading.places.get(name)
    if other is None:
        reading.places[name] = file
        return
    word, _, own_id = name.partition(":")
    where = "twice in this file" if other == file else f"in {other} too"
    message = f'the {word.replace("_", " ")} "{own_id}" stands {where}'
    reading.error(file, key, message, "Give one of them another id, or take it out")


def _files(reading: _Reading, folder: Path, name: str, suffix: str) -> Iterator[Path]:
    """The files of a folder by name, hidden ones left out; a folder that is not there is empty."""
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            reading.error(name, "", "is not a directory", "Make it one; its files are read")
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        reading.error(name, "", f"cannot be read: {error.strerror}", "Let the daemon's user read it")
        return
    for path in entries:
        if path.name.startswith("."):
            continue
        if path.suffix == suffix:
            yield path
        elif suffix == ".toml" and path.is_dir():
            _unread(reading, f"{name}/{path.name}/", f"Move its files up into {name}/")


def _strangers(reading: _Reading) -> None:
    """Warn of TOML files that lie where nobody reads them: most likely somebody meant them to count."""
    for path in sorted(reading.config_dir.iterdir()):
        if path.suffix == ".toml" and path.name != _ROUTER:
            _unread(reading, path.name, f"Move it into {', '.join(_FOLDERS)}, or into router.toml")
        elif path.is_dir() and path.name not in _FOLDERS and next(path.glob("*.toml"), None):
            _unread(reading, f"{path.name}/", f"Terms are read from {', '.join(_FOLDERS)} only")


def _unread(reading: _Reading, file: str, mend: str) -> None:
    reading.problems.append(Problem(file, "", "is not read", mend, "warning"))


def _toml(reading: _Reading, path: Path, file: str) -> dict[str, Any] | None:
    data = _bytes(reading, path, file, _FILE_BYTES_MAX)
    if data is None:
        return None
    text = _utf8(reading, data, file)
    if text is None:
        return None
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        message = str(error)
        at = _AT_LINE.search(message)
        key = f"line {at[1]}, column {at[2]}" if at and at[1] else "at the end"
        reading.error(file, key, f"is not TOML: {message[: at.start()] if at else message}", "Correct it there")
    except ValueError:  # Python reads no number of thousands of digits
        longest = max(_DIGITS.finditer(text), key=lambda found: len(found[0]), default=None)
        key = "" if longest is None else f"line {text.count(chr(10), 0, longest.start()) + 1}"
        reading.error(file, key, "holds a number that is too long to be read", "Write a shorter one")
    except RecursionError:
        reading.error(file, "", "is nested too deeply to be read", "No term needs that; write it flatter")
    return None


def _utf8(reading: _Reading, data: bytes, file: str) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reading.error(file, f"line {line}", "is not UTF-8 text", "Save it as UTF-8")
        return None


def _bytes(reading: _Reading, path: Path, file: str, bytes_max: int) -> bytes | None:
    try:
        if not path.is_file() and path.exists():  # a pipe or a device would be read for ever
            reading.error(file, "", "is not a file", "Put a plain file there, or take it away")
            return None
        with path.open("rb") as opened:
            data = opened.read(bytes_max + 1)
    except OSError as error:
        reading.error(file, "", f"cannot be read: {error.strerror}", "Let the daemon's user read it")
        return None
    if len(data) > bytes_max:
        mend = "Split it; long lists of postal codes go into files under coverage/, which contracts name"
        reading.error(file, "", f"is larger than {bytes_max >> 20} MiB", mend)
        return None
    return data


# -- lists of postal codes -----------------------------------------------------------------------


def _lists(reading: _Reading, buyers: Iterable[Buyer]) -> dict[str, str]:
    """The text of every file that coverage names, by the name it is named with."""
    found: dict[str, str | None] = {}
    root = reading.config_dir.resolve()
    for buyer in buyers:
        file = reading.places[f"buyer:{buyer.id}"]
        for key, name in _named_files(buyer):
            if name not in found:
                found[name] = None
                inside = _inside(root, name)
                if inside is not None and isfile(inside):
                    found[name] = _list_text(reading, inside, name)
                    continue
            if found[name] is None:
                _no_list(reading, file, key, name, root)
    return {name: text for name, text in found.items() if text is not None}


def _named_files(buyer: Buyer) -> Iterator[tuple[str, str]]:
    for index, contract in enumerate(buyer.contracts):
        if contract.coverage is None:
            continue
        place = f"contracts[{index}].coverage"
        named: Mapping[str, tuple[str, ...]] = {
            f"{place}.files": contract.coverage.files,
            f"{place}.exclude.files": contract.coverage.exclude.files,
        }
        for key, names in named.items():
            for number, name in enumerate(names):
                yield f"{key}[{number}]", name


def _inside(root: Path, name: str) -> Path | None:
    """The file that `name` means, links followed, or None when it lies outside the configuration directory."""
    try:
        path = (root / name).resolve()
    except (OSError, RuntimeError):  # a name too long, or links that lead in a circle
        return None
    return path if path.is_relative_to(root) else None


def _list_text(reading: _Reading, path: Path, name: str) -> str | None:
    data = _bytes(reading, path, name, _LIST_BYTES_MAX)
    return None if data is None else _utf8(reading, data, name)


def _no_list(reading: _Reading, file: str, key: str, name: str, root: Path) -> None:
    inside = _inside(root, name)
    if inside is None:
        mend = "Put the list under coverage/ and name it from there"
        message = f'"{name}" lies outside the configuration directory, or its links lead in a circle'
        reading.error(file, key, message, mend)
    elif not isfile(inside):
        mend = "Put the list there, or correct the name; it is relative to the configuration directory"
        reading.error(file, key, f'there is no file "{name}"', mend)

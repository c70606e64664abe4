"""What can be said of the files that could be read while others could not: so that one pass shows every error.

Only what holds whatever the unread files turn out to say is said. A name that an unread file may bring is no wrong
reference, and nothing is judged by fields that may stand in an unread lead type. Warnings wait until all can be read.
"""

from collections.abc import Iterable, Iterator, Set

from router.terms.problems import Problem, errors
from router.terms.schema import Buyer, Source, Terms

#: In place of an id where a file is so broken that nobody can tell whose it is.
ANY_ID = "*"


def judge_rest(
    found: Iterable[Problem], read: Terms, unread: Set[str], stood_in: Iterable[tuple[str, str]]
) -> list[Problem]:
    """Of what was found in the terms that could be read the errors that hold whatever the others are.

    `unread` names what could not be read: `lead_type:solar`, or `source:*`. `stood_in` are the places (file, key) of
    numbers that could not: nothing is said of those, nor of the table around one as a whole.
    """
    waiting = [*_waiting(read, unread), *stood_in]
    around = {(file, key.rpartition(".")[0]) for file, key in stood_in}
    return [
        problem
        for problem in errors(found)
        if (problem.file, problem.key) not in around and not any(_within(problem, *place) for place in waiting)
    ]


def _within(problem: Problem, file: str, key: str) -> bool:
    rest = problem.key.removeprefix(key)
    return problem.file == file and problem.key.startswith(key) and (not rest or rest[0] in ".[")


def _waiting(read: Terms, unread: Set[str]) -> Iterator[tuple[str, str]]:
    """The places (file, key and all below it) that are not to be judged before everything can be read."""
    for source in read.sources.values():
        file = read.places[f"source:{source.id}"]
        yield from ((file, key) for key in _waiting_of_source(source, read, unread))
    for buyer in read.buyers.values():
        file = read.places[f"buyer:{buyer.id}"]
        yield from ((file, key) for key in _waiting_of_buyer(buyer, read, unread))


def _waiting_of_source(source: Source, read: Terms, unread: Set[str]) -> Iterator[str]:
    for index, name in enumerate(source.lead_types):
        if name not in read.lead_types and _may_come("lead_type", name, unread):
            yield f"lead_types[{index}]"
            yield "map"


def _waiting_of_buyer(buyer: Buyer, read: Terms, unread: Set[str]) -> Iterator[str]:
    for index, contract in enumerate(buyer.contracts):
        place = f"contracts[{index}]"
        if contract.lead_type not in read.lead_types and _may_come("lead_type", contract.lead_type, unread):
            yield f"{place}.lead_type"
            yield "endpoints"
        for key in ("sources", "exclude_sources"):
            for number, name in enumerate(getattr(contract, key)):
                if name not in read.sources and _may_come("source", name, unread):
                    yield f"{place}.{key}[{number}]"
        if contract.coverage is not None and any(
            name not in read.lists for name in (*contract.coverage.files, *contract.coverage.exclude.files)
        ):
            yield f"{place}.coverage"


def _may_come(word: str, own_id: str, unread: Set[str]) -> bool:
    return f"{word}:{own_id}" in unread or f"{word}:{ANY_ID}" in unread

"""One finding about the configuration: where it is, what is wrong and why that matters, and the mend."""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

Severity = Literal["error", "warning"]
#: So many errors of one file are told to people, and so many warnings.
SHOWN_MAX: Final = 100


class Problem(Struct, frozen=True, order=True):
    """A finding in one place.

    `file` is relative to the configuration directory, `key` the path of the key in it (`contracts[2].caps[0].per`) or
    a line; either may be empty. `message` and `mend` are sentences without their full stop. An error keeps the terms
    from being used, a warning does not. Neither ever shows a secret or anybody's personal data.
    """

    file: str
    key: str
    message: str
    mend: str
    severity: Severity = "error"

    def line(self) -> str:
        """`buyers/x.toml: contracts[0].price: what is wrong. The mend`, for a terminal or a log."""
        place = "".join(f"{part}: " for part in (self.file, self.key) if part)
        return f"{place}{self.message}. {self.mend}" if self.mend else f"{place}{self.message}"


def abridged(problems: Iterable[Problem]) -> list[Problem]:
    """The first so many errors and warnings of each file in their order, the last of them followed by how many more."""
    of_files: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        of_files.setdefault((problem.file, problem.severity), []).append(problem)
    found: list[Problem] = []
    for (file, severity), own in of_files.items():
        found += own[:SHOWN_MAX]
        if len(own) > SHOWN_MAX:
            more = f"{len(own) - SHOWN_MAX} {severity}s more in this file"
            found.append(Problem(file, "", more, "Mend the first ones; check says what is left then", own[0].severity))
    return found


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Those of the findings that keep the terms from being used."""
    return [problem for problem in problems if problem.severity == "error"]

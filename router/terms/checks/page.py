"""Where judges write what they find: a file of the configuration, and a place in it that findings stand below."""

from router.terms.problems import Problem, Severity


class Page:
    """Findings of one file. `at` makes a page for a table of it, which writes into the same list."""

    def __init__(self, file: str, prefix: str = "", problems: list[Problem] | None = None) -> None:
        self.file = file
        self.prefix = prefix
        self.problems: list[Problem] = [] if problems is None else problems

    def at(self, key: str) -> "Page":
        """The page of the table at `key`, relative to this one: `contracts[0]`, `auth`."""
        return Page(self.file, self._path(key), self.problems)

    def error(self, key: str, message: str, mend: str) -> None:
        """What keeps the terms from being used. `key` is relative to this page; empty means the table itself."""
        self._write(key, message, mend, "error")

    def warn(self, key: str, message: str, mend: str) -> None:
        """What is probably wrong."""
        self._write(key, message, mend, "warning")

    def take(self, problem: Problem) -> None:
        """A finding somebody else made, whose key is relative to this page."""
        self._write(problem.key, problem.message, problem.mend, problem.severity)

    def _write(self, key: str, message: str, mend: str, severity: Severity) -> None:
        sentence = mend[:1].upper() + mend[1:]
        self.problems.append(Problem(self.file, self._path(key), message, sentence, severity))

    def _path(self, key: str) -> str:
        if not self.prefix or not key:
            return self.prefix or key
        return f"{self.prefix}{key}" if key.startswith("[") else f"{self.prefix}.{key}"

"""Exit codes, and the one exception a command stops with when it can say in words what is wrong."""

from typing import Final, TextIO

DONE: Final = 0
NO: Final = 1  # it says no: check found errors, a lead was refused, the history does not hold
USAGE: Final = 2
UNREACHABLE: Final = 69
INTERNAL: Final = 70
DISK: Final = 74
CONFIG: Final = 78
INTERRUPTED: Final = 130  # Ctrl-C, as shells count it


class CommandError(Exception):
    """A command cannot go on. `code` is the exit code, `mend` what its user can do about it."""

    def __init__(self, code: int, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.mend = mend

    def tell(self, stream: TextIO) -> int:
        """Print what is wrong and the mend; returns the exit code."""
        print(f"lead-router: {self.message}", file=stream)
        if self.mend:
            print(f"  {self.mend}", file=stream)
        return self.code

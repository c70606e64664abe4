"""The command line: one file a command, each imported only when it is the one asked for, so that `--help` is quick.

A command module has `HELP`, `arguments(parser)` and `run(options) -> int`, the exit code. What goes wrong and can be
foreseen is a `CommandError`, said in words with the mend; anything else is a defect of ours and exits 70.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn, Protocol, cast

from router.cli.exits import INTERNAL, INTERRUPTED, NO, CommandError

#: Every command in the order of a day's work, with the line `--help` shows.
COMMANDS: Final[dict[str, str]] = {
    "init": "write a commented starter configuration",
    "demo": "the whole product on this machine: sample terms, buyers that answer, a stream of leads",
    "check": "find every error in a configuration, without a daemon",
    "coverage": "take in a buyer's territory list; draw who covers what; list what nobody covers",
    "diff": "what a configuration would change in the running terms, in words and in numbers",
    "serve": "run the daemon",
    "send": "send leads from JSON, NDJSON or CSV",
    "explain": "who would get this lead, and why the others would not; nothing is sent or recorded",
    "trace": "show the way a lead took, and why",
    "status": "is the daemon ready, with which terms, how much it has done",
    "contracts": "contracts with their live state: caps, guards, what is in flight",
    "certify": "post test leads to a buyer's endpoints and show every step",
    "pause": "stop leads to a contract, to a buyer or from a source",
    "resume": "take a pause back, at once or a growing share at a time",
    "override": "other caps, or no guards, for a contract or a buyer until an instant",
    "restore": "take an override back before it is over",
    "resolve": "say what became of a delivery that is in doubt",
    "export": "posting specifications out of the terms: for a source, for a buyer",
    "reconcile": "a buyer's own list of leads against the ledger: the failures nobody was told of",
    "report": "acceptance, near misses, coverage: what many leads together say",
    "token": "make a token, with the line for the configuration",
    "ledger": "verify the history, or count what it holds",
    "buyers": "run the hostile buyer farm to test against",
}


class Command(Protocol):
    """What a command's module offers."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and return its exit code; see docs/reference/cli.md."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        options = _parser(words).parse_args(words)
        return cast(int, options.run(options))
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a wrong word
        return stop.code if isinstance(stop.code, int) else NO
    except CommandError as error:
        return error.tell(sys.stderr)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _nobody_reads()
    except Exception:
        return _defect()


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands, with the arguments of the one that was named."""
    parser = argparse.ArgumentParser(
        prog="lead-router",
        description="Routes sales leads to buyers by enforcing their terms before sending, and proves every decision.",
        epilog="`lead-router COMMAND --help` says more. New here? `lead-router demo` shows everything at once.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    named = next((word for word in words if not word.startswith("-")), None)
    for name, help_line in COMMANDS.items():
        sub = commands.add_parser(name, help=help_line, description=help_line[0].upper() + help_line[1:] + ".")
        if name == named:
            command = cast(Command, importlib.import_module(f"router.cli.{name}"))
            command.arguments(sub)
            sub.set_defaults(run=command.run)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("lead-router")
        except PackageNotFoundError:
            found = "(not installed)"
        print(f"lead-router {found}")
        parser.exit()


def _nobody_reads() -> int:
    """`lead-router trace ... | head`: the reader has gone, which is no error; keeps Python from complaining at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _defect() -> int:
    import traceback

    traceback.print_exc()
    print("lead-router: this is a defect of lead-router; please report the lines above.", file=sys.stderr)
    return INTERNAL

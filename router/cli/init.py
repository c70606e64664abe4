"""`lead-router init DIR`: a commented starter configuration, which is the sample that the tests keep working."""

import argparse
import shutil
from pathlib import Path

from router.cli import options as shared
from router.cli.exits import DISK, DONE, NO, CommandError
from router.cli.screen import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`init DIR`."""
    parser.add_argument("dir", type=Path, metavar="DIR", help="a directory that does not exist yet, or is empty")
    shared.json_output(parser)


def run(options: argparse.Namespace) -> int:
    """Copy the sample; exit 1 when something stands there already."""
    from router.demo.sample import SampleMissingError, sample_config

    target: Path = options.dir
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandError(NO, f"{target} is not empty", "Nothing was written. Name a directory that is new or empty.")
    try:
        shutil.copytree(sample_config(), target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("secrets"))
        (target / "secrets").mkdir(mode=0o700)
    except SampleMissingError as error:
        raise CommandError(DISK, str(error)) from None
    except OSError as error:
        raise CommandError(DISK, f"{target}: {error.strerror or error}") from None
    if options.json:
        print_json({"dir": str(target), "files": sorted(str(path) for path in target.rglob("*") if path.is_file())})
        return DONE
    print(
        f"{target} holds a starter configuration: router.toml, lead_types, sources, buyers, coverage, systemd.\n\n"
        "The tokens in it are public, for trying things out: replace them.\n\nNext:\n"
        f"  lead-router token new --operator you     a token for yourself, into {target}/router.toml\n"
        f"  lead-router check --config {target}      every error at once, with the mend\n"
        f"  lead-router serve --config {target}      when check finds none\n\n"
        f"A secret:NAME is read from {target}/secrets/NAME (mode 0600), or from systemd's credentials."
    )
    return DONE

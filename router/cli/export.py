"""`lead-router export`: posting specifications out of the terms, for a source and for a buyer."""

import argparse
from pathlib import Path
from typing import Final

from router.cli import options as shared
from router.cli.exits import CONFIG, DISK, DONE, USAGE, CommandError
from router.cli.screen import print_json

_URL: Final = "https://leads.example.com"


def arguments(parser: argparse.ArgumentParser) -> None:
    """`export spec-source ID|spec-buyer ID [--format md|html] [--out FILE]`."""
    actions = parser.add_subparsers(metavar="WHAT", required=True)
    for name, help_line in (
        ("spec-source", "what a source must send: fields, consent, answers, errors, examples"),
        ("spec-buyer", "what a buyer will receive, and how its answers are read"),
    ):
        action = actions.add_parser(name, help=help_line)
        action.add_argument("id", metavar="ID", help=f"the {name.removeprefix('spec-')}")
        action.add_argument("--format", choices=("md", "html"), help="Markdown or a page (default: by --out, else md)")
        action.add_argument("--out", type=Path, metavar="FILE", help="write it there (default: standard output)")
        if name == "spec-source":
            help_url = f"where sources reach us (default: {_URL})"
            action.add_argument("--public-url", default=_URL, metavar="URL", help=help_url)
        shared.config_dir(action)
        shared.state_dir(action)
        shared.json_output(action)
        action.set_defaults(what=name, run=run)


def run(options: argparse.Namespace) -> int:
    """Write it."""
    from router.onboarding.posting import buyer_document, html, markdown, source_document
    from router.terms.load import load
    from router.terms.problems import errors
    from router.web.problems import PROBLEMS

    loaded = load(options.config, options.state if options.state.is_dir() else None)
    if loaded.terms is None:
        mend = "`lead-router check` shows everything that is wrong."
        raise CommandError(CONFIG, errors(loaded.problems)[0].line(), mend)
    terms = loaded.terms
    owners = terms.sources if options.what == "spec-source" else terms.buyers
    if options.id not in owners:
        word = options.what.removeprefix("spec-")
        raise CommandError(USAGE, f"there is no {word} {options.id}", f"There are {', '.join(sorted(owners)[:20])}.")
    if options.what == "spec-source":
        url = options.public_url.rstrip("/")
        document = source_document(terms.sources[options.id], terms, url=url, problems=PROBLEMS)
    else:
        document = buyer_document(terms.buyers[options.id], terms)
    kind = options.format or ("html" if options.out is not None and options.out.suffix in (".html", ".htm") else "md")
    text = html(document) if kind == "html" else markdown(document)
    _write(options, text, kind)
    return DONE


def _write(options: argparse.Namespace, text: str, kind: str) -> None:
    if options.out is not None:
        try:
            options.out.write_text(text, "utf-8")
        except OSError as error:
            raise CommandError(DISK, f"{options.out}: {error.strerror or error}") from None
    if options.json:
        where = None if options.out is None else str(options.out)
        print_json({"id": options.id, "format": kind, "out": where, "text": text})
    elif options.out is None:
        print(text, end="")
    else:
        print(f"wrote {options.out}")

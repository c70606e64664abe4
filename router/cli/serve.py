"""`lead-router serve`: run the daemon until it is told to stop."""

import argparse

from router.cli import options as shared


def arguments(parser: argparse.ArgumentParser) -> None:
    """`serve --config DIR --state DIR [--accept-loss]`."""
    shared.config_dir(parser)
    shared.state_dir(parser)
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="start although the ledger has lost facts; `lead-router ledger verify` says which",
    )


def run(options: argparse.Namespace) -> int:
    """Serve; the daemon's exit code: 0 after a stop, 74 for the disk, 78 for the configuration."""
    from router.daemon import serve

    return serve(options.config, options.state, accept_loss=options.accept_loss)

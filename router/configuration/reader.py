"""A process of its own that reads and judges the terms on disk, so that the daemon's loop and lock are free meanwhile.

`python -m router.configuration.reader CONFIG STATE`: the addresses of the pieces that are known already come in on
standard input, the frames of `terms.handover` go out on standard output. It writes no file and ends when it has said
all.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from router.configuration.disk import read_candidate
from router.terms.handover import heard, sent

_NICENESS: Final = 5


def main(config_dir: Path, state_dir: Path) -> None:
    """Read, judge, hand over."""
    with suppress(OSError):  # serving leads is more urgent; where that may not be said, it is done all the same
        os.nice(_NICENESS)
    known = heard(sys.stdin.buffer.read())
    with suppress(BrokenPipeError):  # whoever asked has gone
        for frame in sent(read_candidate(config_dir, state_dir), known):
            sys.stdout.buffer.write(frame)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))

"""`python -m router` is the same program as `lead-router`."""

import sys

from router.cli import main

if __name__ == "__main__":
    sys.exit(main())

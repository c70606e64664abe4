"""Where the sample configuration is: `config/` at the top of a checkout, a copy of it inside an installed package.

In the source tree `router/demo/config` is a symbolic link to it, so one path serves both.
"""

from pathlib import Path
from typing import Final

_SAMPLE: Final = Path(__file__).parent / "config"


class SampleMissingError(Exception):
    """The package was built or checked out without its sample."""


def sample_config() -> Path:
    """The directory of the sample configuration. Raises SampleMissingError."""
    if not (_SAMPLE / "router.toml").is_file():
        raise SampleMissingError(f"the sample configuration is missing from this installation: {_SAMPLE}")
    return _SAMPLE.resolve()

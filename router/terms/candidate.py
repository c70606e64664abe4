"""Terms that may be put in force: what came of reading a configuration."""

from collections.abc import Mapping

from msgspec import Struct, field

from router.terms.pieces import BuyerRead
from router.terms.problems import Problem, errors
from router.terms.schema import Terms


class Candidate(Struct, frozen=True, kw_only=True):
    """Terms as they stand on disk now: decoded and judged; not to be used when a problem is an error.

    `read` holds the buyers among them that came as pieces, with what their coverage expands to.
    """

    terms: Terms | None
    problems: tuple[Problem, ...]
    secrets: Mapping[str, str]
    read: Mapping[str, BuyerRead] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether these terms may be put in force."""
        return self.terms is not None and not errors(self.problems)

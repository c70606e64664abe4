"""For each case two trials: a lead that three buyers want, the first of them with a temper, idempotent or not."""

from typing import Any, Final, Literal, NamedTuple

from router.demo.courses import Course
from tests import factory
from tests.tempers.table import CASES, Case, Row

Mode = Literal["exclusive", "shared"]
Place = Literal["first", "second", "third"]
DEADLINE_S: Final = 20
SECRET: Final = "hush-hush"
RULES: Final[list[dict[str, Any]]] = [
    {"when": {"path": "status", "equals": "accepted"}, "outcome": "accepted", "price": "price"},
    {"when": {"path": "status", "equals": "rejected"}, "outcome": "rejected", "reason": "reason"},
    {"when": {"path": "status", "equals": "duplicate"}, "outcome": "duplicate"},
    {"when": {"keyword": "No match found"}, "outcome": "rejected"},
    {"when": {"keyword": "Match found"}, "outcome": "accepted"},
    {"when": {"xpath": "//ResponseType", "equals": "Accepted"}, "outcome": "accepted"},
]
_PRICES: Final = {"first": "20.00", "second": "10.00", "third": "5.00"}
_USUAL: Final[dict[str, Any]] = {
    "in_doubt_resolves": None,
    "responses": RULES,
    "auth": {"type": "bearer", "token": "secret:token"},
    "retry": {"attempts": 2, "backoff": "50ms"},
}


class Trial(NamedTuple):
    """One lead on its way to a first buyer with a temper, and two more behind it who take everything."""

    number: int
    case: Case
    idempotent: bool

    @property
    def name(self) -> str:
        """For a test's id."""
        return f"{self.case.temper}-{self.code}-{'idempotent' if self.idempotent else 'plain'}"

    @property
    def wanted(self) -> Row:
        """The row of the table."""
        return self.case.idempotent if self.idempotent else self.case.plain

    @property
    def code(self) -> str:
        """Where the lead comes from."""
        return self.case.code or "78701"

    def buyer(self, place: Place) -> str:
        """A buyer's id, and its name at the farm."""
        return f"{place}-{self.number}"

    def temper(self, place: Place) -> str:
        """How that buyer behaves."""
        return self.case.temper if place == "first" else "accept"

    def buyers(self, farm_url: str = "http://127.0.0.1:9", **endpoint: Any) -> list[dict[str, Any]]:
        """The three buyers' trees: 20.00 from the one with a temper, less from the others.

        Only this trial's contracts want its lead.
        """
        trees = []
        for place, price in _PRICES.items():
            own: dict[str, Any] = {"url": f"{farm_url}/buyer/{self.temper(place)}/{self.buyer(place)}"}  # type: ignore[arg-type]
            if place == "first":
                own |= {"idempotent": self.idempotent, "timeout": self.case.timeout}
            criteria = [{"field": "utility", "equals": f"trial-{self.number}"}]
            contract = factory.contract(f"c-{place}-{self.number}", price=price, criteria=criteria)
            trees.append(factory.buyer(f"{place}-{self.number}", contract, endpoint=_USUAL | own | endpoint))
        return trees

    def lead(self, at_ns: int) -> Any:
        """The trial's lead, received then."""
        return factory.lead(
            f"lead-{self.number}",
            at_ns=at_ns,
            postal_code=self.code,
            utility=f"trial-{self.number}",
            phone=f"+1512555{self.number:04d}",
            email=f"p{self.number}@example.com",
        )

    def courses(self) -> dict[str, Course]:
        """The three buyers for a farm without a network."""
        return {self.buyer(place): Course(temper=self.temper(place)) for place in ("first", "second", "third")}


TRIALS: Final = [
    Trial(2 * number + idempotent, case, bool(idempotent)) for number, case in enumerate(CASES) for idempotent in (0, 1)
]


def selling(mode: Mode) -> dict[str, Any]:
    """The lead type's `sell` in a mode: shared, two of the three may have it."""
    return {"mode": mode, "max_copies": 2, "parallel": 2} if mode == "shared" else {"mode": mode}

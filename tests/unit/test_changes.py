"""What would change between two sets of terms is said in words that a buyer would use, and counted."""

from typing import Any

from router.onboarding.changes import Change, changes
from router.terms.book import Book
from router.terms.geography import us
from tests import factory
from tests.factory import contract


def found(old: Book, new: Book) -> dict[str, Change]:
    """Every change by `subject key`."""
    return {f"{one.subject} {one.key}".strip(): one for one in changes(old, new)}


def one(endpoint: dict[str, Any] | None = None, buyer: dict[str, Any] | None = None, **terms: Any) -> Book:
    """A buyer `b` with a contract `c` in Austin."""
    coverage = {"coverage": {"postal_codes": ["78701", "78702-78704"]}}
    return factory.book(factory.buyer("b", contract("c", **(coverage | terms)), endpoint=endpoint, **(buyer or {})))


def test_equal_terms_have_no_changes() -> None:
    """Whoever read them, and whatever order they were read in."""
    assert found(one(), one()) == {}


def test_money_and_durations_read_as_they_are_written() -> None:
    """No minor units, no nanoseconds; what was not there is nothing."""
    said = found(one(), one(price="12.50", sla={"max_lead_age": "10m"}, dedup=None))
    assert said["contract:c price"].words == "contract:c: price: 10.00 -> 12.50"
    assert (said["contract:c price"].before, said["contract:c price"].after) == ("10.00", "12.50")
    assert said["contract:c sla"].words == 'contract:c: sla: nothing -> {"max_lead_age":"10m"}'


def test_coverage_is_compared_as_the_codes_it_comes_to() -> None:
    """Written otherwise but meaning the same is no change of coverage; what is more and fewer is named and counted."""
    same = one(coverage={"postal_codes": ["78701", "78702", "78703", "78704"]})
    assert found(one(), same) == {}
    wider = found(one(), one(coverage={"postal_codes": ["7870*"], "exclude": {"postal_codes": ["78701"]}}))
    change = wider["contract:c coverage"]
    count = sum(code != "78701" for code in us().starting("7870"))
    assert change.numbers == {"codes_added": count - 3, "codes_removed": 1, "codes": count}
    assert change.words.endswith("1 fewer (78701)")
    everywhere = found(one(), one(coverage={"everywhere": True}))["contract:c coverage"]
    assert (everywhere.before, everywhere.after) == ("4 postal codes", "everywhere")
    assert "everywhere from now on" in everywhere.words


def test_caps_are_found_by_their_ids() -> None:
    """A cap that is raised is one change, one that is new another."""
    old = one(caps=[{"id": "daily", "per": "day", "limit": 10}])
    new = one(caps=[{"id": "daily", "per": "day", "limit": 20}, {"id": "all", "per": "total", "limit": 99}])
    said = found(old, new)
    assert said["contract:c caps.daily.limit"].words == "contract:c: caps.daily.limit: 10 -> 20"
    assert said["contract:c caps.all"].before is None
    assert len(said) == 2


def test_what_is_new_and_what_is_gone() -> None:
    """Buyers, endpoints and contracts, with what a new contract comes to."""
    two = factory.book(
        factory.buyer("b", contract("c", coverage={"postal_codes": ["78701", "78702-78704"]})),
        factory.buyer("d", contract("e", coverage={"postal_codes": ["60601"]})),
    )
    said = found(one(), two)
    assert said["contract:e"].words == "contract:e is new: solar, 10.00 a lead, 1 postal codes"
    assert said["contract:e"].numbers == {"codes_added": 1}
    assert {"buyer:d", "endpoint:d/crm"} <= said.keys()
    gone = found(two, one())
    assert gone["contract:e"].words == "contract:e is gone"
    assert gone["contract:e"].numbers == {"codes_removed": 1}


def test_endpoints_and_the_daemon_s_own_file() -> None:
    """An endpoint stands under its buyer; router.toml under `router`."""
    said = found(one(), one(endpoint={"timeout": "9s"}))
    assert said["endpoint:b/crm timeout"].words == "endpoint:b/crm: timeout: 5s -> 9s"
    old, new = factory.book(), factory.book(router={"limits": {"in_flight_max": 7}})
    assert found(old, new)["router limits.in_flight_max"].after == "7"


def test_hashes_of_tokens_are_not_repeated() -> None:
    """That a token changes is said, not its hash."""
    said = found(one(), one(buyer={"token_sha256": ["a" * 64]}))
    assert said["buyer:b token_sha256"].words == "buyer:b: token_sha256 changes"
    assert said["buyer:b token_sha256"].after is None


def test_long_values_are_cut() -> None:
    """A list of a thousand codes does not fill a screen."""
    said = found(one(), one(sources=[f"source-{n}" for n in range(100)]))
    assert len(said["contract:c sources"].words) < 200

"""Postal codes by place: what names match, and how far a circle reaches."""

import gc

import pytest

from router.terms.geography import Geography, Place, miles_between, us
from router.terms.regions import state_code


def test_states_by_letters_and_name() -> None:
    """A state answers to its letters and its name, with the same object, so that contracts share it."""
    assert us().state("TX") is us().state(" texas ")
    codes = us().state("TX")
    assert codes is not None
    assert {"78701", "73301"} <= set(codes)
    assert list(codes) == sorted(codes)
    assert us().state("XX") is None
    assert us().suggest_state("Oklahomaa") == ("OK",)


def test_military_and_post_box_codes_are_in_use() -> None:
    """Every active code counts: a tax office, a post box, a military one. Inactive and made-up ones do not."""
    assert all(us().exists(code) for code in ("73301", "00604", "09001", "78701"))
    assert not us().exists("99999")
    assert us().any_with_prefix("787")
    assert not us().any_with_prefix("000")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Travis, TX", "travis county, tx"),
        ("Acadia, LA", "Acadia Parish, LA"),
        ("Juneau, AK", "City and Borough of Juneau, AK"),
        ("Anchorage, AK", "Municipality of Anchorage, AK"),
        ("James City, VA", "James City County, VA"),
        ("Saint Louis County, MO", "St. Louis County, MO"),
        ("De Kalb, IL", "DeKalb County, IL"),
        ("Carolina, PR", "Carolina Municipio, PR"),
        ("Travis, Texas", "Travis, TX"),
        ("Carson City, NV", "carson city,nv"),
    ],
)
def test_counties_match_with_or_without_their_kind(one: str, other: str) -> None:
    """A county is found by its name, by its full name, and in the usual spellings of both."""
    assert us().county(one) is not None
    assert us().county(one) == us().county(other)


def test_a_county_name_that_two_counties_bear_is_none() -> None:
    """Baltimore is a city and a county of Maryland: neither is guessed, both are suggested, each is found in full."""
    assert us().county("Baltimore, MD") is None
    assert us().suggest_county("Baltimore, MD") == ("Baltimore City, MD", "Baltimore County, MD")
    city, county = us().county("Baltimore City, MD"), us().county("Baltimore County, MD")
    assert city
    assert county
    assert city != county


@pytest.mark.parametrize("text", ["Travis", "Travis, ZZ", ", TX", "", "Nowhere, TX"])
def test_unknown_names_are_none(text: str) -> None:
    """A name without a state, or without a match, is nothing rather than something near it."""
    assert us().county(text) is None
    assert us().city(text) is None


def test_suggestions_for_misspelt_names() -> None:
    """A typing error comes back with what was probably meant, and a wrong kind with the right one."""
    assert us().suggest_county("Travvis, TX")[0] == "Travis County, TX"
    assert us().suggest_county("Acadia County, LA") == ("Acadia Parish, LA",)
    assert us().suggest_city("Austn, TX")[0] == "Austin, TX"
    assert us().suggest_city("Austn") == us().suggest_county("Travis") == ()


def test_a_city_is_the_codes_that_prefer_its_name() -> None:
    """Austin is the codes whose own name it is; a name no code prefers (Hollywood) is the codes that accept it."""
    austin = us().city("Austin, TX")
    assert austin is not None
    assert "78701" in austin
    boston = us().city("Boston, MA")
    assert boston is not None
    assert "02134" not in boston  # Allston, where Boston is accepted
    assert us().city("Hollywood, CA")


def test_a_circle_holds_exactly_the_centres_within_it() -> None:
    """The quick search gives the codes that measuring every distance gives."""
    center = us().place("73301")
    assert center is not None
    for miles in (0.5, 25, 400):
        measured = [
            place.code
            for place in us()
            if place.located
            and miles_between(center.latitude, center.longitude, place.latitude, place.longitude) <= miles
        ]
        assert us().radius("73301", miles) == tuple(sorted(measured))


def test_a_circle_across_the_date_line_and_around_the_world() -> None:
    """Longitude wraps, and a radius beyond half the globe holds everything that has a place."""
    places = [
        Place("1", "a", "AK", "", 52.0, 179.99), Place("2", "b", "AK", "", 52.0, -179.99),
        Place("3", "c", "AK", "", -52.0, 0.01), Place("4", "d", "AE", "", 0.0, 0.0),
    ]  # fmt: skip
    geography = Geography(places)
    assert geography.radius("1", 5) == ("1", "2")
    assert geography.radius("1", 99_999) == ("1", "2", "3")


def test_a_circle_needs_a_centre() -> None:
    """A code that does not exist, or has no known place, is the centre of nothing."""
    assert us().radius("99999", 10) is None
    assert us().radius("09001", 10) is None
    assert us().radius("78701", 0.001) == ("78701",)


def test_distance_of_two_cities() -> None:
    """New York to Los Angeles is about 2,446 miles along a great circle."""
    assert miles_between(40.7128, -74.006, 34.0522, -118.2437) == pytest.approx(2446, abs=2)


def test_loading_leaves_the_garbage_collector_on() -> None:
    """The collector rests while the data is read, and only then."""
    us.cache_clear()
    us()
    assert gc.isenabled()


def test_states_of_canada_and_nowhere() -> None:
    """Provinces answer to letters and names; a country whose states are not known has none."""
    assert state_code("on", "CA") == state_code("Ontario", "CA") == "ON"
    assert state_code("Québec", "CA") == "QC"
    assert state_code("BY", "DE") is None

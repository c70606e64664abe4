"""States and provinces: their two letters and their names. The one table intake, coverage and geography share."""

from collections.abc import Mapping
from typing import Final

US_STATES: Final[Mapping[str, str]] = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut", "DE": "Delaware", "DC": "District of Columbia", "FL": "Florida", "GA": "Georgia",
    "HI": "Hawaii", "ID": "Idaho", "IL": "Illinois", "IN": "Indiana", "IA": "Iowa", "KS": "Kansas", "KY": "Kentucky",
    "LA": "Louisiana", "ME": "Maine", "MD": "Maryland", "MA": "Massachusetts", "MI": "Michigan", "MN": "Minnesota",
    "MS": "Mississippi", "MO": "Missouri", "MT": "Montana", "NE": "Nebraska", "NV": "Nevada", "NH": "New Hampshire",
    "NJ": "New Jersey", "NM": "New Mexico", "NY": "New York", "NC": "North Carolina", "ND": "North Dakota",
    "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon", "PA": "Pennsylvania", "RI": "Rhode Island",
    "SC": "South Carolina", "SD": "South Dakota", "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VT": "Vermont",
    "VA": "Virginia", "WA": "Washington", "WV": "West Virginia", "WI": "Wisconsin", "WY": "Wyoming",
    "AS": "American Samoa", "GU": "Guam", "MP": "Northern Mariana Islands", "PR": "Puerto Rico",
    "VI": "U.S. Virgin Islands", "FM": "Micronesia", "MH": "Marshall Islands", "PW": "Palau",
    "AA": "Armed Forces Americas", "AE": "Armed Forces Europe", "AP": "Armed Forces Pacific",
}  # fmt: skip
CA_PROVINCES: Final[Mapping[str, str]] = {
    "AB": "Alberta", "BC": "British Columbia", "MB": "Manitoba", "NB": "New Brunswick",
    "NL": "Newfoundland and Labrador", "NS": "Nova Scotia", "NT": "Northwest Territories", "NU": "Nunavut",
    "ON": "Ontario", "PE": "Prince Edward Island", "QC": "Quebec", "SK": "Saskatchewan", "YT": "Yukon",
}  # fmt: skip

_OTHER_NAMES: Final = {
    "US": {"virgin islands": "VI", "us virgin islands": "VI", "washington dc": "DC", "washington d.c.": "DC"},
    "CA": {"québec": "QC", "newfoundland": "NL", "yukon territory": "YT"},
}
_TABLES: Final = {"US": US_STATES, "CA": CA_PROVINCES}
_BY_NAME: Final = {
    country: {name.casefold(): code for code, name in table.items()} | _OTHER_NAMES[country]
    for country, table in _TABLES.items()
}


def has_states(country: str) -> bool:
    """Whether the states of this country (alpha-2) are known here."""
    return country in _TABLES


def state_code(text: str, country: str = "US") -> str | None:
    """`"tx"` or `"Texas"` -> `"TX"`, in the US or Canada; None for a name that is not known there."""
    table = _TABLES.get(country)
    if table is None:
        return None
    if text in table:
        return text
    code = text.strip().upper()
    if code in table:
        return code
    return _BY_NAME[country].get(" ".join(text.split()).casefold())

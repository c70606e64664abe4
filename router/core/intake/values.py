"""One function a field type: what came in -> its one normal form.

Text is converted to integer, number and boolean whatever format it came in; nothing is ever converted to text, since a
number has already lost what made it a postal code or a phone number. Empty text is missing, which is None here.
"""

import ipaddress
import math
import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from router.core.intake.mail import read_email
from router.core.intake.phone import read_phone
from router.core.intake.refusal import Wrong
from router.model.lead import Value
from router.model.times import NS_HOUR, NS_MINUTE, NS_S, format_instant, parse_instant
from router.terms.postal import COUNTRIES, canonical_postal_code
from router.terms.regions import has_states, state_code

#: (what came in, the lead's country) -> the normal form, or None when it is missing. Raises Wrong.
Read = Callable[[Any, str], Value | None]

_INTEGER: Final = re.compile(r"([+-]?\d{1,19})(?:\.0{1,19})?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER_MAX: Final = 2**63 - 1
_BOOLEANS: Final = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_INTEGER_BOOLEANS: Final = {1: True, 0: False}
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_PLAIN_URL: Final = re.compile(r"https?://[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:/[a-z0-9._~/%?&=#+,;:@!$'()*-]*)?", re.ASCII)
_SPACES_OR_CONTROLS: Final = re.compile(r"[\s\x00-\x20\x7f-\x9f\\<>\"]")
_IPV4: Final = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}", re.ASCII)
_TWO_DIGITS: Final = {f"{number:02d}": number for number in range(60)}
_PLAIN_INSTANT_LENGTH: Final = len("2026-11-23T17:00:00Z")
_URL_MAX: Final = 4096
_NOT_TEXT: Final = "is not text: write it in quotes"

_ISO_COUNTRIES_TEXT: Final = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC
CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD
GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH
KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW
MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC
SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY
UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
#: ISO 3166-1 alpha-2.
_ISO_COUNTRIES: Final = frozenset(_ISO_COUNTRIES_TEXT.split())


def read_text(raw: Any, _country: str = "") -> str | None:
    """`string` and `enum`: text without the white space around it."""
    if type(raw) is str:
        return raw.strip() or None
    raise Wrong("wrong_type", _NOT_TEXT)


def read_phone_number(raw: Any, country: str) -> str | None:
    """`phone`: E.164."""
    text = read_text(raw)
    return None if text is None else read_phone(text, country)


def read_email_address(raw: Any, _country: str) -> str | None:
    """`email`: lower case."""
    text = read_text(raw)
    return None if text is None else read_email(text)


def read_postal_code(raw: Any, country: str) -> str | None:
    """`postal_code`: canonical, by the format of the lead's country alone."""
    text = read_text(raw)
    if text is None:
        return None
    code = canonical_postal_code(text, country)
    if code is None:
        known = country if country in COUNTRIES else f"{', '.join(COUNTRIES)}; the lead's country is {country}"
        raise Wrong("invalid", f"is not a whole postal code of {known}")
    return code


def read_state(raw: Any, country: str) -> str | None:
    """`state`: two letters, from those or from the name."""
    text = read_text(raw)
    if text is None:
        return None
    code = state_code(text, country)
    if code is None:
        kind = (
            "state or province" if has_states(country) else "known state: the states of US and CA are known, not those"
        )
        raise Wrong("invalid", f"is not a {kind} of {country}")
    return code


def read_country(raw: Any, _country: str = "") -> str | None:
    """`country`: ISO 3166-1 alpha-2, in capitals."""
    text = read_text(raw)
    if text is None:
        return None
    code = text.upper()
    if code not in _ISO_COUNTRIES:
        raise Wrong("invalid", "is not a country of two letters, such as US, CA or GB")
    return code


def read_integer(raw: Any, _country: str = "") -> int | None:
    """`integer`: of 64 bits at most; `12.0` is one, as text too (spreadsheets write so); `"1,200"` is none."""
    if type(raw) is str:
        text = raw.strip()
        if not text:
            return None
        match = _INTEGER.fullmatch(text)
        if match is None:
            raise Wrong("invalid", "is not a whole number")
        raw = int(match[1])
    elif type(raw) is float and raw.is_integer():
        raw = int(raw)
    if type(raw) is not int:
        raise Wrong("wrong_type", "is not a whole number")
    if not -_INTEGER_MAX <= raw <= _INTEGER_MAX:
        raise Wrong("too_large" if raw > 0 else "too_small", "is beyond 64 bits")
    return raw


def read_number(raw: Any, _country: str) -> float | None:
    """`number`: finite."""
    if type(raw) is str:
        text = raw.strip()
        if not text:
            return None
        if not _NUMBER.fullmatch(text):
            raise Wrong("invalid", "is not a number")
        raw = float(text)
    elif type(raw) is int and -_INTEGER_MAX <= raw <= _INTEGER_MAX:
        raw = float(raw)
    if type(raw) is int or (type(raw) is float and not math.isfinite(raw)):
        raise Wrong("too_large" if raw > 0 else "too_small", "is out of range")
    if type(raw) is not float:
        raise Wrong("wrong_type", "is not a number")
    return raw


def read_boolean(raw: Any, _country: str = "") -> bool | None:
    """`boolean`: true false yes no 1 0, as text or not."""
    if type(raw) is bool:
        return raw
    value = _INTEGER_BOOLEANS.get(raw) if type(raw) is int else None
    if type(raw) is str:
        text = raw.strip().casefold()
        if not text:
            return None
        value = _BOOLEANS.get(text)
    if value is None:
        code = "invalid" if type(raw) is str or type(raw) is int else "wrong_type"
        raise Wrong(code, "is not one of true, false, yes, no, 1, 0")
    return value


def read_date(raw: Any, _country: str) -> str | None:
    """`date`: `YYYY-MM-DD` and nothing else, because `03/04` means two days to two people."""
    text = read_text(raw)
    if text is None:
        return None
    if not (_DATE.fullmatch(text) and _exists(text)):
        raise Wrong("invalid", "is not a date written YYYY-MM-DD")
    return text


@lru_cache(maxsize=4096)
def _exists(day: str) -> bool:
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def read_datetime(raw: Any, _country: str) -> str | None:
    """`datetime`: RFC 3339 with a zone -> RFC 3339 UTC, to the millisecond."""
    instant = read_instant(raw)
    return None if instant is None else format_instant(instant)


def read_url(raw: Any, _country: str = "") -> str | None:
    """`url`: absolute http or https, with a host and without a user name."""
    text = read_text(raw)
    if text is None or (_PLAIN_URL.fullmatch(text) and len(text) <= _URL_MAX):
        return text
    return read_url_slowly(text)


def read_url_slowly(text: str) -> str:
    """The same without the short cut for plain addresses."""
    if len(text) > _URL_MAX:
        raise Wrong("too_long", f"is longer than {_URL_MAX} characters")
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
        parts = urlsplit("")
    if not good or _SPACES_OR_CONTROLS.search(text):
        raise Wrong("invalid", "is not an absolute http or https address")
    if "@" in parts.netloc:
        raise Wrong("invalid", "has a user name in it, which an address may not")
    return text


def read_ip(raw: Any, _country: str = "") -> str | None:
    """`ip`: version 4 or 6, in its shortest form."""
    text = read_text(raw)
    if text is None or _IPV4.fullmatch(text):
        return text
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Wrong("invalid", "is not an IP address") from None
    if "%" in text:
        raise Wrong("invalid", "is an IP address with a zone, which means nothing here")
    return str(address)


def read_instant(raw: Any) -> int | None:
    """RFC 3339 with a zone -> nanoseconds since 1970 UTC."""
    text = read_text(raw)
    if text is None:
        return None
    if len(text) == _PLAIN_INSTANT_LENGTH and text[10] == "T" and text[13] == text[16] == ":" and text[19] == "Z":
        hours, minutes, seconds = (
            _TWO_DIGITS.get(text[11:13]),
            _TWO_DIGITS.get(text[14:16]),
            _TWO_DIGITS.get(text[17:19]),
        )
        day = _midnight(text[:10])
        if day is not None and hours is not None and minutes is not None and seconds is not None and hours < 24:
            return day + hours * NS_HOUR + minutes * NS_MINUTE + seconds * NS_S
    try:
        return parse_instant(text)
    except ValueError:
        raise Wrong("invalid", "is not a time in RFC 3339 with a zone, such as 2026-11-23T17:00:00Z") from None


@lru_cache(maxsize=4096)
def _midnight(day: str) -> int | None:
    try:
        return parse_instant(f"{day}T00:00:00Z")
    except ValueError:
        return None

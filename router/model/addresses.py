"""Which addresses an endpoint may not be at, and what address a host name spells.

A buyer's URL is data somebody else wrote: without this, a lead could be posted to our own metadata service or to the
router itself. Two questions are asked here. `literal` is asked of a URL when terms are checked, `refused` is asked
again of the concrete address each socket connects to, because a name may resolve to anything.

The ranges are listed one by one: the standard library's idea of "global" differs between Python versions and is wrong
for NAT64, 6to4, newer documentation ranges and multicast.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: (range, what it is), the most telling first: an address is named by the first range it lies in.
_REFUSED_V4: Final = (
    ("169.254.169.254/32", "a cloud metadata address"),
    ("168.63.129.16/32", "a cloud metadata address"),
    ("100.100.100.200/32", "a cloud metadata address"),
    ("192.0.0.192/32", "a cloud metadata address"),
    ("0.0.0.0/8", "an unspecified address"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "a carrier-grade NAT address"),
    ("127.0.0.0/8", "a loopback address"),
    ("169.254.0.0/16", "a link-local address"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "a protocol assignment address"),
    ("192.0.2.0/24", "a documentation address"),
    ("192.88.99.0/24", "a 6to4 relay address"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "a benchmarking address"),
    ("198.51.100.0/24", "a documentation address"),
    ("203.0.113.0/24", "a documentation address"),
    ("224.0.0.0/4", "a multicast address"),
    ("255.255.255.255/32", "the broadcast address"),
    ("240.0.0.0/4", "a reserved address"),
)
_REFUSED_V6: Final = (
    ("fd00:ec2::254/128", "a cloud metadata address"),
    ("fd20:ce::254/128", "a cloud metadata address"),
    ("::/128", "an unspecified address"),
    ("::1/128", "a loopback address"),
    ("::ffff:0:0/96", "an IPv4-mapped address"),
    ("::ffff:0:0:0/96", "an IPv4-translated address"),
    ("::/96", "an IPv4-compatible address"),
    ("64:ff9b::/96", "a NAT64 address"),
    ("64:ff9b:1::/48", "a NAT64 address"),
    ("100::/64", "a discard address"),
    ("2001::/32", "a Teredo address"),
    ("2001:2::/48", "a benchmarking address"),
    ("2001:10::/28", "an ORCHID address"),
    ("2001:20::/28", "an ORCHID address"),
    ("2001::/23", "a protocol assignment address"),
    ("2001:db8::/32", "a documentation address"),
    ("2002::/16", "a 6to4 address"),
    ("3fff::/20", "a documentation address"),
    ("5f00::/16", "a segment routing address"),
    ("fc00::/7", "a private address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a site-local address"),
    ("ff00::/8", "a multicast address"),
    # Only 2000::/3 is handed out for the public Internet; what is left of the rest is nobody's.
    ("::/3", "a reserved address"),
    ("4000::/2", "a reserved address"),
    ("8000::/1", "a reserved address"),
)
_V4: Final = tuple((IPv4Network(text), what) for text, what in _REFUSED_V4)
_V6: Final = tuple((IPv6Network(text), what) for text, what in _REFUSED_V6)

_PART = re.compile(r"0[xX](?P<hex>[0-9a-fA-F]+)|0(?P<octal>[0-7]*)|(?P<decimal>[1-9][0-9]{0,9})")
#: International domain names read these as the full stop between labels.
_FULL_STOPS: Final = str.maketrans("。．｡", "...")


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """`allow_private` as networks. Host bits may be set. Raises ValueError naming the text that is no CIDR range."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ip_network(text, strict=False))
        except ValueError:
            raise ValueError(f'"{text}" is not an address range such as 10.0.0.0/8 or fd00::/8') from None
    return tuple(found)


def refused(address: str, allow: Sequence[Network] = ()) -> str | None:
    """Why no endpoint may be at this IP address ("a loopback address"), or None when it may.

    `allow` is `network.allow_private`, compared with the address exactly as it is: allowing `127.0.0.0/8` does not
    allow `::ffff:127.0.0.1`. What is no address in any spelling is refused too.
    """
    found = literal(address)
    if found is None:
        return "not an IP address"
    if any(found in network for network in allow if network.version == found.version):
        return None
    if isinstance(found, IPv4Address):
        return next((what for network, what in _V4 if found in network), None)
    return next((what for network, what in _V6 if found in network), None)


def literal(host: str) -> Address | None:
    """The IP address a URL's host spells, or None when it is a name.

    Understands what resolvers understand: `127.1`, `0x7f.1`, `017700000001`, `2130706433`, brackets, IPv6 zones,
    percent-encoding, full-width and circled digits, other full stops, a final full stop.
    """
    text = _plain(host)
    if ":" in text:
        try:
            return ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
        except ValueError:
            return None
    return _inet_aton(text)


def _plain(host: str) -> str:
    """The host as a resolver would be given it: decoded, compatibility characters replaced, invisible ones gone."""
    text = unicodedata.normalize("NFKC", unquote(host)).translate(_FULL_STOPS)
    visible = "".join(char for char in text if unicodedata.category(char) not in ("Cf", "Mn"))
    return visible.strip().removesuffix(".")


def _inet_aton(text: str) -> IPv4Address | None:
    """One to four parts, each decimal, octal (`0`) or hexadecimal (`0x`); the last fills all bytes that are left."""
    parts = text.split(".")
    if len(parts) > 4:
        return None
    numbers = [_number(part) for part in parts]
    *high, last = numbers
    if last is None or last >= 1 << 8 * (5 - len(parts)):
        return None
    value = last
    for place, number in enumerate(high):
        if number is None or number > 255:
            return None
        value |= number << 8 * (3 - place)
    return IPv4Address(value)


def _number(part: str) -> int | None:
    match = _PART.fullmatch(part)
    if match is None:
        return None
    if match["decimal"]:
        return int(match["decimal"])
    return int(match["hex"], 16) if match["hex"] else int(match["octal"] or "0", 8)

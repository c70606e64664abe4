"""No endpoint at a private address, in any spelling; the address guard of check and transport alike."""

import socket
from ipaddress import ip_address

import pytest

from router.model.addresses import literal, networks, refused

LOOPBACK_SPELLINGS = [
    "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7F.0x0.0x0.0x1", "0177.0.0.1", "017700000001", "2130706433",
    "0x7f000001", "00000000177.0.0.01", "127.0.0.1.", "１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0．0｡1", "%31%32%37.0.0.1",
    "127.0.0\u00ad.1", "127\u200b.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK_SPELLINGS)
def test_every_spelling_of_loopback_is_the_address(host: str) -> None:
    """Hexadecimal, octal, short, decimal, full-width, circled, percent-encoded and invisible characters are read."""
    assert literal(host) == ip_address("127.0.0.1")
    assert refused(host) == "a loopback address"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[::ffff:127.0.0.1]", "::ffff:7f00:1"),
        ("[FE80::1%25eth0]", "fe80::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[::ＦＦＦＦ:7f00:1]", "::ffff:7f00:1"),
    ],
)
def test_ipv6_literals_are_read_with_brackets_and_zones(host: str, address: str) -> None:
    """The zone is not part of the address that is judged."""
    assert literal(host) == ip_address(address)


@pytest.mark.parametrize(
    "host",
    ["example.com", "1.2.3.4.5", "256.1.1.1", "1.2.3.256", "1.2.65536", "4294967296", "08.1.1.1", "0x.1", "1..2", "",
     "12a", "0xg", "-1", "١٢٧.٠.٠.١", "[::g]", "127.0.0.1:80", "9" * 5000, "cafe"],
)  # fmt: skip
def test_names_and_broken_numbers_are_no_literals(host: str) -> None:
    """What a resolver would not read as numbers is a name (or nothing), and `refused` never lets it through."""
    assert literal(host) is None
    assert refused(host) == "not an IP address"


@pytest.mark.parametrize(
    "host",
    ["127.1", "0x7f.1", "017700000001", "2130706433", "1.2.3.256", "08.1.1.1", "0x.1", "1.2.65535", "1.2.65536",
     "4294967295", "4294967296", "0", "00", "0x0", "1.0x10.010.8", "1.2.3.4.5", "127.0.0.0x1", "1.", "12a"],
)  # fmt: skip
def test_numbers_are_read_as_the_system_resolver_reads_them(host: str) -> None:
    """Wherever getaddrinfo sees an address, so do we, and the same one."""
    try:
        found = socket.getaddrinfo(host, 80, socket.AF_INET, flags=socket.AI_NUMERICHOST)[0][4][0]
    except socket.gaierror:
        return
    assert str(literal(host)) == found


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.1.2.3", "a private address"),
        ("172.31.255.255", "a private address"),
        ("192.168.0.1", "a private address"),
        ("169.254.169.254", "a cloud metadata address"),
        ("168.63.129.16", "a cloud metadata address"),
        ("169.254.1.1", "a link-local address"),
        ("0.0.0.0", "an unspecified address"),
        ("0.1.2.3", "an unspecified address"),
        ("100.64.0.1", "a carrier-grade NAT address"),
        ("192.0.0.8", "a protocol assignment address"),
        ("192.0.2.1", "a documentation address"),
        ("192.88.99.1", "a 6to4 relay address"),
        ("198.19.0.1", "a benchmarking address"),
        ("198.51.100.7", "a documentation address"),
        ("203.0.113.9", "a documentation address"),
        ("224.0.0.1", "a multicast address"),
        ("239.255.255.255", "a multicast address"),
        ("255.255.255.255", "the broadcast address"),
        ("250.0.0.1", "a reserved address"),
        ("::", "an unspecified address"),
        ("::1", "a loopback address"),
        ("::8.8.8.8", "an IPv4-compatible address"),
        ("::ffff:8.8.8.8", "an IPv4-mapped address"),
        ("::ffff:0:127.0.0.1", "an IPv4-translated address"),
        ("64:ff9b::7f00:1", "a NAT64 address"),
        ("64:ff9b:1::1", "a NAT64 address"),
        ("100::1", "a discard address"),
        ("2001:0:1::1", "a Teredo address"),
        ("2001:2::1", "a benchmarking address"),
        ("2001:10::1", "an ORCHID address"),
        ("2001:db8::1", "a documentation address"),
        ("2002:7f00:1::", "a 6to4 address"),
        ("3fff:0fff::1", "a documentation address"),
        ("5f00::1", "a segment routing address"),
        ("fd00:ec2::254", "a cloud metadata address"),
        ("fd12::1", "a private address"),
        ("fe80::1%eth0", "a link-local address"),
        ("fec0::1", "a site-local address"),
        ("ff02::1", "a multicast address"),
        ("4000::1", "a reserved address"),
    ],
)
def test_each_range_is_refused_by_its_name(address: str, reason: str) -> None:
    """Every range of the lists has an address that it refuses, and says what it is."""
    assert refused(address) == reason


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"])
def test_public_addresses_are_let_through(address: str) -> None:
    """The neighbours of the refused ranges are not refused."""
    assert refused(address) is None


def test_allow_private_is_exact() -> None:
    """Allowing a range allows that range, not the same bytes dressed as IPv6."""
    allow = networks(["127.0.0.0/8", "fd00::/8"])
    assert refused("127.0.0.1", allow) is None
    assert refused("0x7f.1", allow) is None
    assert refused("fd00::5", allow) is None
    assert refused("::ffff:127.0.0.1", allow) == "an IPv4-mapped address"
    assert refused("10.0.0.1", allow) == "a private address"


def test_networks_names_the_text_that_is_no_range() -> None:
    """A bad CIDR is named as it was written."""
    with pytest.raises(ValueError, match="10\\.0\\.0\\.0/33"):
        networks(["10.0.0.0/33"])

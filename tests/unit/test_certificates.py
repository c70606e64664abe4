"""Certificates: only the exact host over https, and only a whole GUID, could be genuine."""

import pytest

from router.core.certificates import jornaya_ok, trustedform_ok

ID = "0123456789abcdef0123456789abcdef01234567"
GUID = "0F8FAD5B-D9CB-469F-A165-70867728950E"


@pytest.mark.parametrize("suffix", [ID, ID.upper(), "a" * 41, "x" * 255, f"{ID}-v.2_x"])
def test_certificates_of_either_length(suffix: str) -> None:
    """40 hexadecimal digits, or a longer id up to 255 characters."""
    assert trustedform_ok(f"https://cert.trustedform.com/{suffix}")


@pytest.mark.parametrize(
    "url",
    [
        f"http://cert.trustedform.com/{ID}",
        f"HTTPS://cert.trustedform.com/{ID}",
        f"https://cert.trustedform.com@evil.example/{ID}",
        f"https://user@cert.trustedform.com/{ID}",
        f"https://cert.trustedform.com.evil.example/{ID}",
        f"https://cert.trustedform.com:443/{ID}",
        f"https://cert\u3002trustedform\u3002com/{ID}",
        f"https://cert.trustedf\u043erm.com/{ID}",
        f"https://xcert.trustedform.com/{ID}",
        f"https://cert.trustedform.com/{ID}/",
        f"https://cert.trustedform.com/{ID}?x=1",
        f"https://cert.trustedform.com/{ID}#x",
        f"https://cert.trustedform.com/../{ID}",
        f"https://cert.trustedform.com//{ID}",
        f"https://cert.trustedform.com/{ID}\n",
        f" https://cert.trustedform.com/{ID}",
        f"https://cert.trustedform.com\\{ID}",
        f"//cert.trustedform.com/{ID}",
        "https://cert.trustedform.com/",
        f"https://cert.trustedform.com/{ID[:-1]}",
        f"https://cert.trustedform.com/{ID[:-1]}g",
        f"https://cert.trustedform.com/{'x' * 256}",
        f"https://cert.trustedform.com/{ID[:-1]}\uff11",
        "",
    ],
)
def test_look_alikes_are_no_certificates(url: str) -> None:
    """Other schemes, hosts, ports, user names, unicode dots and anything behind the id are refused."""
    assert not trustedform_ok(url)


def test_leadids_are_guids() -> None:
    """36 characters in either case; nothing around them, no other digits."""
    assert jornaya_ok(GUID)
    assert jornaya_ok(GUID.lower())
    for bad in ("", GUID[:-1], f"{GUID}0", f"{{{GUID}}}", GUID.replace("-", ""), f"{GUID}\n", f"\uff10{GUID[1:]}"):
        assert not jornaya_ok(bad)

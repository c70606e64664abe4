"""A buyer's list against the ledger: each kind of silent failure is found, named by delivery, and nobody is named."""

import json
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from router.cli import main
from router.cli.exits import DONE, NO, USAGE
from router.clock import SystemClock
from router.engine import archive
from router.ledger.sqlite import SqliteLedger
from router.model.facts import Ended, Entry, Received, Reserved, Settled, TermsLoaded
from router.reports.buyer_list import BuyerList, read_day, read_list
from router.reports.reconcile import KINDS, Ours, Reconciliation, reconcile
from tests import factory
from tests.factory import NOON, buyer, contract

CHICAGO = ZoneInfo("America/Chicago")
DAY = date(2026, 11, 24)


def listed(text: str) -> BuyerList:
    """A list as a buyer's system writes it."""
    return read_list(text.encode(), country="US", zone=CHICAGO)


def ours(n: int, outcome: str = "accepted", **more: Any) -> Ours:
    """Delivery `d<n>` of lead `l<n>`."""
    given = {
        "delivery_id": f"d{n}",
        "lead_id": f"l{n}",
        "contract_id": "c",
        "day": DAY,
        "outcome": outcome,
        "price": 1000,
    }
    return Ours(**(given | {"phone": f"+1512555{n:04d}", "email": f"a{n}@example.com"} | more))


def kinds(found: Reconciliation) -> list[tuple[str, int | None, str | None]]:
    """Kind, line and delivery of every difference."""
    return [(one.kind, one.line, one.delivery_id) for one in found.differences]


# -- reading a list ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "delivery_id,Phone Number,E-mail,Purchase Date,Price\nd1,(512) 555-0101,A1@Example.com,11/24/2026,$10.00\n",
        "LeadID;Mobile;EmailAddress;Created At;CPL\nd1;512.555.0101;a1@example.com;2026-11-24T18:00:00Z;10\n",
        "Our leads in November\n\nRef\tTel\tmail\tDay\tAmount\nd1\t5125550101\ta1@example.com\t24.11.2026\t10.00\n",
    ],
)
def test_a_list_is_read_whatever_it_calls_its_columns(text: str) -> None:
    """Ids, phones, e-mails, days and prices are found by any usual name, separator and form."""
    (row,) = listed(text).rows
    assert (row.ids, row.phones, row.emails) == (("d1",), ("+15125550101",), ("a1@example.com",))
    assert (row.day, row.price, row.has) == (DAY, 1000, True)


def test_a_list_without_names_is_read_by_its_content() -> None:
    """Columns are known by what stands in them."""
    uuid = "01890a5d-ac96-774b-bcce-b302099a8057"
    found = listed(f"{uuid},512-555-0101,a1@example.com,$10.00,2026-11-24,whatever\n")
    (row,) = found.rows
    assert (row.ids, row.phones, row.price, row.day) == ((uuid,), ("+15125550101",), 1000, DAY)
    assert sorted(found.columns.values()) == ["date", "email", "id", "phone", "price"]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-11-24 09:00", DAY),
        ("11/24/26", DAY),
        ("24/11/2026 08:15", DAY),
        ("2026-11-25T03:00:00Z", DAY),
        ("02/30/2026", None),
        ("yesterday", None),
    ],
)
def test_days_are_local(text: str, day: date | None) -> None:
    """Instants count on the buyer's own day; a day that does not exist is none."""
    assert read_day(text, CHICAGO) == day


def test_lines_without_a_key_are_named() -> None:
    """A row by which nothing can be found is unread, by its line."""
    found = listed("id,phone\nd1,\n,not a phone\n")
    assert (len(found.rows), found.unread) == (1, (3,))


@pytest.mark.parametrize(
    ("status", "has"),
    [("Accepted", True), ("", True), ("REJECTED - dupe", False), ("Duplicate", False), ("Returned", True)],
)
def test_a_status_may_say_that_they_refused(status: str, has: bool) -> None:
    """A row can list a lead that was turned down; one they gave back they had."""
    (row,) = listed(f"id,status\nd1,{status}\n").rows
    assert row.has is has


# -- comparing -----------------------------------------------------------------------------------


def test_both_sides_the_same() -> None:
    """Found by delivery id, lead id, their own reference, phone or e-mail."""
    known = [ours(1), ours(2), ours(3, reference="P-77"), ours(4), ours(5)]
    text = "id,phone,email,price\nD1,,,10.00\nl2,,,10\np-77,,,10\nzz,512-555-0004,,10\n,,A5@example.com,10\n"
    found = reconcile(known, listed(text).rows, None)
    assert (found.agreed, found.differ, found.differences) == (5, False, ())
    assert (found.total_ours, found.total_theirs) == (5000, 5000)


def test_every_kind_of_difference() -> None:
    """Missing, not ours, says otherwise, refused, price, twice; a doubt that they do not have is a note."""
    known = [
        ours(1),
        ours(2, "in_doubt"),
        ours(3, "failed"),
        ours(4),
        ours(5),
        ours(6),
        ours(7, "in_doubt"),
        ours(8, "rejected"),
    ]
    rows = (
        "d2,10,ok",
        "d3,10,ok",
        "d4,9.50,ok",
        "d5,10,ok",
        "d5,10,ok",
        "d6,10,rejected",
        "none,12,ok",
        "d8,10,rejected",
    )
    text = "\n".join(("id,price,status", *rows))
    found = reconcile(known, listed(text).rows, None)
    assert kinds(found) == [
        ("missing", None, "d1"),
        ("says_otherwise", 2, "d2"),
        ("says_otherwise", 3, "d3"),
        ("they_refused", 7, "d6"),
        ("not_ours", 8, None),
        ("price", 4, "d4"),
        ("twice", 6, "d5"),
        ("doubt_absent", None, "d7"),
    ]
    assert found.agreed == 1
    assert set(found.counts) == set(KINDS)


def test_a_doubt_they_do_not_have_is_no_difference() -> None:
    """It helps to resolve the doubt, and both sides say the same."""
    found = reconcile([ours(1, "in_doubt")], [], None)
    assert (found.counts["doubt_absent"], found.differ) == (1, False)


def test_only_days_the_list_is_whole_for_can_miss_something() -> None:
    """A delivery outside the list's days is not missing from it."""
    known = [ours(1, day=date(2026, 10, 31)), ours(2, day=date(2026, 11, 1)), ours(3, day=date(2026, 12, 1))]
    found = reconcile(known, [], (date(2026, 11, 1), date(2026, 11, 30)))
    assert kinds(found) == [("missing", None, "d2")]
    assert found.deliveries == 1


def test_one_person_twice_is_two_deliveries() -> None:
    """Two leads of one phone and two rows of it meet one to one, the nearer day first."""
    later = date(2026, 11, 28)
    known = [ours(1, phone="+15125550101"), ours(2, phone="+15125550101", day=later)]
    text = "phone,date,price\n512-555-0101,11/28/2026,10\n512-555-0101,11/24/2026,10\n"
    assert reconcile(known, listed(text).rows, None).agreed == 2


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state directory: three deliveries to bright (accepted, accepted, in doubt), one to another buyer."""
    book = factory.book(
        buyer("bright", contract("bright-1"), time_zone="America/Chicago"), buyer("other", contract("other-1"))
    )
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    await archive.keep(book, None, ledger, SystemClock())
    entries = [Entry(at_ns=NOON, fact=TermsLoaded(terms_version=book.version, by="start"))]
    for n, owner, outcome in (
        (1, "bright", "accepted"),
        (2, "bright", "accepted"),
        (3, "bright", "in_doubt"),
        (4, "other", "accepted"),
    ):
        lead = factory.lead(f"lead-{n}", phone=f"+1512555010{n}", email=f"secret{n}@example.com")
        sent = Reserved(
            delivery_id=f"delivery-{n}", lead_id=lead.lead_id, contract_id=f"{owner}-1", buyer_id=owner,
            lead_type="solar", terms_version=book.version, rank=0, price=1000, day="2026-11-24", steady_ns=1,
        )  # fmt: skip
        entries += [
            Entry(at_ns=NOON, fact=Received(lead_id=lead.lead_id, source_id="web", lead_type="solar"), lead=lead),
            Entry(at_ns=NOON, fact=sent),
            Entry(at_ns=NOON, fact=Settled(delivery_id=f"delivery-{n}", outcome=outcome)),  # type: ignore[arg-type]
            Entry(at_ns=NOON, fact=Ended(lead_id=lead.lead_id, status="sold")),
        ]
    await ledger.append(entries)
    await ledger.close()
    return tmp_path


def test_the_command_says_what_differs(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, the buyer known by its ids, deliveries named; phones and addresses nowhere in the output."""
    path = tmp_path / "list.csv"
    path.write_text(
        "id,phone,email,date,price\ndelivery-1,5125550101,secret1@example.com,11/24/2026,9.00\n,5125550103,,11/24/2026,10\n,,nobody@example.com,,\n"
    )
    assert main(["reconcile", str(path), "--state", str(state)]) == NO
    said = capsys.readouterr().out
    for word in ("bright, 2026-11-24 to 2026-11-24, America/Chicago", "delivery-1", "delivery-2", "delivery-3"):
        assert word in said
    assert main(["reconcile", str(path), "--state", str(state), "--json"]) == NO
    found = json.loads(capsys.readouterr().out)
    assert found["buyer_id"] == "bright"
    assert {kind: n for kind, n in found["counts"].items() if n} == {
        "missing": 1,
        "says_otherwise": 1,
        "not_ours": 1,
        "price": 1,
    }
    assert found["total_ours"] == "20.00"
    for text in (said, json.dumps(found)):
        assert "secret" not in text
        assert "nobody" not in text
        assert "5550101" not in text


def test_the_command_is_content_when_both_agree(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0; days can be given where the list names none."""
    path = tmp_path / "list.csv"
    path.write_text("id,price\ndelivery-1,10\ndelivery-2,10\n")
    words = ["reconcile", str(path), "--state", str(state)]
    assert main([*words, "--from", "2026-11-01", "--to", "2026-11-30"]) == DONE
    assert "both sides say the same" in capsys.readouterr().out
    assert main(words) == DONE
    assert main([*words, "--buyer", "other"]) == NO


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("phone\n5125550101\n", []),
        ("id\ndelivery-1\n", ["--buyer", "nobody"]),
        ("zip\n78701\n", ["--buyer", "bright"]),
        ("id\ndelivery-1\n", ["--from", "monday"]),
    ],
)
def test_what_cannot_be_compared_is_usage(state: Path, tmp_path: Path, text: str, more: list[str]) -> None:
    """A list that does not tell whose it is, a buyer that is none, no key column, no day."""
    path = tmp_path / "list.csv"
    path.write_text(text)
    assert main(["reconcile", str(path), "--state", str(state), *more]) == USAGE


def test_without_a_ledger_it_says_no(tmp_path: Path) -> None:
    """There is nothing to compare with."""
    path = tmp_path / "list.csv"
    path.write_text("id\nx\n")
    assert main(["reconcile", str(path), "--state", str(tmp_path / "none")]) == NO
    assert main(["reconcile", str(tmp_path / "nowhere.csv"), "--state", str(tmp_path)]) == USAGE

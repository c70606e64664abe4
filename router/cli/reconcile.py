"""`lead-router reconcile`: a buyer's own list of leads against the ledger; the failures nobody was told of."""

import argparse
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import structs

from router.cli import options as shared
from router.cli.exits import DISK, DONE, NO, USAGE, CommandError
from router.cli.screen import columns, print_json
from router.ledger.past import Past, open_past
from router.ledger.protocol import LedgerError
from router.model.money import format_money
from router.model.sheet import UnreadableSheet
from router.reports.buyer_list import BuyerList, read_day, read_list
from router.reports.delivered import buyers_in, delivered_to
from router.reports.reconcile import KINDS, Difference, Ours, Reconciliation, reconcile
from router.terms.schema import Defaults

_ROWS: Final = 40


def arguments(parser: argparse.ArgumentParser) -> None:
    """`reconcile FILE [--buyer ID] [--from DAY] [--to DAY] [--state DIR]`."""
    parser.add_argument("file", metavar="FILE|-", help="the buyer's list: ids, phones or e-mails; days, prices")
    parser.add_argument("--buyer", metavar="ID", help="whose it is (default: whom its ids belong to)")
    parser.add_argument("--from", dest="first", metavar="DAY", help="it is whole from this day on (default: its first)")
    parser.add_argument("--to", dest="last", metavar="DAY", help="and up to this one (default: its last)")
    shared.state_dir(parser)
    shared.json_output(parser)


def run(options: argparse.Namespace) -> int:
    """Compare; exit 1 when the two sides say different things."""
    try:
        data = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
        with open_past(options.state) as past:
            if past is None:
                message = f"there is no ledger in {options.state}"
                raise CommandError(NO, message, "Name the state directory with --state.")
            buyer_id, zone, found, listed, days = _compare(past, data, options)
    except LedgerError as error:
        raise CommandError(DISK, str(error), error.hint) from None
    except UnreadableSheet as error:
        raise CommandError(USAGE, f"{options.file}: {error}", error.mend) from None
    except OSError as error:
        raise CommandError(USAGE, f"{options.file}: {error.strerror or error}") from None
    if options.json:
        print_json(_plain(buyer_id, zone, found, listed, days))
    else:
        print("\n".join(_lines(buyer_id, zone, found, listed, days)))
    return NO if found.differ or listed.unread else DONE


Days = tuple[date, date] | None


def _compare(
    past: Past, data: bytes, options: argparse.Namespace
) -> tuple[str, ZoneInfo, Reconciliation, BuyerList, Days]:
    version = past.version_in_force()
    book = None if version is None else past.book(version)
    home = Defaults() if book is None else book.router.defaults
    first = read_list(data, country=home.country, zone=ZoneInfo(home.time_zone))
    buyer_id = options.buyer or _whose(past, first)
    if buyer_id not in buyers_in(past):
        message = f"no delivery to a buyer {buyer_id} is in the ledger"
        raise CommandError(USAGE, message, f"There are {', '.join(buyers_in(past)) or 'none at all'}.")
    buyer = None if book is None else book.buyers.get(buyer_id)
    zone = ZoneInfo((buyer.time_zone if buyer is not None else None) or home.time_zone)
    listed = read_list(data, country=home.country, zone=zone)
    if not listed.rows:
        message = "the list has no column of ids, phones or e-mails to find deliveries by"
        raise CommandError(USAGE, message, "Name the columns: delivery_id, phone, email, date, price, status.")
    days = _days(options, listed, zone)
    ours: list[Ours] = list(delivered_to(past, buyer_id, zone))
    return buyer_id, zone, reconcile(ours, listed.rows, days), listed, days


def _whose(past: Past, listed: BuyerList) -> str:
    """The buyer that most of the list's ids belong to; else the only one there is."""
    ids = {key.lower() for row in listed.rows for key in row.ids}
    owners = past.owners_of(ids)
    if owners:
        return max(owners, key=lambda buyer: (owners[buyer], buyer))
    buyers = buyers_in(past)
    if len(buyers) == 1:
        return buyers[0]
    raise CommandError(USAGE, "the list does not tell whose it is", f"Give --buyer: one of {', '.join(buyers)}.")


def _days(options: argparse.Namespace, listed: BuyerList, zone: ZoneInfo) -> Days:
    given = [_day(text, zone) for text in (options.first, options.last)]
    named = listed.days
    if named is None:
        if given == [None, None]:
            return None
        return given[0] or date.min, given[1] or date.max
    return given[0] or named[0], given[1] or named[1]


def _day(text: str | None, zone: ZoneInfo) -> date | None:
    if text is None:
        return None
    day = read_day(text, zone)
    if day is None:
        raise CommandError(USAGE, f"{text} is no day", "Write 2026-11-24.")
    return day


# -- words ---------------------------------------------------------------------------------------


def _plain(buyer_id: str, zone: ZoneInfo, found: Reconciliation, listed: BuyerList, days: Days) -> dict[str, Any]:
    return {
        "buyer_id": buyer_id,
        "time_zone": zone.key,
        "days": None if days is None else {"from": str(days[0]), "to": str(days[1])},
        "columns": listed.columns,
        "deliveries": found.deliveries,
        "rows": found.rows,
        "agreed": found.agreed,
        "differ": found.differ,
        "total_ours": format_money(found.total_ours),
        "total_theirs": format_money(found.total_theirs),
        "counts": found.counts,
        "differences": [_difference(one) for one in found.differences],
        "unread_lines": listed.unread,
    }


def _difference(one: Difference) -> dict[str, Any]:
    plain: dict[str, Any] = structs.asdict(one)
    for key in ("price_ours", "price_theirs"):
        plain[key] = None if plain[key] is None else format_money(plain[key])
    plain["day"] = None if one.day is None else str(one.day)
    return plain


def _lines(buyer_id: str, zone: ZoneInfo, found: Reconciliation, listed: BuyerList, days: Days) -> list[str]:
    period = "all of our deliveries" if days is None else f"{days[0]} to {days[1]}, {zone.key}"
    lines = [
        f"{buyer_id}, {period}",
        f"{found.rows} rows of theirs, {found.deliveries} deliveries of ours, {found.agreed} agree",
        f"ours {format_money(found.total_ours)}, theirs {format_money(found.total_theirs)}",
        f"read: {', '.join(f'{name} as {role}' for name, role in listed.columns.items())}",
    ]
    for kind, words in KINDS.items():
        rows = [_difference(one) for one in found.differences if one.kind == kind]
        if rows:
            lines += ["", f"{words}: {len(rows)}", *columns([_row(one) for one in rows[:_ROWS]], indent="  ")]
        if len(rows) > _ROWS:
            lines.append(f"  and {len(rows) - _ROWS} more (--json has them)")
    if listed.unread:
        shown = ", ".join(map(str, listed.unread[:_ROWS]))
        lines += ["", f"nothing to find a delivery by on {len(listed.unread)} lines: {shown}"]
    return lines if found.differ or listed.unread else [*lines, "", "both sides say the same"]


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    line = "" if one["line"] is None else f"line {one['line']}"
    prices = f"{one['price_ours'] or ''} / {one['price_theirs'] or ''}".strip(" /")
    return (line, one["delivery_id"] or "", one["contract_id"] or "", one["day"] or "", one["ours"] or "", prices)

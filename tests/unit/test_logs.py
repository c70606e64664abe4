"""Log lines are JSON, one a line, and hold nothing of a lead."""

import asyncio
import io
import logging
from collections.abc import Iterator

import orjson
import pytest

from router import logs
from tests.e2e.house import LEAD, SOURCE, open_house

VALUES = ("(512)", "+1512", "555-0147", "5550147", "ana@example.com", "Ana", "78701")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; the root logger is as it was afterwards."""
    root, ours = logging.getLogger(), logging.getLogger(logs.OURS)
    before = root.handlers[:], root.level, ours.level
    into = io.StringIO()
    logs.configure(into)
    yield into
    root.handlers[:], root.level, ours.level = before


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """Every line, decoded."""
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_holds_what_is_known_to_hold_nothing_personal(stream: io.StringIO) -> None:
    """Known names are kept, others left out, and arguments are not put into the words."""
    logging.getLogger("router.x").warning("event %s", "ana@example.com", extra={"lead_id": "l-1", "phone": "5550147"})
    (line,) = lines(stream)
    assert line["event"] == "event %s"
    assert line["lead_id"] == "l-1"
    assert line["level"] == "warning"
    assert "phone" not in line
    assert "ana@example.com" not in stream.getvalue()


def test_what_a_library_says_is_cut_down(stream: io.StringIO) -> None:
    """Its words may quote a request: logger, level and the kind of error stay."""
    try:
        int("ana@example.com")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("bad request from %s", "ana@example.com")
    (line,) = lines(stream)
    assert line["logger"] == "aiohttp.server"
    assert line["error"] == "ValueError"
    assert "ana" not in stream.getvalue()


def test_a_value_that_is_no_json_is_named_by_its_kind(stream: io.StringIO) -> None:
    """A line is never lost for a value that cannot be written."""
    logging.getLogger("router.x").info("odd", extra={"reason": object()})
    assert lines(stream)[0]["reason"] == "object"


async def test_wide_lines_are_collected_and_written_soon() -> None:
    """Lines wait for a moment and come out whole, in order; flush brings them out at once."""
    into = io.StringIO()
    wide = logs.WideLines(into)
    wide.say("lead", lead_id="1")
    wide.say("lead", lead_id="2")
    assert into.getvalue() == ""
    wide.flush()
    assert [line["lead_id"] for line in lines(into)] == ["1", "2"]
    wide.say("lead", lead_id="3")
    async with asyncio.timeout(5):
        while len(lines(into)) < 3:
            await asyncio.sleep(logs.FLUSH_AFTER_S / 4)


async def test_wide_lines_refuse_names_nobody_vouched_for() -> None:
    """A name outside KEYS is a defect of ours."""
    with pytest.raises(AssertionError, match="KEYS"):
        logs.WideLines(io.StringIO()).say("lead", phone="5550147")


async def test_nothing_of_a_lead_is_ever_logged(stream: io.StringIO) -> None:
    """Good leads, bad leads, broken bodies, a failing handler: none of their values is in the log."""
    async with open_house() as house:
        good = LEAD | {"fields": LEAD["fields"] | {"first_name": "Ana"}}
        assert (await house.give(good))[0] == 201
        assert (await house.give(LEAD | {"fields": {"phone": "555-0147", "postal_code": "Ana"}}))[0] == 422
        how = {"data": b'{"phone": "5550147", "ana@example.com"', "headers": {"Content-Type": "application/json"}}
        assert (await house.ask("POST", "/v1/leads", token=SOURCE, **how))[0] == 400

        def fails(*_: object) -> None:
            raise RuntimeError("cannot route ana@example.com, 78701")

        house.engine.duplicate_of = fails  # type: ignore[method-assign,assignment]
        assert (await house.give(good))[0] == 500
    assert any(line["event"] == "unforeseen" for line in lines(stream))
    for value in VALUES:
        assert value not in "".join(str({**line, "at": ""}) for line in lines(stream))

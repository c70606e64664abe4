"""One suite over the memory ledger and the SQLite ledger: what a ledger promises, whichever it is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from router.ledger.memory import MemoryLedger
from router.ledger.protocol import KnownRequest, Ledger, LedgerBroken, LedgerError
from router.ledger.sqlite import SqliteLedger
from router.model.facts import Entry, Paused, Queued, Reopened, TermsLoaded
from tests.conformance.entries import T0, S, attempted, ended, lead, received, reserved, settled

Make = Callable[[], Awaitable[Ledger]]


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def restart(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    """Opens the ledger; every further call is a clean restart on the same facts."""
    ledger: Ledger = MemoryLedger()

    async def start() -> Ledger:
        nonlocal ledger
        await ledger.close()
        if request.param == "sqlite":
            ledger = SqliteLedger(tmp_path / "state")
        await ledger.open()
        return ledger

    yield start
    await ledger.close()


async def all_facts(ledger: Ledger, after: int = 0) -> list[tuple[int, Entry]]:
    """Every fact after a number, slices joined."""
    return [pair async for part in ledger.facts_after(after) for pair in part]


async def test_numbers_are_given_in_order_and_facts_come_back_as_they_went_in(restart: Make) -> None:
    """append resolves with the last number of its own entries; facts_after gives equal entries, after a restart too."""
    ledger = await restart()
    entries = [
        received(1), reserved(1), attempted(1), settled(1), ended(1),
        Entry(at_ns=T0, fact=Paused(subject="contract", id="c", reason="gone", by="operator:alice")),
        Entry(at_ns=T0, fact=TermsLoaded(terms_version="v1", by="start")),
    ]  # fmt: skip
    first = ledger.append(entries[:2])
    second = ledger.append(entries[2:])
    assert await first == 2
    assert await second == 7
    assert ledger.head_seq == 7
    assert await all_facts(ledger) == list(enumerate(entries, 1))
    ledger = await restart()
    assert await all_facts(ledger) == list(enumerate(entries, 1))
    assert await all_facts(ledger, after=5) == list(enumerate(entries, 1))[5:]
    assert await all_facts(ledger, after=7) == []
    assert await ledger.append([received(2)]) == 8


async def test_a_reopened_lead_comes_back_with_its_lead(restart: Make) -> None:
    """Whoever goes on with a lead needs it: it stands beside the Reopened too, until the person is forgotten."""
    ledger = await restart()
    again = Entry(at_ns=T0, fact=Reopened(lead_id="lead-0001", by="operator:alice"), lead=lead(1))
    await ledger.append([received(1), ended(1), again])
    ledger = await restart()
    assert (await all_facts(ledger))[2] == (3, again)
    assert (await ledger.entries_of("lead-0001"))[2] == (3, again)
    await ledger.erase(["lead-0001"])
    assert [entry.lead for _, entry in await all_facts(ledger)] == [None, None, None]


async def test_a_received_comes_back_with_its_key(restart: Make) -> None:
    """A fold after a restart knows the Idempotency-Key a lead was taken with: the state holds repeats by it."""
    ledger = await restart()
    entries = [received(1, key="k1"), received(2), reserved(1)]
    await ledger.append(entries)
    ledger = await restart()
    assert [entry.idempotency for _, entry in await all_facts(ledger)] == [entries[0].idempotency, None, None]


async def test_appending_nothing_is_durable_at_once(restart: Make) -> None:
    """An empty append resolves with the present head and writes nothing."""
    ledger = await restart()
    assert await ledger.append([]) == 0
    await ledger.append([received(1)])
    assert await ledger.append([]) == 1


async def test_many_appends_at_once_keep_their_order(restart: Make) -> None:
    """A thousand appends in flight together come back in the order they were made, each with its own number."""
    ledger = await restart()
    futures = [ledger.append([received(n)]) for n in range(1000)]
    assert await asyncio.gather(*futures) == list(range(1, 1001))
    assert [entry.lead and entry.lead.lead_id for _, entry in await all_facts(ledger)] == [
        f"lead-{n:04d}" for n in range(1000)
    ]


async def test_a_lead_finds_its_facts_and_those_of_its_deliveries(restart: Make) -> None:
    """entries_of gives a lead's whole story in order, deliveries included, before and after a restart."""
    ledger = await restart()
    await ledger.append([received(1), received(2), reserved(1), reserved(2), attempted(1)])
    ledger = await restart()
    await ledger.append([settled(1), ended(1), attempted(2)])
    story = await ledger.entries_of("lead-0001")
    assert story == [(1, received(1)), (3, reserved(1)), (5, attempted(1)), (6, settled(1)), (7, ended(1))]
    assert [seq for seq, _ in await ledger.entries_of("lead-0002")] == [2, 4, 8]
    assert await ledger.entries_of("nobody") == []
    assert await ledger.lead("lead-0001") == lead(1)
    assert await ledger.lead("nobody") is None
    assert await ledger.lead_of("delivery-0002") == "lead-0002"
    assert await ledger.lead_of("nothing") is None


async def test_a_received_needs_its_lead(restart: Make) -> None:
    """A Received without its lead is the caller's mistake and is refused before anything is queued."""
    ledger = await restart()
    with pytest.raises(ValueError, match="goes into the ledger with its lead"):
        ledger.append([Entry(at_ns=T0, fact=received(1).fact)])
    assert await ledger.append([received(2)]) == 1


async def test_search_by_everything_newest_first(restart: Make) -> None:
    """Each filter narrows, all filters hold together, and the newest comes first."""
    ledger = await restart()
    await ledger.append([received(n, source_id="acme" if n % 2 else "globex") for n in range(1, 6)])
    await ledger.append([ended(1), Entry(at_ns=T0, fact=Queued(lead_id="lead-0002")), ended(3, "unsold")])

    async def ids(**query: object) -> list[str]:
        rows, cursor = await ledger.search(**query)  # type: ignore[arg-type]
        assert cursor is None
        return [row.lead_id[-1] for row in rows]

    assert await ids() == ["5", "4", "3", "2", "1"]
    assert await ids(phone="+15125550003") == ["3"]
    assert await ids(email="ana4@example.com") == ["4"]
    assert await ids(source="globex") == ["4", "2"]
    assert await ids(status="routing") == ["5", "4"]
    assert await ids(status="sold") == ["1"]
    assert await ids(status="queued") == ["2"]
    assert await ids(since_ns=T0 + 4 * S) == ["5", "4"]
    assert await ids(source="acme", status="unsold", since_ns=T0, phone="+15125550003") == ["3"]
    assert await ids(phone="+15125559999") == []
    await ledger.append([Entry(at_ns=T0, fact=Reopened(lead_id="lead-0003", by="operator:alice"))])
    assert await ids(status="routing") == ["5", "4", "3"]
    row = (await ledger.search(phone="+15125550002"))[0][0]
    assert (row.source_id, row.lead_type, row.received_at_ns, row.status) == ("globex", "solar", T0 + 2 * S, "queued")


async def test_search_pages_meet_without_gap_or_overlap(restart: Make) -> None:
    """Following cursors shows every lead once, although new leads arrive meanwhile; a made-up cursor is refused."""
    ledger = await restart()
    for n in range(1, 8):
        await ledger.append([received(n), reserved(n)])
    seen: list[str] = []
    cursor: str | None = None
    for page in range(4):
        rows, cursor = await ledger.search(cursor=cursor, limit=2)
        seen += [row.lead_id[-1] for row in rows]
        await ledger.append([received(10 + page)])
    assert cursor is None
    assert seen == ["7", "6", "5", "4", "3", "2", "1"]
    for made_up in ("x", "-1", "1.5", "²", "9" * 30):
        with pytest.raises(ValueError, match="cursor"):
            await ledger.search(cursor=made_up)


async def test_repeats_are_known_after_a_restart(restart: Make) -> None:
    """recent_requests gives keys and external ids since an instant, and whether an answer was stored."""
    ledger = await restart()
    await ledger.append(
        [
            received(1, key="old"),
            received(2, key="k2"),
            received(3, external_id="x3"),
            received(4),
            received(5, key="k5", external_id="x5"),
        ]
    )
    await ledger.store_answer("lead-0002", 201, b'{"a": 1}')
    ledger = await restart()
    found = [request async for part in ledger.recent_requests(T0 + 2 * S) for request in part]
    assert found == [
        KnownRequest(lead_id="lead-0005", source_id="acme", received_at_ns=T0 + 5 * S, key="k5", body_sha256=b"k5",
                     external_id="x5", answered=False),
        KnownRequest(lead_id="lead-0003", source_id="acme", received_at_ns=T0 + 3 * S, key=None, body_sha256=None,
                     external_id="x3", answered=False),
        KnownRequest(lead_id="lead-0002", source_id="acme", received_at_ns=T0 + 2 * S, key="k2", body_sha256=b"k2",
                     external_id=None, answered=True),
    ]  # fmt: skip


async def test_answers_come_back_byte_for_byte(restart: Make) -> None:
    """A stored answer survives a restart unchanged, the last one counts, and an unknown lead has none."""
    ledger = await restart()
    await ledger.append([received(1), received(2), received(3)])
    body = '{"lead_id":"…",\n "status" : "sold"}\x00'.encode()
    await ledger.store_answer("lead-0001", 202, b"first")
    await ledger.store_answer("lead-0001", 201, body)
    await ledger.store_answer("lead-0003", 201, body)
    await ledger.store_answer("nobody", 201, body)
    ledger = await restart()
    assert await ledger.answer("lead-0001") == (201, body)
    assert await ledger.answer("lead-0002") is None
    assert await ledger.answer("nobody") is None
    await ledger.forget_answers(T0 + 2 * S)
    assert await ledger.answer("lead-0001") is None
    assert await ledger.answer("lead-0003") == (201, body)


async def test_terms_are_kept_by_version(restart: Make) -> None:
    """The first bytes stored under a version stay; unknown versions are none."""
    ledger = await restart()
    await ledger.put_terms("v1", b"terms" * 1000)
    await ledger.put_terms("v1", b"other")
    ledger = await restart()
    assert await ledger.terms("v1") == b"terms" * 1000
    assert await ledger.terms("v2") is None


async def test_the_newest_snapshot_is_where_a_restart_begins(restart: Make) -> None:
    """open gives the newest snapshot and its number; a snapshot ahead of the facts is refused."""
    ledger = await restart()
    await ledger.append([received(1), received(2), received(3)])
    await ledger.save_snapshot(1, b"one")
    await ledger.save_snapshot(3, b"three")
    await ledger.save_snapshot(2, b"two")
    with pytest.raises(ValueError, match="no fact 9"):
        await ledger.save_snapshot(9, b"nine")
    await ledger.close()
    opened = await ledger.open()
    assert (opened.snapshot, opened.snapshot_seq, opened.head_seq) == (b"three", 3, 3)
    assert await ledger.append([received(4)]) == 4


async def test_a_person_is_forgotten_and_the_facts_stay(restart: Make) -> None:
    """erase takes lead, contact data, keys and answer away, says how many it found, and leaves the facts."""
    ledger = await restart()
    await ledger.append([received(1, key="k1", external_id="x1"), reserved(1), settled(1), ended(1), received(2)])
    await ledger.store_answer("lead-0001", 201, b"{}")
    assert await ledger.erase(["lead-0001", "nobody"]) == 1
    assert await ledger.erase(["lead-0001"]) == 0
    assert await ledger.lead("lead-0001") is None
    assert await ledger.answer("lead-0001") is None
    assert (await ledger.search(phone="+15125550001"))[0] == []
    assert (await ledger.search(email="ana1@example.com"))[0] == []
    (row,), _ = await ledger.search(status="erased")
    assert (row.lead_id, row.external_id) == ("lead-0001", None)
    assert [entry.fact for _, entry in await ledger.entries_of("lead-0001")] == [
        received(1).fact, reserved(1).fact, settled(1).fact, ended(1).fact,
    ]  # fmt: skip
    assert [request async for part in ledger.recent_requests(0) for request in part] == []
    await ledger.append([ended(1, "unsold")])
    assert [row.status for row in (await ledger.search())[0]] == ["routing", "erased"]
    facts = await all_facts(await restart())
    assert [entry.lead and entry.lead.lead_id for _, entry in facts] == [None, None, None, None, "lead-0002", None]


async def test_retention_forgets_old_leads_and_keeps_their_status(restart: Make) -> None:
    """erase_before takes what is older away, once, and what a lead came to can still be seen."""
    ledger = await restart()
    await ledger.append([received(n) for n in range(1, 6)] + [ended(1)])
    assert await ledger.erase_before(T0 + 3 * S) == 2
    assert await ledger.erase_before(T0 + 3 * S) == 0
    assert [await ledger.lead(f"lead-{n:04d}") is None for n in range(1, 6)] == [True, True, False, False, False]
    assert [row.lead_id[-1] for row in (await ledger.search(status="sold"))[0]] == ["1"]


async def test_a_closed_ledger_takes_nothing(restart: Make) -> None:
    """Before open and after close nothing is writable and every write fails with the same error and a hint."""
    ledger = await restart()
    assert ledger.writable
    assert ledger.problem is None
    await ledger.close()
    await ledger.close()
    assert not ledger.writable
    with pytest.raises(LedgerBroken) as caught:
        await ledger.append([received(1)])
    assert caught.value.hint
    with pytest.raises(LedgerError):
        await ledger.store_answer("lead-0001", 201, b"")


async def test_close_writes_what_is_queued(restart: Make) -> None:
    """What was appended before close is written by close, whether or not anybody waits for it."""
    ledger = await restart()
    futures = [ledger.append([received(n)]) for n in range(1, 4)]
    await ledger.close()
    assert await asyncio.gather(*futures) == [1, 2, 3]
    assert len(await all_facts(await restart())) == 3


async def test_a_caller_who_gives_up_takes_nothing_back(restart: Make) -> None:
    """Cancelling the wait for an append does not stop the writing, nor harm the others in the group."""
    ledger = await restart()
    gone, stays = ledger.append([received(1)]), ledger.append([received(2)])
    gone.cancel()
    assert await stays == 2
    assert len(await all_facts(ledger)) == 2


async def test_the_latest_leads_come_oldest_first(restart: Make) -> None:
    """At most so many, since then; who was forgotten is left out."""
    ledger = await restart()
    await ledger.append([received(n) for n in range(5)])
    found = await ledger.recent_leads(0, limit=3)
    assert [one.lead_id for one in found] == ["lead-0002", "lead-0003", "lead-0004"]
    assert found[0] == lead(2)
    assert await ledger.recent_leads(0, limit=99) == [lead(n) for n in range(5)]
    assert await ledger.recent_leads(lead(3).received_at_ns, limit=99) == [
        lead(n) for n in range(5) if lead(n).received_at_ns >= lead(3).received_at_ns
    ]
    await ledger.erase(["lead-0003"])
    assert [one.lead_id for one in await ledger.recent_leads(0, limit=2)] == ["lead-0004"]
    assert await (await restart()).recent_leads(2**62, limit=99) == []

"""When the ledger fails under a running daemon: every connection is closed unanswered and the exit code says disk."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from router.configuration.disk import read_candidate
from router.daemon.serve import DISK, INTERNAL, Daemon
from router.ledger.protocol import LedgerBroken
from tests.e2e.house import SOURCE
from tests.e2e.process import gated_buyer, write_config


@pytest.mark.parametrize(
    ("error", "code"),
    [(LedgerBroken("fsync failed", hint="look at the disk"), DISK), (RuntimeError("a defect of ours"), INTERNAL)],
)
async def test_nobody_is_answered_when_nobody_knows_what_is_durable(
    tmp_path: Path, error: Exception, code: int
) -> None:
    """A source that waits for its sale sees its connection end without a byte; so do idle ones; no port stays open."""
    async with gated_buyer() as buyer:
        config = write_config(tmp_path / "config", buyer.url)
        candidate = read_candidate(config, tmp_path / "state")
        assert candidate.good, [problem.line() for problem in candidate.problems]
        daemon = Daemon(config, tmp_path / "state", candidate, accept_loss=False)
        addresses = await daemon.start()
        host, port = addresses.intake[0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        idle_reader, idle_writer = await asyncio.open_connection(host, int(port))
        body = b'{"fields":{"postal_code":"78701"}}'
        writer.write(
            b"POST /v1/leads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Authorization: Bearer %b\r\n\r\n%b" % (len(body), SOURCE.encode(), body)
        )
        await buyer.asked.acquire()
        daemon._engine.failure.set_exception(error)
        failure = await daemon.run()
        assert failure is error
        assert await daemon.fall(failure) == code
        for each, its_writer in ((reader, writer), (idle_reader, idle_writer)):
            with suppress(ConnectionResetError):  # as good as an end without a byte
                assert await each.read() == b""
            its_writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))
        assert not (tmp_path / "state" / "intake.sock").exists()

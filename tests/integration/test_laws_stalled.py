"""A server that stands still: what the client holds, how it waits, and how it lets go."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import trio

from beamline_trio import ClientClosedError, State, UndeliveredError, open_client
from beamline_trio.server_process import Server, open_server

from ._certificates import write_certificates
from ._measure import descriptors
from .stalled_server import PAYLOAD_BYTES, stall

LIMIT_SECONDS = 10.0


async def test_publishing_into_a_stopped_server(nats_server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """20 publishers of 60 KB: memory within the cap, other tasks on time, cancelled within one scheduler pass.

    The long form is `python -m tests.integration.stalled_server`.
    """
    report = await stall(nats_server, publishers=20, seconds=3.0)
    with capsys.disabled():
        print(f"\n{report}")
    assert report.holds, report


async def test_publish_nowait_into_a_stopped_server(nats_server: Server) -> None:
    """`publish_nowait` into a stopped server raises WouldBlock at the cap, and what it took arrives later, in order."""
    payload = bytes(PAYLOAD_BYTES - 3)
    async with open_client(nats_server.url) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        nats_server.pause()
        taken = refused = 0
        for _ in range(200):
            try:
                nc.publish_nowait("a", b"%03d" % taken + payload)
                taken += 1
            except trio.WouldBlock:
                refused += 1
            await trio.lowlevel.checkpoint()
        assert refused > 0
        assert taken * PAYLOAD_BYTES < 30_000_000  # the system's socket buffers, beside our cap
        assert nc.ledger().accepted == taken
        nats_server.resume()
        with trio.fail_after(LIMIT_SECONDS):
            got = [int((await sub.receive()).payload[:3]) for _ in range(taken)]
        assert got == list(range(taken))


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("raises", [False, True], ids=["in order", "by an error"])
async def test_leaving_while_the_server_stands_still(tmp_path: Path, tls: bool, raises: bool) -> None:
    """Leaving by an error closes at once, with a full outbox; leaving in order is bounded by the drain's deadline."""

    class OwnError(Exception):
        pass

    certificates = write_certificates(tmp_path, "127.0.0.1")
    context = certificates.context() if tls else None
    async with open_server(config=certificates.server_config() if tls else "") as server:
        before = descriptors()
        async with contextlib.AsyncExitStack() as stack:
            caught = stack.enter_context(pytest.raises(OwnError if raises else UndeliveredError))
            client = open_client(server.url, tls=context, drain_deadline_seconds=0.3)
            nc = await stack.enter_async_context(client)
            server.pause()
            with trio.move_on_after(0.2):
                while True:
                    await nc.publish("a", bytes(PAYLOAD_BYTES))
            began = trio.current_time()
            if raises:
                raise OwnError
        seconds = trio.current_time() - began
        assert seconds < 0.25 if raises else 0.3 <= seconds < 1.0
        assert descriptors() == before
    ledger = nc.ledger()
    assert nc.state is State.CLOSED
    assert (ledger.open, ledger.balanced) == (0, True)
    assert ledger.dropped + ledger.unknown == ledger.accepted
    if isinstance(caught.value, UndeliveredError):
        assert (caught.value.unsent, caught.value.unknown) == (ledger.dropped, ledger.unknown)
    with pytest.raises(ClientClosedError):
        await nc.publish("a")

"""SIGTERM to `beamline run` with a route from a stream: what is lost, redelivered, unfinished, and how it ends."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio

from beamline_trio import JetStream, StreamConfig, open_client
from beamline_trio.server_process import Server
from tests.integration.test_cli import beamline, curl

pytestmark = pytest.mark.server_options(jetstream=True)
LIMIT_SECONDS = 30.0
ROUTER = """
import trio
from beamline_trio import Publish, Retry, Router
router = Router("prices", grace_seconds=1.0)

@router.route("a.*", stream="A", durable="d", dead_letter="dlq.a", concurrency=4, retry=Retry(ack_wait_seconds=60.0))
async def forward(payload: bytes, delivery):
    if payload == b"hang":
        print("hanging", flush=True)
        await trio.sleep_forever()
    await trio.sleep(0.02)
    return Publish(f"b.{payload.decode()}", payload)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "prices.py").write_text(ROUTER)
    (tmp_path / "temporary").mkdir()
    return tmp_path


async def set_up(js: JetStream) -> None:
    for name in ("A", "B", "DLQ"):
        await js.create_stream(StreamConfig(name=name, subjects=(f"{name.lower()}.*",)))


async def test_a_drain_under_load_loses_and_repeats_nothing(directory: Path, nats_server: Server) -> None:
    """SIGTERM at 100 messages a second: exit code 0, nothing in hand is given back, and the next instance goes on."""
    count = 200
    async with open_client(nats_server.url) as nc, trio.open_nursery() as nursery:
        js = JetStream(nc)
        await set_up(js)

        async def load() -> None:
            for number in range(count):
                await js.publish(f"a.{number}", b"%d" % number)
                await trio.sleep(0.01)

        async with beamline(directory, NATS_URL=nats_server.url) as run:
            port = await run.running()
            assert (await curl(port, "/readyz"))[0] == 200
            nursery.start_soon(load)
            await trio.sleep(0.8)
            run.process.send_signal(signal.SIGTERM)
            assert await run.ended() == 0
        info = await js.consumer_info("A", "d")
        done = (await js.stream_info("B")).state.messages
        assert 0 < done < count
        assert (info.num_ack_pending, info.num_redelivered, info.ack_floor.stream_seq) == (0, 0, done)
        assert "0 unfinished" in run.out
        async with beamline(directory, NATS_URL=nats_server.url) as run:
            await run.running()
            with trio.fail_after(LIMIT_SECONDS):
                while (await js.stream_info("B")).state.messages < count:  # noqa: ASYNC110  # another process does it
                    await trio.sleep(0.05)
            run.process.terminate()
            assert await run.ended() == 0
        stored = [(await js.get_message("B", sequence=n + 1)).payload for n in range(count)]
        assert sorted(map(int, stored)) == list(range(count))
        info = await js.consumer_info("A", "d")
        assert (info.num_ack_pending, info.num_redelivered) == (0, 0)
        assert (info.delivered.consumer_seq, info.delivered.stream_seq) == (count, count)


async def test_what_does_not_end_in_the_grace(directory: Path, nats_server: Server) -> None:
    """It is cut, told, and given back at once: exit code 1, and the next instance has it long before its ack wait."""
    async with open_client(nats_server.url) as nc:
        js = JetStream(nc)
        await set_up(js)
        async with beamline(directory, NATS_URL=nats_server.url) as run:
            port = await run.running()
            await js.publish("a.1", b"hang")
            await run.says("hanging")
            run.process.send_signal(signal.SIGTERM)
            await run.says("SIGTERM: draining")
            assert (await curl(port, "/readyz"))[0] == 503
            assert await run.ended() == 1
        assert "1 unfinished" in run.out
        async with beamline(directory, NATS_URL=nats_server.url) as run:
            await run.running()
            await run.says("hanging")
            # A second signal does not wait for the grace.
            run.process.send_signal(signal.SIGTERM)
            await run.says("SIGTERM: draining")
            run.process.send_signal(signal.SIGTERM)
            with trio.fail_after(5):
                assert await run.ended() == 128 + signal.SIGTERM
        assert "cut short" in run.out

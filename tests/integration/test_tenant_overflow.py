"""What a tenant has beyond its part of a queue, on both servers: it is held, and read again when it is its turn."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from beamline_trio import JetStream, JetStreamMessage, Message, StreamConfig, open_client
from beamline_trio.router import Retry, Router
from beamline_trio.testing import EitherServer

pytestmark = pytest.mark.nats_config(jetstream=True)
COUNT = 60
LIMIT_SECONDS = 25.0


async def test_a_tenant_that_hangs_lets_the_others_pass_and_loses_nothing(nats: EitherServer) -> None:
    """Longer than the ack wait: each message comes once, the others' meanwhile, and whole when it is its turn."""
    go = trio.Event()
    done: Counter[str] = Counter()
    router = Router("r", grace_seconds=1)

    @router.route(
        "in.*",
        name="work",
        stream="IN",
        concurrency=4,
        tenant_by=lambda message: message.subject,
        quota=1,
        queue_messages_max=10,
        retry=Retry(ack_wait_seconds=2),
    )
    async def work(message: Message) -> None:
        if message.subject == "in.bad":
            await go.wait()
        assert isinstance(message, JetStreamMessage)
        assert message.metadata.delivered == 1
        assert message.payload == message.headers["Body"].encode()
        done[message.subject] += 1

    counters = router.routes["work"].counters
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client(nats.url, dialer=nats.dialer()) as nc, trio.open_nursery() as nursery:
            jetstream = JetStream(nc)
            await jetstream.create_stream(StreamConfig(name="IN", subjects=["in.*"]))
            await nursery.start(router.run, nc)
            for number in range(COUNT):
                for subject in ("in.bad", "in.good"):
                    body = f"{subject} {number}"
                    await jetstream.publish(subject, body.encode(), headers={"Body": body})
            await trio.sleep(3)
            assert done == {"in.good": COUNT}
            assert counters.held > COUNT / 2
            go.set()
            await trio.sleep(2)
            info = await jetstream.consumer_info("IN", "work")
            assert (info.num_ack_pending, info.num_pending, info.num_redelivered) == (0, 0, 0)
            await router.drain()
    assert done == {"in.good": COUNT, "in.bad": COUNT}
    assert {name: number for name, number in counters.outcomes.items() if number} == {"ok": 2 * COUNT}

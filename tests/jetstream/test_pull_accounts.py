"""What a session expects of a server that serves its open pulls in turn, and what a fetch does with a second pull."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio.jetstream import JetStreamMessage, statistics_of
from beamline_trio.jetstream._session import Messages
from tests._memory import lose_link, wait_connected
from tests.jetstream._pulls import PullServer, consumer_on, settle

# What the server may do next: give a message by one of its open pulls, or end the oldest.
STEPS = st.lists(st.one_of(st.integers(0, 5), st.just("end"), st.just("end without a count")), max_size=60)


class TurnsServer(PullServer):
    """It keeps its own account of what it owes each pull, as nats-server does, which says nothing of a full one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[int, int] = {}
        self._known = 0

    def look(self) -> None:
        """Take in the pulls that came."""
        for index in range(self._known, len(self.pulls)):
            self.open[index] = self.pulls[index].body["batch"]
        self._known = len(self.pulls)

    def give_by(self, choice: int) -> None:
        """A message by one of the open pulls."""
        index = list(self.open)[choice % len(self.open)]
        self.open[index] -= 1
        if not self.open[index]:
            del self.open[index]
        self.give(pull=index)

    def end_oldest(self, *, counted: bool) -> None:
        """The time of the oldest is over."""
        index = next(iter(self.open))
        left = self.open.pop(index)
        self.status(408, "Request Timeout", pull=index, pending=left if counted else None)


async def check_account(messages: Messages, server: TurnsServer, steps: list[int | str]) -> None:
    """Take everything, and compare after each step."""
    counted = True
    for step in steps:
        server.look()
        if isinstance(step, int):
            server.give_by(step)
            await messages.receive()
        else:
            counted &= step == "end"
            server.end_oldest(counted=step == "end")
        await settle()
        server.look()
        owed = sum(server.open.values())
        assert owed > 0, "the server has no pull, and nobody asks it"
        if counted:
            assert owed == messages._account.expected <= 10


@given(steps=STEPS, threshold=st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_what_is_expected_is_what_the_server_owes(steps: list[int | str], threshold: float) -> None:
    """Whichever pull gives a message, and whenever pulls end: never more than max_messages, never none for good."""
    if any(step == "end without a count" for step in steps):
        threshold = 0.9  # what ends without a count may be taken for more than it was

    async def main() -> None:
        server = TurnsServer()
        async with (
            consumer_on(server) as (_, consumer),
            consumer.messages(10, threshold=threshold, expires_seconds=60) as messages,
        ):
            await settle()
            await check_account(messages, server, steps)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_pull_that_others_have_filled_is_heard_at_its_end(autojump_clock: MockClock) -> None:
    """The second pull gave what the first was taken for: what the first did not give is asked for again."""
    server = TurnsServer()
    async with consumer_on(server) as (nc, consumer), consumer.messages(10, expires_seconds=60) as messages:
        await settle()
        await check_account(messages, server, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, "end", 0, 0, 0, 0, 0])
        assert statistics_of(nc).heartbeats_missed == 0


@pytest.mark.parametrize("pending", ["9" * 5000, "99999999999999999999", "-5", "x", "٣", ""])
async def test_a_count_that_cannot_be(pending: str, autojump_clock: MockClock) -> None:
    """A status with an absurd count does not break the link, and no more is asked for than max_messages."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), consumer.messages(10) as messages:
        await settle()
        server.give(5)
        for _ in range(5):
            await messages.receive()
        await settle()
        server.status(408, "Request Timeout", pull=0, pending=pending)  # type: ignore[arg-type]
        await settle()
        assert max(server.batches) == 10
        assert messages._account.expected <= 10
        assert nc.connection.counters.established == 1


async def test_many_short_pulls_are_not_remembered(autojump_clock: MockClock) -> None:
    """A server that fills pulls says nothing of their ends: a fast consumer remembers only what may still give."""
    server = TurnsServer()
    async with consumer_on(server) as (_, consumer), consumer.messages(10) as messages:
        await settle()
        await check_account(messages, server, [0] * 2000)
        assert len(server.pulls) > 200
        assert len(messages._account) <= 10


@pytest.mark.parametrize("wanted", [1, 2, 3])
async def test_a_fetch_with_two_pulls_takes_no_more_than_was_asked(wanted: int, autojump_clock: MockClock) -> None:
    """A silent server is asked again; when it then answers both pulls, what is too much is given back."""
    server = PullServer()
    taken: list[JetStreamMessage] = []
    async with consumer_on(server) as (nc, consumer):
        async with trio.open_nursery() as nursery:

            async def fetch() -> None:
                taken.extend(await consumer.fetch(wanted, expires_seconds=30))

            nursery.start_soon(fetch)
            await trio.sleep(11)
            assert server.batches == [wanted, wanted]
            server.give(wanted, pull=0)
            server.give(wanted - 1, pull=1)
            await settle()
        server.give(1, pull=1)  # on its way while UNSUB is
        await nc.flush()
        assert [message.metadata.stream_sequence for message in taken] == [*range(1, wanted + 1)]
        assert server.acks == [(number, b"-NAK") for number in range(wanted + 1, 2 * wanted)]


@pytest.mark.parametrize("came", [0, 1, 3, 4])
async def test_bytes_are_bounded_over_all_pulls_of_a_fetch(came: int, autojump_clock: MockClock) -> None:
    """The next link is asked for what is left of max_bytes, and for nothing when that is used up."""
    server = PullServer()
    size = len(b"s.a" + b"$JS.ACK.S.c.1.1.1.1.0" + b"0")
    taken: list[JetStreamMessage] = []
    async with consumer_on(server) as (nc, consumer), trio.open_nursery() as nursery:

        async def fetch() -> None:
            taken.extend(await consumer.fetch(10, max_bytes=4 * size, expires_seconds=5))

        nursery.start_soon(fetch)
        await settle()
        server.give(came)
        await settle()
        await lose_link(server)
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(10)
        asked = [pull.body["max_bytes"] for pull in server.pulls]
        assert asked[:2] == [4 * size, (4 - came) * size][: 1 if came == 4 else 2]
        assert len(taken) == came

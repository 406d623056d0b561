"""Receiving: a message is either returned or still pending, whatever is cancelled when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, ClientClosedError, Message, PermissionsError, Subscription, open_client
from tests._memory import MemoryDialer, Steps, ToyServer, opened

Take: TypeAlias = Callable[[Subscription], Awaitable[list[Message]]]


async def take_one(sub: Subscription) -> list[Message]:
    return [await sub.receive()]


async def take_next(sub: Subscription) -> list[Message]:
    return [await anext(sub)]


async def take_batch(sub: Subscription) -> list[Message]:
    return await sub.receive_batch(7)


takes = pytest.mark.parametrize("take", [take_one, take_next, take_batch])


def numbers(messages: list[Message]) -> list[int]:
    return [int(message.payload) for message in messages]


class Race:
    """Cancels a receive at a chosen moment around the arrival of one message.

    Two callbacks see the same message in the reader's own step, one before and one after the subscription under test:
    so a scope can be cancelled in the step that wakes the receiver, on either side of the waking.
    """

    MOMENTS = ("before", "waiting", "on the wire", "before the wake", "after the wake", "same step as the run")

    def __init__(self, server: ToyServer) -> None:
        self.server = server
        self.scope = trio.CancelScope()
        self.moment = ""
        self.sent = 0

    def hear(self, moment: str) -> None:
        if self.moment == moment:
            self.scope.cancel()

    async def run(self, sub: Subscription, take: Take, moment: str) -> list[Message]:
        """One receive that is cancelled at the moment, while one more message arrives; what it returned."""
        taken: list[Message] = []
        self.scope, self.moment = trio.CancelScope(), moment
        if moment == "before":
            self.scope.cancel()

        async def receive() -> None:
            with self.scope:
                taken.extend(await take(sub))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            if moment != "same step as the run":
                await trio.testing.wait_all_tasks_blocked()
            if moment == "waiting":
                self.scope.cancel()
            self.server.publish("a", b"%d" % self.sent)
            self.sent += 1
            if moment in ("on the wire", "same step as the run"):
                self.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        return taken


@takes
async def test_cancelled_receives_lose_nothing(take: Take, autojump_clock: MockClock) -> None:
    """3,000 receives cancelled at every moment against 3,000 messages give 3,000, in order, counters exact."""
    server = ToyServer()
    race = Race(server)
    got: list[int] = []
    cancelled = 0
    async with (
        opened(server) as nc,
        nc.subscribe("a", callback=lambda _: race.hear("before the wake")),
        nc.subscribe("a") as sub,
        nc.subscribe("a", callback=lambda _: race.hear("after the wake")) as last,
    ):
        await last.confirmed()
        while race.sent < 3_000:
            moment = race.MOMENTS[race.sent % len(race.MOMENTS)]
            taken = await race.run(sub, take, moment)
            cancelled += race.scope.cancel_called
            got += numbers(taken)
            rest = range(len(got), race.sent)
            assert sub.pending_messages == len(rest)
            assert sub.pending_bytes == sum(len(str(number)) for number in rest)
            if race.sent % 10 == 0:  # receive in step, so that half of them wait and half find messages pending
                while sub.pending_messages:
                    got += numbers(await take(sub))
        while sub.pending_messages:
            got += numbers(await take(sub))
        assert (sub.pending_bytes, sub.dropped, sub.delivered) == (0, 0, 3_000)
    assert got == list(range(3_000))
    assert cancelled == 3_000


async def test_cancelling_async_for_loses_nothing(autojump_clock: MockClock) -> None:
    """A message is either given to the body of `async for` or pending for the next loop."""
    server = ToyServer()
    got: list[int] = []
    sent = 0

    async def consume(sub: Subscription, scope: trio.CancelScope) -> None:
        with scope:
            async for message in sub:
                got.append(int(message.payload))

    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        for turn in range(300):
            scope = trio.CancelScope()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(consume, sub, scope)
                for _ in range(turn % 50):
                    server.publish("a", b"%d" % sent)
                    sent += 1
                for _ in range(turn % 7):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert sub.pending_messages == sent - len(got)
        while sub.pending_messages:
            got.append(int((await sub.receive()).payload))
    assert sent > 5_000
    assert got == list(range(sent))


@takes
async def test_several_consumers_share_a_subscription(take: Take, autojump_clock: MockClock) -> None:
    """With several consumers, some of them cancelled, nothing is lost, nothing is doubled, each sees the order."""
    server = ToyServer()
    chance = server.random
    got: dict[int, list[int]] = {consumer: [] for consumer in range(6)}
    scopes: dict[int, trio.CancelScope] = {}
    sent = 3_000

    async def consume(sub: Subscription, consumer: int) -> None:
        while sub.delivered < sent or sub.pending_messages:
            with trio.CancelScope() as scopes[consumer]:
                got[consumer] += numbers(await take(sub))
                if chance.random() < 0.3:
                    await trio.lowlevel.checkpoint()

    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        async with trio.open_nursery() as nursery:
            for consumer in got:
                nursery.start_soon(consume, sub, consumer)
            number = 0
            while number < sent:
                for _ in range(min(chance.randrange(20), sent - number)):
                    server.publish("a", b"%d" % number)
                    number += 1
                if chance.random() < 0.5:
                    await trio.lowlevel.checkpoint()
                scopes.get(chance.randrange(6), trio.CancelScope()).cancel()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert sub.pending_messages == 0
    assert sorted(number for numbers in got.values() for number in numbers) == list(range(sent))
    for numbers_of_one in got.values():
        assert numbers_of_one == sorted(numbers_of_one)


async def test_every_message_wakes_a_receiver(autojump_clock: MockClock) -> None:
    """As many waiting receivers as messages come, in one chunk or in several: each gets one, at once."""
    for chunk in (1, 6):
        server = ToyServer()
        got: list[bytes] = []

        async def receive(sub: Subscription, got: list[bytes] = got) -> None:
            got.append((await sub.receive()).payload)

        async with opened(server) as nc, nc.subscribe("a") as sub, trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(receive, sub)
            await sub.confirmed()
            for number in range(6):
                server.publish("a", b"%d" % number)
                if number % chunk == chunk - 1:
                    await trio.testing.wait_all_tasks_blocked()
                    assert len(got) == number + 1
            assert sorted(got) == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_a_cancelled_receiver_takes_no_wake_up_with_it(autojump_clock: MockClock) -> None:
    """A message that comes after one of two receivers was cancelled goes to the other, at once."""
    server = ToyServer()
    got: list[bytes] = []

    async def receive(sub: Subscription, scope: trio.CancelScope) -> None:
        with scope:
            got.append((await sub.receive()).payload)

    async with opened(server) as nc, nc.subscribe("a") as sub, trio.open_nursery() as nursery:
        await sub.confirmed()
        scopes = [trio.CancelScope() for _ in range(4)]
        for scope in scopes:
            nursery.start_soon(receive, sub, scope)
            await trio.testing.wait_all_tasks_blocked()
        for scope in scopes[:3]:
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        server.publish("a", b"1")
        await trio.testing.wait_all_tasks_blocked()
        assert got == [b"1"]


async def test_a_flood_starves_no_other_task_and_notices_cancellation(autojump_clock: MockClock) -> None:
    """2,048 buffered receives: a schedule point at least every 1,024, cancellation noticed within 64."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        for _ in range(8_192):
            server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert sub.pending_messages == 8_192
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await trio.lowlevel.checkpoint()
            steps, turns = Steps(), 0
            for _ in range(2_048):
                await sub.receive()
            assert steps.count >= 2  # a schedule point every 1,024
            assert turns >= 1
            for take in (take_one, take_next, take_batch):
                calls = 0
                with trio.CancelScope() as scope:
                    scope.cancel()
                    while True:
                        await take(sub)
                        calls += 1
                assert calls <= 64, take.__name__
            nursery.cancel_scope.cancel()


async def test_a_flood_yields_every_2_ms(autojump_clock: MockClock) -> None:
    """Where handling takes long and has no checkpoint, a buffered receive yields each time it looks (every 64)."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        for _ in range(640):
            server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        steps = Steps()
        for _ in range(640):
            await sub.receive()
            autojump_clock.jump(0.0005)  # what handling it takes
        assert steps.count >= 10


async def test_async_for_ends_cleanly_and_only_cleanly(autojump_clock: MockClock) -> None:
    """EndOfChannel after unsubscribe, drain and the maximum; each pending message comes first."""

    async def unsubscribe(sub: Subscription) -> None:
        await sub.unsubscribe()

    async def drain(sub: Subscription) -> None:
        await sub.drain()

    async def drain_client(sub: Subscription) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sub._client.drain)
            await trio.testing.wait_all_tasks_blocked()

    for end in (unsubscribe, drain, drain_client):
        server = ToyServer()
        async with opened(server) as nc, nc.subscribe("a") as sub:
            await sub.confirmed()
            for number in range(5):
                server.publish("a", b"%d" % number)
            await trio.testing.wait_all_tasks_blocked()
            await end(sub)
            assert [int(message.payload) async for message in sub] == [0, 1, 2, 3, 4], end.__name__
            with pytest.raises(trio.EndOfChannel):
                await sub.receive()
            with pytest.raises(trio.EndOfChannel):
                await sub.receive_batch()


async def test_a_lost_link_is_no_end(autojump_clock: MockClock) -> None:
    """Losing the link wakes no receiver; after the reconnect messages come as if nothing had happened."""
    server = ToyServer()
    got: list[bytes] = []
    async with opened(server) as nc, nc.subscribe("a") as sub, trio.open_nursery() as nursery:

        async def consume() -> None:
            async for message in sub:
                got.append(message.payload)

        nursery.start_soon(consume)
        await sub.confirmed()
        server.publish("a", b"1")
        server.go_down()
        await trio.sleep(100)
        assert got == [b"1"]
        server.come_up()
        await trio.sleep(10)
        server.publish("a", b"2")
        await trio.testing.wait_all_tasks_blocked()
        await sub.drain()
    assert got == [b"1", b"2"]


async def test_receivers_are_told_when_the_subscription_is_left(autojump_clock: MockClock) -> None:
    """Leaving a subscription wakes its receivers with ClosedResourceError; what was pending is counted."""
    server = ToyServer()
    errors: list[BaseException] = []

    async def consume(sub: Subscription, take: Take) -> None:
        try:
            await take(sub)
        except trio.ClosedResourceError as error:
            errors.append(error)

    async with opened(server) as nc, trio.open_nursery() as nursery:
        async with nc.subscribe("a") as sub, nc.subscribe("b") as other:
            for take in (take_one, take_next, take_batch):
                nursery.start_soon(consume, sub, take)
            await other.confirmed()
            server.publish("b", b"12345")
            await trio.testing.wait_all_tasks_blocked()
        assert (other.discarded, other.pending_messages, other.pending_bytes) == (1, 0, 0)
    assert len(errors) == 3


@pytest.mark.parametrize("how", ["exception", "cancel"])
async def test_a_client_closed_at_once_is_no_clean_end(how: str, autojump_clock: MockClock) -> None:
    """Leaving `open_client` by an exception tells receivers ClientClosedError behind what is pending."""
    server = ToyServer()
    ends: list[object] = []

    async def consume(sub: Subscription) -> None:
        try:
            async for message in sub:
                ends.append(message.payload)
                await trio.sleep(1)
        except ClientClosedError as error:
            ends.append(type(error))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            try:
                async with open_client(server.url, dialer=MemoryDialer(server)) as nc:
                    sub = await nc.subscribe("a").__aenter__()
                    nursery.start_soon(consume, sub)
                    await sub.confirmed()
                    server.publish("a", b"1")
                    server.publish("a", b"2")
                    await trio.testing.wait_all_tasks_blocked()
                    if how == "exception":
                        raise KeyError("mine")
                    scope.cancel()
                    await trio.sleep_forever()
            except KeyError:
                pass
    assert ends == [b"1", b"2", ClientClosedError]


async def test_a_refused_subscription_raises_in_its_consumer(autojump_clock: MockClock) -> None:
    """A permission error ends the subscription it names, and no other; `confirmed` raises it too."""
    server = ToyServer()
    server.denied_subscribe.add(b"no.>")

    async def expect_refusal(nc: Client, queue_group: str | None) -> None:
        async with nc.subscribe("no.thing", queue_group=queue_group) as sub:
            with pytest.raises(PermissionsError) as caught:
                await sub.receive()
            assert (caught.value.subject, caught.value.queue_group) == ("no.thing", queue_group)
            with pytest.raises(PermissionsError):
                await sub.confirmed()
            with pytest.raises(PermissionsError):
                async for _ in sub:
                    pass

    async with opened(server) as nc, nc.subscribe("yes") as other:
        await expect_refusal(nc, None)
        await expect_refusal(nc, "group")
        await nc.publish("yes", b"1")
        assert (await other.receive()).payload == b"1"
        assert nc.stats().subscribe_failures["permission"] == 2
    assert server.operations("UNSUB") == [("UNSUB", "1")]  # what the server refused it is not asked to end

"""Subscriptions at a server: how many messages they get, when they end, what the server knows of them later."""

from __future__ import annotations

import trio

from beamline_trio import Message, Outcome

from ._server import Connect, ContractServer, settle, take, take_all

# ------------------------------------------------------------------------------------------ auto-unsubscribe


async def test_a_subscription_ends_after_exactly_its_maximum(connect: Connect) -> None:
    """`max_messages=n` gives exactly n messages and a clean end, and the server sends no more than that."""
    async with connect() as receiver, connect() as sender, receiver.subscribe("a", max_messages=3) as sub:
        await sub.confirmed()
        for number in range(10):
            await sender.publish("a", b"%d" % number)
        assert [message.payload for message in await take_all(sub)] == [b"0", b"1", b"2"]
        await settle(sender, receiver)
        assert (sub.delivered, receiver.stats().messages_in, receiver.stats().subscriptions) == (3, 3, 0)


async def test_unsubscribe_after_counts_from_the_beginning(connect: Connect) -> None:
    """`unsubscribe(after=n)` counts the messages that came already; at or below what came it ends at once."""
    async with connect() as nc, nc.subscribe("a") as late, nc.subscribe("a") as spent:
        for number in range(4):
            await nc.publish("a", b"%d" % number)
        await settle(nc)
        await late.unsubscribe(after=6)
        await spent.unsubscribe(after=2)
        for number in range(4, 10):
            await nc.publish("a", b"%d" % number)
        assert [message.payload for message in await take_all(late)] == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert [message.payload for message in await take_all(spent)] == [b"0", b"1", b"2", b"3"]


async def test_a_maximum_holds_over_a_reconnect(connect: Connect, server: ContractServer) -> None:
    """After a reconnect only what is missing is asked for: n messages in all, from both servers together."""
    async with connect() as receiver, receiver.subscribe("a", max_messages=5) as sub:
        async with connect() as sender:
            await settle(receiver)
            for number in range(2):
                await sender.publish("a", b"%d" % number)
            assert len(await take(sub, 2)) == 2
        server.kill()
        await server.start()
        await settle(receiver)
        async with connect() as sender:
            for number in range(2, 12):
                await sender.publish("a", b"%d" % number)
            await settle(sender, receiver)
        assert [message.payload for message in await take_all(sub)] == [b"2", b"3", b"4"]
        assert receiver.stats().messages_in == 5  # the server sent no more than that


async def test_an_ended_subscription_is_not_replayed(connect: Connect, server: ContractServer) -> None:
    """A subscription that had all its messages, or was left, is unknown to the next server."""
    async with connect() as receiver:
        async with receiver.subscribe("left"), receiver.subscribe("spent", max_messages=1) as spent:
            await receiver.publish("spent", b"only")
            assert [message.payload for message in await take_all(spent)] == [b"only"]
        server.kill()
        await server.start()
        await settle(receiver)
        async with connect() as sender:
            await sender.publish("left")
            await sender.publish("spent")
            await settle(sender, receiver)
        assert receiver.stats().unroutable == 0
        assert receiver.stats().messages_in == 1


async def test_what_was_sent_before_unsubscribe_can_be_received(connect: Connect) -> None:
    """After `unsubscribe()` nothing more comes, and what had come is received before the clean end."""
    async with connect() as nc, nc.subscribe("a") as sub:
        await nc.publish("a", b"1")
        await settle(nc)
        await sub.unsubscribe()
        await nc.publish("a", b"2")
        await settle(nc)
        assert [message.payload for message in await take_all(sub)] == [b"1"]


async def test_drain_of_a_subscription_gets_what_is_on_its_way(connect: Connect) -> None:
    """`sub.drain()` returns when nothing more can come; what was published before it is all there, then a clean end."""
    count = 2_000
    async with connect() as receiver, connect() as sender, receiver.subscribe("a") as sub:
        await sub.confirmed()
        for number in range(count):
            await sender.publish("a", b"%d" % number)
        await sender.flush()
        await sub.drain()
        await sender.publish("a", b"late")
        await settle(sender, receiver)
        assert [int(message.payload) for message in await take_all(sub)] == list(range(count))


# ------------------------------------------------------------------------------------------------------ many


async def test_a_thousand_subscriptions_get_their_own_messages(connect: Connect) -> None:
    """1,000 subscriptions of one client: each gets exactly what is for it."""
    count = 1_000
    got: dict[str, list[str]] = {}

    async with connect() as receiver, connect() as sender, trio.open_nursery() as nursery:

        async def collect(subject: str, task_status: trio.TaskStatus[None]) -> None:
            async with receiver.subscribe(subject) as sub:
                task_status.started()
                got[subject] = [message.payload.decode() for message in await take(sub, 2)]

        subjects = [f"many.{number}" for number in range(count)]
        for subject in subjects:
            await nursery.start(collect, subject)
        await receiver.flush()
        assert receiver.stats().subscriptions == count
        for suffix in "xy":
            for subject in subjects:
                await sender.publish(subject, f"{subject}{suffix}".encode())
    assert got == {subject: [f"{subject}x", f"{subject}y"] for subject in subjects}


async def test_a_callback_may_end_its_own_subscription(connect: Connect) -> None:
    """A callback that closes its subscription is not called again, although more messages have come already."""
    got: list[bytes] = []
    async with connect() as nc:

        def note(message: Message) -> None:
            got.append(message.payload)
            if len(got) == 3:
                sub.close()

        async with nc.subscribe("a", callback=note) as sub:
            for number in range(10):
                await nc.publish("a", b"%d" % number)
            await settle(nc)
        assert got == [b"0", b"1", b"2"]


async def test_a_callback_gets_every_message_in_order(connect: Connect) -> None:
    """A callback is called with each message, in order, and the first exception it raises ends nothing."""
    got: list[int] = []

    def note(message: Message) -> None:
        got.append(int(message.payload))
        if len(got) == 1:
            raise LookupError("the callback's own matter")

    async with connect() as nc, nc.subscribe("a", callback=note):
        for number in range(1_000):
            assert await nc.publish("a", b"%d" % number) is Outcome.SENT
        await settle(nc)
        assert got == list(range(1_000))
        assert nc.stats().callback_errors == 1

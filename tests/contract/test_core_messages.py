"""Messages through a server: whom they reach, and that every byte of them does."""

from __future__ import annotations

import pytest
import trio

from ._server import Connect, settle, take

MEBIBYTE = 1024 * 1024


# -------------------------------------------------------------------------------------------------- subjects


async def test_a_message_reaches_every_pattern_that_matches_it(connect: Connect) -> None:
    """`*` takes exactly one token, a last `>` one or more, and a literal only itself; each subscription gets a copy."""
    published = ["a", "a.b", "a.c", "a.b.c", "b.b", "a.b.c.d"]
    expected = {
        "a.b": ["a.b"],
        "a.*": ["a.b", "a.c"],
        "a.>": ["a.b", "a.c", "a.b.c", "a.b.c.d"],
        "*.b": ["a.b", "b.b"],
        "*.*.c": ["a.b.c"],
        "*": ["a"],
        ">": published,
    }
    async with connect() as receiver, connect() as sender:
        async with trio.open_nursery() as nursery:
            got: dict[str, list[str]] = {}

            async def collect(pattern: str, task_status: trio.TaskStatus[None]) -> None:
                async with receiver.subscribe(pattern) as sub:
                    await sub.confirmed()
                    task_status.started()
                    got[pattern] = [message.subject for message in await take(sub, len(expected[pattern]))]
                    await settle(sender, receiver)
                    assert sub.pending_messages == 0

            for pattern in expected:
                await nursery.start(collect, pattern)
            for subject in published:
                await sender.publish(subject)
        assert got == expected


async def test_tokens_may_look_like_wildcards_or_anything_else(connect: Connect) -> None:
    """`*` and `>` inside a token are plain characters, and a subject may have any other text, also beyond ASCII."""
    subjects = ["a.b*c", "a.>x", "a.x>", "$odd.\"'{}", "größe.ключ.鍵", "a-b_c/d=e", "x" * 3000]
    async with connect() as nc:
        for subject in subjects:
            async with nc.subscribe(subject) as sub:
                await nc.publish(subject, subject.encode())
                (message,) = await take(sub, 1)
                assert (message.subject, message.payload) == (subject, subject.encode())
                assert message.subject_bytes == subject.encode()
        assert nc.stats().server_errors == 0


async def test_a_message_keeps_its_reply_subject(connect: Connect) -> None:
    """The reply subject arrives as it was given; without one `reply` is None."""
    async with connect() as nc, nc.subscribe("a") as sub:
        await nc.publish("a", reply="answers.here")
        await nc.publish("a")
        assert [message.reply for message in await take(sub, 2)] == ["answers.here", None]


async def test_messages_of_one_sender_arrive_in_order(connect: Connect) -> None:
    """What one client publishes arrives in the order in which it published, also over several subjects."""
    count = 5_000
    async with connect() as receiver, connect() as sender, receiver.subscribe("n.*") as sub:
        await sub.confirmed()
        for number in range(count):
            await sender.publish(f"n.{number % 7}", b"%d" % number)
        assert [int(message.payload) for message in await take(sub, count)] == list(range(count))


async def test_without_echo_a_client_does_not_hear_itself(connect: Connect) -> None:
    """With `echo=False` a client's own messages go to all other clients and not to itself."""
    async with (
        connect(echo=False) as silent,
        connect() as other,
        silent.subscribe("a") as own,
        other.subscribe("a") as others,
    ):
        await settle(silent, other)
        await silent.publish("a", b"from silent", confirm=True)
        await other.publish("a", b"from other")
        assert [m.payload for m in await take(others, 2)] == [b"from silent", b"from other"]
        await settle(silent, other)
        assert [m.payload for m in await take(own, 1)] == [b"from other"]
        assert own.pending_messages == 0


# -------------------------------------------------------------------------------------------------- payloads


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\r\n",
        b"\r\n" * 500,
        b"PING\r\n",
        b"-ERR 'Authorization Violation'\r\n",
        b"MSG a 1 3\r\nabc\r\n",
        b"\r\nMSG a 1 0\r\n\r\nPONG\r\nINFO {}\r\n",
        b"NATS/1.0 503\r\n\r\n",
        bytes(range(256)) * 3,
        b"\x00",
    ],
    ids=repr,
)
async def test_a_payload_is_bytes_and_nothing_else(connect: Connect, payload: bytes) -> None:
    """Whatever a payload looks like, it arrives as it was sent, also between its like, and nothing else happens."""
    async with connect() as nc, nc.subscribe("a") as sub:
        for _ in range(3):
            await nc.publish("a", payload)
        await nc.publish("a", payload, headers={"Kind": "odd"})
        await nc.publish("a", b"last")
        assert [message.payload for message in await take(sub, 5)] == [payload] * 4 + [b"last"]
        stats = nc.stats()
        assert (stats.server_errors, stats.malformed, stats.unroutable, stats.lost) == (0, 0, 0, 0)


async def test_payloads_of_a_mebibyte_arrive_whole(connect: Connect) -> None:
    """Payloads as large as the server takes arrive byte for byte, with headers taken off the limit."""
    bodies = [bytes([number]) * MEBIBYTE for number in range(8)]
    header = {"Name": "value"}
    with_header = b"x" * (MEBIBYTE - len(b"NATS/1.0\r\nName: value\r\n\r\n"))
    async with connect() as receiver, connect() as sender, receiver.subscribe("big") as sub:
        await sub.confirmed()
        for body in bodies:
            await sender.publish("big", body)
        await sender.publish("big", with_header, headers=header)
        messages = await take(sub, len(bodies) + 1)
        assert [m.payload for m in messages] == [*bodies, with_header]
        assert messages[-1].headers["Name"] == "value"


async def test_any_bytes_like_payload_is_copied(connect: Connect) -> None:
    """bytes, bytearray and memoryview are taken, and changing them after `publish` changes nothing."""
    buffer = bytearray(b"before")
    async with connect() as nc, nc.subscribe("a") as sub:
        await nc.publish("a", buffer)
        await nc.publish("a", memoryview(buffer)[:3])
        buffer[:] = b"AFTER!"
        assert [message.payload for message in await take(sub, 2)] == [b"before", b"bef"]


# --------------------------------------------------------------------------------------------------- headers


async def test_headers_keep_order_case_and_every_value(connect: Connect) -> None:
    """Headers arrive with all values of a name, in order and in the case they were given; look-up takes any case."""
    pairs = [("Trace-Id", "a"), ("x-OTHER", "1"), ("Trace-Id", "b"), ("trace-id", "c"), ("Empty", ""), ("Colon", "a:b")]
    async with connect() as receiver, connect() as sender, receiver.subscribe("a") as sub:
        await sub.confirmed()
        await sender.publish("a", b"body", headers=pairs)
        await sender.publish("a", b"", headers={"Any": "größe ✓"})
        await sender.publish("a", b"bare")
        first, second, third = await take(sub, 3)
        assert first.headers.items() == pairs
        assert first.headers["TRACE-ID"] == "a"
        assert first.headers.get_all("trace-ID") == ["a", "b", "c"]
        assert first.headers.status is None
        assert (second.payload, second.headers.items()) == (b"", [("Any", "größe ✓")])
        assert (third.payload, third.headers.items()) == (b"bare", [])

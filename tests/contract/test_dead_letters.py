"""Dead letters are listed and replayed the same on both servers, and none is lost on the way."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from beamline_trio import JetStream, StreamConfig, StreamNotFoundError, open_client
from beamline_trio.faults import FaultDialer, OperationFault, close_connection, error, timeout
from beamline_trio.operation.dead_letters import (
    DeadLetterPlaceError,
    DeadLetterRecord,
    LetterFilter,
    Replayed,
    ReplayResult,
    find_place,
    next_letter,
    replay_letters,
)
from beamline_trio.testing import EitherServer

pytestmark = pytest.mark.nats_config(jetstream=True)
LIMIT_SECONDS = 15.0


@attrs.frozen
class Rig:
    js: JetStream
    faults: FaultDialer
    results: list[ReplayResult] = attrs.field(factory=list)

    async def dies(self, number: int, route: str = "bill", cause: str = "handler_error") -> None:
        """A message was given up by a router."""
        headers = {
            "Beamline-Original-Nats-Msg-Id": f"m{number}",
            "Beamline-Cause": cause,
            "Beamline-Route": route,
            "Beamline-Subject": f"orders.{number}",
            "Tenant": "t",
        }
        await self.js.publish("dlq.orders", b"m%d" % number, headers=headers, message_id=f"ORDERS:{number}:{route}:dlq")

    async def letters(self, wanted: LetterFilter = LetterFilter()) -> list[DeadLetterRecord]:  # noqa: B008
        place = await find_place(self.js, "DLQ")
        found: list[DeadLetterRecord] = []
        while (letter := await next_letter(self.js, place, found[-1].sequence if found else 0, wanted)) is not None:
            found.append(letter)
        return found

    async def left(self) -> list[bytes]:
        return [letter.message.payload for letter in await self.letters()]

    async def orders(self) -> list[tuple[str, bytes, str | None]]:
        state = (await self.js.stream_info("ORDERS")).state
        stored = [await self.js.get_message("ORDERS", sequence=n + 1) for n in range(state.last_seq)]
        return [(one.subject, one.payload, one.headers.get("Nats-Msg-Id")) for one in stored]

    def became(self) -> list[Replayed]:
        return [result.became for result in self.results]


@asynccontextmanager
async def rig(nats: EitherServer, retention: str = "limits") -> AsyncGenerator[Rig]:
    faults = FaultDialer(nats.dialer())
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client(nats.url, dialer=faults, operation_timeout_seconds=0.5) as nc:
            js = JetStream(nc)
            await js.create_stream(StreamConfig(name="ORDERS", subjects=("orders.>",)))
            await js.create_stream(
                StreamConfig(name="DLQ", subjects=("dlq.>",), retention=retention)  # type: ignore[arg-type]
            )
            yield Rig(js, faults)


@pytest.mark.parametrize("retention", ["limits", "workqueue"])
async def test_letters_are_read_in_order_and_stay(nats: EitherServer, retention: str) -> None:
    """Whatever the stream's retention, looking at letters changes nothing, and filters leave the others out."""
    async with rig(nats, retention) as one:
        await one.dies(1)
        await one.dies(2, cause="processing_timeout")
        await one.dies(3, route="ship")
        for _ in range(2):
            assert await one.left() == [b"m1", b"m2", b"m3"]
        assert [letter.sequence for letter in await one.letters(LetterFilter(route="bill"))] == [1, 2]
        assert [letter.sequence for letter in await one.letters(LetterFilter(cause="timeout"))] == [2]


async def test_replayed_letters_are_stored_again_and_leave(nats: EitherServer) -> None:
    """Each goes to the subject that it came by, under a fresh id, and only then leaves the dead letters."""
    async with rig(nats) as one:
        await one.js.publish("orders.1", b"m1", message_id="m1")
        await one.dies(1)
        await one.dies(2)
        place = await find_place(one.js, "dlq.orders")
        report = await replay_letters(one.js, place, on_result=one.results.append)
        assert (report.complete, report.counts[Replayed.REPLAYED]) == (True, 2)
        assert await one.left() == []
        # The first try's id is in the duplicate window still, and does not swallow the replay.
        assert await one.orders() == [
            ("orders.1", b"m1", "m1"),
            ("orders.1", b"m1", "m1.replay.1"),
            ("orders.2", b"m2", "m2.replay.1"),
        ]


async def test_a_dry_run_changes_nothing(nats: EitherServer) -> None:
    """It says what would go where, and nothing is stored or removed."""
    async with rig(nats) as one:
        await one.dies(1)
        report = await replay_letters(
            one.js, await find_place(one.js, "DLQ"), dry_run=True, on_result=one.results.append
        )
        assert one.became() == [Replayed.WOULD_REPLAY]
        assert (one.results[0].subject, one.results[0].message_id) == ("orders.1", "m1.replay.1")
        assert report.complete
        assert (await one.left(), await one.orders()) == ([b"m1"], [])


async def test_limit_filter_and_another_subject(nats: EitherServer) -> None:
    """At most so many of those that are meant; the others stay where they are."""
    async with rig(nats) as one:
        for number in range(1, 6):
            await one.dies(number, route="ship" if number == 1 else "bill")
        place = await find_place(one.js, "DLQ")
        await replay_letters(one.js, place, LetterFilter(route="bill"), limit=2, subject="orders.again")
        assert await one.left() == [b"m1", b"m4", b"m5"]
        assert [(subject, payload) for subject, payload, _ in await one.orders()] == [
            ("orders.again", b"m2"),
            ("orders.again", b"m3"),
        ]
        with pytest.raises(ValueError, match="limit is 0"):
            await replay_letters(one.js, place, limit=0)


async def test_what_dies_again_meanwhile_is_not_replayed_twice(nats: EitherServer) -> None:
    """A replay ends at the last letter that was there when it began, also when each comes back at once."""
    async with rig(nats) as one:
        await one.dies(1)
        place = await find_place(one.js, "DLQ")
        await one.dies(2)
        report = await replay_letters(one.js, place)
        assert report.counts[Replayed.REPLAYED] == 1
        assert await one.left() == [b"m2"]
        # Also when the last one is gone by then, and the next that is found came later.
        place = await find_place(one.js, "DLQ")
        await one.js.delete_message("DLQ", 2)
        await one.dies(3)
        assert (await replay_letters(one.js, place)).counts[Replayed.REPLAYED] == 0
        assert await one.left() == [b"m3"]


@pytest.mark.parametrize("fault", [error(), timeout(seconds=30)], ids=["refused", "unanswered"])
async def test_what_is_not_confirmed_stays(nats: EitherServer, fault: OperationFault) -> None:
    """No PubAck, no removal; the next letters are tried all the same, and a second replay stores no double."""
    async with rig(nats) as one:
        for number in (1, 2):
            await one.dies(number)
        place = await find_place(one.js, "DLQ")
        with one.faults.inject("publish_with_ack", fault, subjects="orders.1"):
            report = await replay_letters(one.js, place, on_result=one.results.append)
        assert one.became() == [Replayed.FAILED, Replayed.REPLAYED]
        assert not report.complete
        assert await one.left() == [b"m1"]
        assert (await replay_letters(one.js, place)).complete
        assert await one.left() == []
        ids = sorted(str(message_id) for _, _, message_id in await one.orders())
        assert ids == ["m1.replay.1", "m2.replay.1"]


async def test_a_letter_that_was_stored_and_not_removed(nats: EitherServer) -> None:
    """A crash between the two steps: the second replay has the same id, is a duplicate, and removes the letter."""
    async with rig(nats) as one:
        await one.dies(1)
        await one.js.publish("orders.1", b"m1", message_id="m1.replay.1")
        report = await replay_letters(one.js, await find_place(one.js, "DLQ"), on_result=one.results.append)
        assert (report.complete, one.results[0].duplicate) == (True, True)
        assert (len(await one.orders()), await one.left()) == (1, [])


async def test_a_lost_connection_ends_it(nats: EitherServer) -> None:
    """The link dies under a letter: its fate is unknown, it stays, and the replay says that it stopped."""
    async with rig(nats) as one:
        await one.dies(1)
        await one.dies(2)
        place = await find_place(one.js, "DLQ")
        with one.faults.inject("publish_with_ack", close_connection(), subjects="orders.1"):
            report = await replay_letters(one.js, place, on_result=one.results.append)
        assert one.became() == [Replayed.FAILED]
        assert report.stopped_by is one.results[0].error is not None
        assert not report.complete
        assert await one.left() == [b"m1", b"m2"]


async def test_what_cannot_be_replayed(nats: EitherServer) -> None:
    """No router wrote it; no stream takes its subject; its stream takes no deletes: each is told, and each stays."""
    async with rig(nats) as one:
        await one.js.publish("dlq.other", b"foreign")
        await one.js.publish("dlq.other", b"lost", headers={"Beamline-Subject": "nowhere.1"})
        await one.js.publish("dlq.other", b"bad", headers={"Beamline-Subject": "two words"})
        report = await replay_letters(one.js, await find_place(one.js, "DLQ"), on_result=one.results.append)
        assert one.became() == [Replayed.NOT_A_DEAD_LETTER, Replayed.FAILED, Replayed.FAILED]
        assert not report.complete
        assert await one.left() == [b"foreign", b"lost", b"bad"]
        await one.js.create_stream(StreamConfig(name="KEEP", subjects=("keep",), deny_delete=True))
        await one.js.publish("keep", b"m", headers={"Beamline-Subject": "orders.9"})
        one.results.clear()
        report = await replay_letters(one.js, await find_place(one.js, "KEEP"), on_result=one.results.append)
        assert (one.became(), report.complete) == ([Replayed.KEPT], False)


async def test_finding_the_place(nats: EitherServer) -> None:
    """A name is a stream's, a subject that of one stream; anything else says what is there."""
    async with rig(nats) as one:
        assert (await find_place(one.js, "dlq.orders")).stream == "DLQ"
        assert (await find_place(one.js, "dlq.*")).subject == "dlq.*"
        with pytest.raises(DeadLetterPlaceError, match="no stream has it"):
            await find_place(one.js, "dead.orders")
        with pytest.raises(DeadLetterPlaceError, match="2 streams have it: DLQ, ORDERS"):
            await find_place(one.js, "*.orders")
        with pytest.raises(StreamNotFoundError):
            await find_place(one.js, "NONE")
        empty = await find_place(one.js, "DLQ")
        assert await next_letter(one.js, empty, 0, LetterFilter()) is None

"""The cells of a nak: nobody waits for it, so that its fate shows in when the message comes again."""

from __future__ import annotations

import random

import trio

from beamline_trio import State
from beamline_trio.faults import close_connection, delay, error, intermittent, timeout
from tests.faults._proof import LOST, RESTORED, Stage, until
from tests.faults._stream_proof import ACK_WAIT_SECONDS, proving_consumer

NAK_ERROR = "NATS_NAK_ERROR"
SOON_SECONDS = 0.5


async def nak_error(stage: Stage) -> None:
    """Refused: counted and told by the log; the message comes again, but only when its ack wait is over."""
    async with proving_consumer(stage) as proof:
        message = await proof.give(b"refused")
        began = trio.current_time()
        with stage.faults.inject("nak", error()) as injection:
            await message.nak()
            await proof.nc.flush()
            assert injection.hits == 1
        again = await proof.again(b"refused")
        assert trio.current_time() - began >= ACK_WAIT_SECONDS * 0.9
        await again.ack_sync()
        assert proof.nc.state is State.CONNECTED
        proof.shows(
            {"js.nak_failures.permission": 1, "server_errors": 1, "js.redeliveries.nak_error": 1}, {NAK_ERROR: 1}
        )


async def nak_timeout(stage: Stage) -> None:
    """No answer: it shows only as the redelivery, which is as late as the answer."""
    async with proving_consumer(stage) as proof:
        message = await proof.give(b"sent back")
        began = trio.current_time()
        with stage.faults.inject("nak", timeout(SOON_SECONDS)) as injection:
            await message.nak()
            again = await proof.again(b"sent back")
            assert trio.current_time() - began < ACK_WAIT_SECONDS * 0.9
            assert injection.hits == 1
        await again.ack_sync()
        assert await proof.unacked() == 0
        proof.shows()


async def nak_close(stage: Stage) -> None:
    """The link breaks: a nak is not sent again; the message comes at once where it had arrived, else after its wait."""
    async with proving_consumer(stage) as proof:
        for after in (False, True):
            payload = b"after" if after else b"before"
            message = await proof.give(payload)
            began = trio.current_time()
            with stage.faults.inject("nak", close_connection(after=after)) as injection:
                await message.nak()
                await until(lambda: proof.moved("lost") == 1)
                await proof.connected()
                assert injection.hits == 1
            again = await proof.again(payload)
            assert (trio.current_time() - began < ACK_WAIT_SECONDS * 0.9) is after
            await again.ack_sync()
            proof.shows(
                {"lost": 1, "restored": 1, "js.nak_failures.disconnected": 1, "js.redeliveries.nats_disconnect": 1},
                {LOST: 1, RESTORED: 1, NAK_ERROR: 1},
            )


async def nak_delay(stage: Stage) -> None:
    """Late: the message comes again later by as much."""
    async with proving_consumer(stage) as proof:
        message = await proof.give(b"sent back")
        began = trio.current_time()
        with stage.faults.inject("nak", delay(SOON_SECONDS)) as injection:
            await message.nak()
            again = await proof.again(b"sent back")
            assert SOON_SECONDS <= trio.current_time() - began < ACK_WAIT_SECONDS * 0.9
            assert injection.hits == 1
        await again.ack_sync()
        proof.shows()


async def nak_intermittent(stage: Stage) -> None:
    """Some are refused: exactly these messages come late, the others at once."""
    chance = random.Random(3)
    async with proving_consumer(stage) as proof:
        refused: list[bytes] = []
        with stage.faults.inject("nak", intermittent(error(), 0.4, random.Random(3))) as injection:
            for number in range(12):
                message = await proof.give(b"%d" % number)
                await message.nak()
                if chance.random() < 0.4:
                    refused.append(b"%d" % number)
                else:
                    await (await proof.again(b"%d" % number)).ack_sync()
            await proof.nc.flush()
            assert injection.hits == len(refused) > 2
        for payload in refused:
            await (await proof.again(payload)).ack_sync()
        assert await proof.unacked() == 0
        proof.shows(
            {
                "js.nak_failures.permission": len(refused),
                "server_errors": len(refused),
                "js.redeliveries.nak_error": len(refused),
            },
            {NAK_ERROR: len(refused)},
        )

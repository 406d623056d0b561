"""A router between two real streams, in a process of its own: killed, drained, overloaded, and without its target.

`BEAMLINE_ROUTER_KILLS_SECONDS` and `BEAMLINE_ROUTER_OUTAGE_SECONDS` make the runs longer; each prints what it counted.
"""

from __future__ import annotations

import os
import random

import pytest
import trio

from ._pipe import AWAY, TARGET, Pipe, Program, open_pipe
from ._program import DEADLINE_SECONDS, POISON

KILLS_SECONDS = float(os.environ.get("BEAMLINE_ROUTER_KILLS_SECONDS", "20"))
OUTAGE_SECONDS = float(os.environ.get("BEAMLINE_ROUTER_OUTAGE_SECONDS", "10"))
KILL_EVERY_SECONDS = 5.0
OUTAGE_WORKERS = 8
WORKED_OFF_SECONDS = 120.0
# Of a process that has been at work for a while already.
GROWTH_BYTES_MAX = 8 << 20
SEED = 1


@pytest.mark.timeout(KILLS_SECONDS + 2 * WORKED_OFF_SECONDS)
async def test_a_router_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() -> None:
    """SIGKILL every 5 s: everything in A is in B once, though much of it was delivered again."""
    chance = random.Random(SEED)
    kills = 0
    async with open_pipe() as pipe, trio.open_nursery() as nursery:
        nursery.start_soon(pipe.publish, 200.0, KILLS_SECONDS)
        kill_at = began = trio.current_time()
        while kill_at < began + KILLS_SECONDS:
            kill_at += KILL_EVERY_SECONDS + chance.uniform(-0.2, 0.2)
            async with pipe.program(handler_seconds=0.05) as program:
                await trio.sleep_until(kill_at)
                program.kill()
                kills += 1
        async with pipe.program(handler_seconds=0.05):
            await pipe.worked_off(WORKED_OFF_SECONDS)
        counts = await pipe.count()
        redelivered = await pipe.redelivered()
    print(f"\nkilled {kills} times in {KILLS_SECONDS:g} s (seed {SEED}): {counts}, redelivered {redelivered}")
    assert (counts["missing"], counts["twice"]) == (0, 0)
    assert redelivered > 0


@pytest.mark.timeout(OUTAGE_SECONDS + 2 * WORKED_OFF_SECONDS)
async def test_a_router_whose_target_is_down_stops_its_intake_and_resumes() -> None:
    """No stream takes what it publishes: it takes no more, holds no more memory, and later loses nothing."""
    async with open_pipe() as pipe, pipe.program(concurrency=OUTAGE_WORKERS) as program:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipe.publish, 200.0, OUTAGE_SECONDS + 6.0)
            await trio.sleep(3.0)
            await pipe.jetstream.update_stream(AWAY)
            await trio.sleep(2.0)  # what was in hand has failed once
            before = program.lines[-1]
            await trio.sleep(OUTAGE_SECONDS - 2.0)
            after = program.lines[-1]
            await pipe.jetstream.update_stream(TARGET)
        await pipe.worked_off(WORKED_OFF_SECONDS)
        counts = await pipe.count()
    taken, grown = after["taken"] - before["taken"], after["resident"] - before["resident"]
    print(f"\ntarget down for {OUTAGE_SECONDS:g} s: {counts}, taken meanwhile {taken}, memory {grown:+,} bytes")
    assert (counts["missing"], counts["twice"]) == (0, 0)
    # What is over its deadline goes back, and its worker takes another, to try the target by it.
    assert taken <= OUTAGE_WORKERS * (OUTAGE_SECONDS // DEADLINE_SECONDS)
    assert after["ok"] == before["ok"]
    assert grown < GROWTH_BYTES_MAX


async def test_a_message_that_kills_its_router_each_time_becomes_a_dead_letter() -> None:
    """Nobody is left to say so: the server's advisory does, which waits for the next router in a stream."""
    deliveries = 2
    async with open_pipe() as pipe:
        await pipe.jetstream.publish("a.in", POISON)
        for _ in range(deliveries):
            async with pipe.program(max_deliver=deliveries) as program:
                with trio.fail_after(WORKED_OFF_SECONDS):
                    assert await program.wait() < 0
        async with pipe.program(max_deliver=deliveries):
            with trio.fail_after(WORKED_OFF_SECONDS):
                letter = await pipe.dead_letter()
            arrived = (await pipe.jetstream.stream_info("B")).state.messages
    causes = [letter.headers[name] for name in ("Beamline-Cause", "Beamline-Sequence", "Beamline-Deliveries")]
    print(f"\na message that kills its router: dead letter {causes}")
    assert (letter.payload, arrived) == (POISON, 0)
    assert causes == ["maxdeliver_exhausted", "1", str(deliveries)]


async def test_a_router_that_is_drained_under_load_leaves_nothing_behind() -> None:
    """SIGTERM at 100 msg/s: exit code 0, nothing is lost, and nothing has to be delivered again."""
    async with open_pipe() as pipe, trio.open_nursery() as nursery:
        nursery.start_soon(pipe.publish, 100.0, 6.0)
        async with pipe.program(handler_seconds=0.1) as program:
            await trio.sleep(3.0)
            exit_code = await program.terminate()
        settled = await pipe.info()
        async with pipe.program():
            await trio.sleep(4.0)
            await pipe.worked_off(WORKED_OFF_SECONDS)
        counts, redelivered = await pipe.count(), await pipe.redelivered()
    print(f"\nSIGTERM at 100 msg/s: exit code {exit_code}, {counts}, redelivered {redelivered}")
    assert exit_code == 0
    assert settled.num_ack_pending == 0
    assert (counts["missing"], counts["twice"], redelivered) == (0, 0, 0)


async def test_a_router_with_ten_times_the_load_it_can_bear_stays_as_it_is() -> None:
    """Its memory is flat, and no more is outstanding than its consumer allows."""
    async with open_pipe() as pipe, pipe.program(handler_seconds=0.1, concurrency=4) as program:
        await pipe.publish(400.0, 3.0)
        before = program.lines[-1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipe.publish, 400.0, 7.0)
            outstanding = await _outstanding(pipe, program)
        after, info = program.lines[-1], await pipe.info()
    grown = after["resident"] - before["resident"]
    assert info.config.max_ack_pending is not None
    limit = info.config.max_ack_pending
    done = f"{after['ok']} of {pipe.published} done"
    print(f"\n400 msg/s for 40: {done}, outstanding {outstanding} of {limit}, memory {grown:+,} bytes")
    assert after["ok"] < pipe.published / 5
    assert outstanding <= limit
    assert grown < GROWTH_BYTES_MAX


async def _outstanding(pipe: Pipe, program: Program) -> int:
    """The most that was delivered and not acknowledged, over seven seconds."""
    most = 0
    for _ in range(35):
        most = max(most, (await pipe.info()).num_ack_pending)
        await trio.sleep(0.2)
    return most

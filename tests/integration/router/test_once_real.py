"""Two instances on one durable that do each key once, by a bucket of a real server: killed, cancelled, and in time.

`BEAMLINE_ROUTER_KILLS_SECONDS` makes the long run longer; it prints what it counted.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
import trio

from beamline_trio import open_client
from beamline_trio.jetstream import StreamConfig
from tests.integration.router._once import CLAIM_SECONDS, CONCURRENCY, MARK, POINTS, Death, make_router
from tests.integration.router._pipe import TARGET, Pipe, open_pipe

KILLS_SECONDS = float(os.environ.get("BEAMLINE_ROUTER_KILLS_SECONDS", "12"))
KILL_EVERY_SECONDS = 3.0
LIMIT_SECONDS = 60.0
TTL_SECONDS = 600.0
PROGRAM = "tests.integration.router._once"
COPIES = 3
SEED = 1
# The server looks for what has expired at most 1.25 s late.
LATE_SECONDS = 1.5
# B forgets a message id before anything can come again: what is there once, was sent once.
FORGETFUL = attrs.evolve(TARGET, duplicate_window_seconds=0.1)


@asynccontextmanager
async def open_pipe_with_runs(*, forgetful: bool = False) -> AsyncGenerator[Pipe]:
    """The streams A and B, and RUNS, which is told each run of a handler."""
    async with open_pipe() as pipe:
        await pipe.jetstream.create_stream(StreamConfig(name="RUNS", subjects=("runs",)))
        if forgetful:
            await pipe.jetstream.update_stream(FORGETFUL)
        yield pipe


async def put(pipe: Pipe, *payloads: bytes) -> None:
    """Messages into A, each another one to the stream, whatever it says."""
    for payload in payloads:
        await pipe.jetstream.publish("a.in", payload)
    pipe.published += len(payloads)


async def said(pipe: Pipe, stream: str) -> dict[bytes, list[float]]:
    """What the messages of a stream say -> when each that says so was stored, in seconds."""
    state = (await pipe.jetstream.stream_info(stream)).state
    found: dict[bytes, list[float]] = {}
    for sequence in range(1, state.last_seq + 1):
        message = await pipe.jetstream.get_message(stream, sequence=sequence)
        assert message.time is not None
        found.setdefault(message.payload, []).append(message.time.timestamp())
    return found


async def publish_copies(pipe: Pipe, seconds: float) -> None:
    """New keys at an even rate, each again a little later and a good while later."""
    ends, key = trio.current_time() + seconds, 0
    while trio.current_time() < ends:
        await put(pipe, *[b"%d" % copy for copy in (key, key - 5, key - 100) if copy >= 0])
        key += 1
        await trio.sleep(0.01)
    await put(pipe, *[b"%d" % copy for last in (5, 100) for copy in range(max(0, key - last), key)])


@pytest.mark.parametrize("point", POINTS)
async def test_an_instance_that_dies_at_any_point_doubles_nothing(point: str, tmp_path: Path) -> None:
    """The other one waits until the claim has lapsed, if nothing was confirmed; then the work is done, once.

    Between the effect and the confirmation nobody can know that it was done: there it is the effect's own message id.
    """
    death = (point, tmp_path / "dead")
    async with open_pipe_with_runs(forgetful=point != "confirming") as pipe:
        instances = [pipe.start(PROGRAM, 0.05, TTL_SECONDS, *death) for _ in range(2)]
        async with instances[0] as one, instances[1] as other:
            await put(pipe, *[MARK] * COPIES)  # alone: what else dies with it may be between effect and confirmation
            with trio.fail_after(LIMIT_SECONDS):
                while one.alive and other.alive:  # noqa: ASYNC110  # of two processes no event tells
                    await trio.sleep(0.05)
            await put(pipe, *[b"a", b"b"] * COPIES)
            await pipe.worked_off(LIMIT_SECONDS)
            alive = [program for program in (one, other) if program.alive]
        given, runs, arrived = await said(pipe, "A"), await said(pipe, "RUNS"), await said(pipe, "B")
    assert len(alive) == 1
    assert {payload: len(times) for payload, times in arrived.items()} == {MARK: 1, b"a": 1, b"b": 1}
    assert len(runs[MARK]) == (2 if point in ("handler", "confirming") else 1)
    waited = runs[MARK][-1] - given[MARK][0]
    assert (waited < CLAIM_SECONDS - 0.5) is (point == "confirmed"), waited


async def test_a_key_is_done_once_in_its_time() -> None:
    """Within its time to live no copy is handled, whichever of the two instances it comes to; behind it one is.

    On a busy machine the copies may take longer than that: then one more is for each time that has passed.
    """
    ttl_seconds = 3
    async with open_pipe_with_runs(forgetful=True) as pipe:
        async with pipe.start(PROGRAM, 0.0, ttl_seconds) as one, pipe.start(PROGRAM, 0.0, ttl_seconds) as other:
            began = trio.current_time()
            await put(pipe, b"a")
            await pipe.worked_off(LIMIT_SECONDS)
            await put(pipe, *[b"a"] * 20)
            await pipe.worked_off(LIMIT_SECONDS)
            first = len((await said(pipe, "B"))[b"a"])
            assert 1 <= first <= 1 + (trio.current_time() - began) // ttl_seconds
            await trio.sleep(ttl_seconds + LATE_SECONDS)
            began = trio.current_time()
            await put(pipe, *[b"a"] * 20)
            await pipe.worked_off(LIMIT_SECONDS)
            second_seconds = trio.current_time() - began
            await trio.sleep(0.5)
            taken = [program.lines[-1]["taken"] for program in (one, other)]
        handled = await said(pipe, "B")
        runs = await said(pipe, "RUNS")
    assert list(handled) == [b"a"]
    assert len(runs[b"a"]) == len(handled[b"a"])
    assert 1 <= len(handled[b"a"]) - first <= 1 + second_seconds // ttl_seconds
    assert all(later - earlier >= ttl_seconds for earlier, later in pairwise(handled[b"a"]))
    assert all(taken), taken


async def test_an_instance_that_is_cancelled_lets_its_keys_go() -> None:
    """Its messages go back and their keys are free: the other one has them at once, not when a claim lapses."""
    async with open_pipe_with_runs(forgetful=True) as pipe:
        async with open_client(pipe.url, name="one") as nc, trio.open_nursery() as nursery:
            router = make_router(nc, 0.9, TTL_SECONDS, Death())
            await nursery.start(router.run, nc)
            await put(pipe, *[b"%d" % number for number in range(CONCURRENCY)])
            while len(await said(pipe, "RUNS")) < CONCURRENCY:  # noqa: ASYNC110  # no event tells
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        began = trio.current_time()
        async with open_client(pipe.url, name="other") as nc, trio.open_nursery() as nursery:
            await nursery.start(make_router(nc, 0.0, TTL_SECONDS, Death()).run, nc)
            await pipe.worked_off(LIMIT_SECONDS)
            nursery.cancel_scope.cancel()
        took = trio.current_time() - began
        arrived = await said(pipe, "B")
    assert {len(times) for times in arrived.values()} == {1}
    assert len(arrived) == CONCURRENCY
    assert took < CLAIM_SECONDS


@pytest.mark.timeout(KILLS_SECONDS + 2 * LIMIT_SECONDS)
async def test_two_instances_one_of_which_is_killed_again_and_again_do_each_key_once() -> None:
    """Three copies of each key, SIGKILL every 3 s: each key is in B once, and only what was in hand is worked again."""
    chance = random.Random(SEED)
    kills = 0
    async with open_pipe_with_runs() as pipe, trio.open_nursery() as nursery:
        nursery.start_soon(publish_copies, pipe, KILLS_SECONDS)
        until = trio.current_time() + KILLS_SECONDS
        async with pipe.start(PROGRAM, 0.05, TTL_SECONDS) as survivor:
            while trio.current_time() < until:
                async with pipe.start(PROGRAM, 0.05, TTL_SECONDS) as killed:
                    await trio.sleep(KILL_EVERY_SECONDS + chance.uniform(-0.5, 0.5))
                    killed.kill()
                    kills += 1
            await pipe.worked_off(LIMIT_SECONDS)
            await trio.sleep(0.5)
            duplicates = survivor.lines[-1]["duplicate"]
        runs, arrived = await said(pipe, "RUNS"), await said(pipe, "B")
    again = sum(len(times) - 1 for times in runs.values())
    keys = pipe.published // COPIES
    print(f"\nkilled {kills} times (seed {SEED}): {pipe.published} messages, {keys} keys, {again} worked again")
    assert Counter(len(times) for times in arrived.values()) == {1: keys}
    assert again <= kills * CONCURRENCY
    assert duplicates > 0

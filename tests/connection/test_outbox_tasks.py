"""The outbox among tasks: a writer that waits, is woken and stalls, callers that wait and are cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from beamline_trio.connection import NEVER, Outbox, Waiter
from beamline_trio.protocol import PING, PONG, encode_publish
from tests.connection._outbox_server import Server, opened


class RefusedError(Exception):
    """What a caller gets whose publish the server refused."""


class LostError(Exception):
    """What a caller gets whose publish was written to a link that died."""


actions = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(["", "confirm", "flush"])),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.sampled_from(["run", "run", "serve", "serve", "refuse", "link"]), st.none()),
    ),
    max_size=40,
)


@given(actions)
def test_each_caller_hears_exactly_one_end(plan: list[tuple[str, Any]]) -> None:
    """Over publishes, confirmations, cancellations, refusals and lost links, in any order: each caller's wait ends once
    and in the way of its publish, cancelled ones withdraw only what was not written, and the books add up.
    """
    trio.run(_callers, plan, clock=MockClock(autojump_threshold=0))


async def _callers(plan: list[tuple[str, Any]]) -> None:
    outbox, server = opened(10_000)
    books = {"withdrawn": 0, "dropped": 0}
    ends: dict[int, list[str]] = {}
    written: dict[int, bool] = {}
    scopes: list[trio.CancelScope] = []
    read = 0

    def forget(waiter: Waiter) -> None:
        books["withdrawn"] += outbox.withdraw(waiter) and bool(waiter.frame)

    async def caller(number: int, frame: bytes) -> None:
        waiter = Waiter(frame, b"s.%d" % number, on_cancel=forget)
        with scopes[number]:
            outbox.put(frame, waiter)
            try:
                await waiter.wait()
                ends[number].append("confirmed")
            except (RefusedError, LostError) as error:
                ends[number].append(type(error).__name__)
        if scopes[number].cancelled_caught:
            ends[number].append("cancelled")
        written[number] = waiter.written

    def drop_link() -> None:
        detached = outbox.detach()
        left, lost = detached.unwritten, detached.waiters
        books["dropped"] += sum(bool(frame) for frame, _ in left)
        for waiter in [*lost, *(waiter for _, waiter in left if waiter is not None)]:
            waiter.fail(LostError())

    def serve(refuse: bool) -> None:
        """The server reads up to the next PING, refuses the last publish before it if told to, and answers."""
        nonlocal read
        rest = server.received[read:]
        if PING not in rest:
            return
        before = rest.split(PING, 1)[0]
        read += len(before) + len(PING)
        subjects = [line.split()[1] for line in before.split(b"\r\n") if line.startswith(b"PUB s.")]
        if refuse and subjects and outbox.coverage.refuse():
            for waiter in outbox.pongs.blamed(subjects[-1]):
                waiter.fail(RefusedError())
        server.pong()

    async with trio.open_nursery() as tasks, trio.open_nursery() as callers:
        tasks.start_soon(server.write)
        await wait_all_tasks_blocked()
        for kind, detail in plan:
            match kind:
                case "publish" if detail == "":
                    outbox.put(encode_publish(b"plain", b""))
                case "publish":
                    number = len(scopes)
                    scopes.append(trio.CancelScope())
                    ends[number] = []
                    frame = encode_publish(b"s.%d" % number, b"x") if detail == "confirm" else b""
                    callers.start_soon(caller, number, frame)
                    await trio.lowlevel.checkpoint()
                case "cancel" if detail < len(scopes):
                    scopes[detail].cancel()
                case "run":
                    await wait_all_tasks_blocked()
                case "serve" | "refuse":
                    serve(refuse=kind == "refuse")
                case "link":
                    drop_link()
                    read = len(server.received)
                    outbox.attach([])
                    outbox.open()
                case _:  # a cancellation of nobody
                    pass
        await wait_all_tasks_blocked()
        drop_link()
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert all(len(end) == 1 for end in ends.values())
    coverage = outbox.coverage
    ended = coverage.confirmed + coverage.failed + coverage.unknown + books["withdrawn"] + books["dropped"]
    assert outbox.accepted == ended
    assert outbox.open_operations == 0
    assert min(outbox.coverage.confirmed, outbox.coverage.failed, outbox.coverage.unknown) >= 0
    for number, (end,) in ends.items():
        assert written[number] or end in ("cancelled", "LostError")


@pytest.mark.parametrize("when", ["before it waits", "unwritten", "written"])
async def test_a_cancelled_confirmation(when: str, autojump_clock: MockClock) -> None:
    """Cancelled before the write, a confirmed publish leaves no byte; after it, its late PONG harms nobody."""
    outbox, server = opened()
    frame = encode_publish(b"a", b"x")
    waiter = Waiter(frame, b"a", on_cancel=outbox.withdraw)
    async with trio.open_nursery() as nursery:
        if when == "written":
            nursery.start_soon(server.write)
            await wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            if when == "before it waits":
                scope.cancel()
            outbox.put(frame, waiter)
            await waiter.wait()
        assert scope.cancelled_caught
        if when == "written":
            assert server.received == frame + PING
            assert outbox.withdraw(waiter) is False
            server.pong()
            assert outbox.coverage.confirmed == 1
        else:
            assert outbox.open_operations == 0
            nursery.start_soon(server.write)
            await wait_all_tasks_blocked()
            assert server.received == b""
        nursery.cancel_scope.cancel()


async def test_one_ping_serves_all_waiters(autojump_clock: MockClock) -> None:
    """Callers that wait between two writes share one PING; its PONG wakes all of them, and nobody behind it."""
    outbox, server = opened()
    server.stalled = True
    done: list[int] = []

    async def confirm(number: int) -> None:
        frame = encode_publish(b"a", b"%d" % number)
        waiter = Waiter(frame, b"a")
        outbox.put(frame, waiter)
        await waiter.wait()
        done.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(confirm, 0)
        await wait_all_tasks_blocked()
        nursery.start_soon(server.write)
        await wait_all_tasks_blocked()  # the writer has taken the first and is stalled
        for number in (1, 2, 3):
            nursery.start_soon(confirm, number)
        await wait_all_tasks_blocked()
        server.resume()
        await wait_all_tasks_blocked()
        assert [chunk.count(PING) for chunk in server.chunks] == [1, 1]
        assert server.chunks[1].endswith(PING)
        assert server.chunks[1].count(b"PUB") == 3
        server.pong()
        await wait_all_tasks_blocked()
        assert done == [0]
        server.pong()
        await wait_all_tasks_blocked()
        assert sorted(done) == [0, 1, 2, 3]
        nursery.cancel_scope.cancel()


async def test_a_stalled_writer_bounds_the_memory(autojump_clock: MockClock) -> None:
    """While the writer is stuck, publishers fill the outbox to its mark and wait, the last over it by at most its own
    frame; as the writer goes on everything leaves in order, each publish whole and once.
    """
    outbox, server = opened(1000)
    server.stalled = True
    waiting = 0
    sent: list[bytes] = []
    most = 0

    async def publisher(number: int) -> None:
        nonlocal waiting, most
        for turn in range(20):
            frame = encode_publish(b"a", b"%02d.%02d" % (number, turn) + b"x" * 50)
            while not outbox.try_room():
                waiting += 1
                await outbox.wait_room()
                waiting -= 1
            outbox.put(frame)
            sent.append(frame)
            most = max(most, sum(map(len, sent)) - len(server.received))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as tasks:
        tasks.start_soon(server.write)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as publishers:
            for number in range(10):
                publishers.start_soon(publisher, number)
            await wait_all_tasks_blocked()
            assert waiting == 10
            assert outbox.room <= 0
            server.resume()
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert server.received == b"".join(sent)
    assert len(sent) == 200 == outbox.accepted
    assert most <= 1000 + len(sent[0])


@pytest.mark.parametrize("turn", ["take", "detach", "open"])
async def test_whoever_waits_for_room_is_woken(turn: str, autojump_clock: MockClock) -> None:
    """A publisher that waits for room looks again when the writer takes, when the link dies and when one is up.

    A take wakes the one that waits longest; each passes on what it leaves, in the order in which they came.
    """
    outbox, _ = opened()
    woken: list[int] = []

    async def wait(number: int) -> None:
        await outbox.wait_room()
        woken.append(number)
        if turn == "take":
            await wait_all_tasks_blocked()
            assert woken == list(range(number + 1))
        outbox.pass_room_on()

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(wait, number)
            await wait_all_tasks_blocked()
        assert woken == []
        match turn:
            case "take":
                outbox.take()
            case "detach":
                outbox.detach()
            case _:
                outbox.open()
    assert sorted(woken) == [0, 1, 2]


async def test_an_idle_writer_is_woken_by_everything_that_is_to_be_written(autojump_clock: MockClock) -> None:
    """A publish, a control frame, a PONG and a bare waiter each start an idle writer; cancelled, it can wait again."""
    outbox, server = opened()
    with trio.move_on_after(1):
        await server.write()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.write)
        await wait_all_tasks_blocked()
        assert outbox.room <= 0  # the first publisher must look, and wake the writer
        assert outbox.try_room()
        puts: list[tuple[Callable[[], None], bytes]] = [
            (lambda: outbox.put(b"PUB a 0\r\n\r\n"), b"PUB a 0\r\n\r\n"),
            (lambda: outbox.put_control(b"SUB a 1\r\n"), b"SUB a 1\r\n"),
            (outbox.put_pong, PONG),
            (lambda: outbox.put(b"", Waiter()), PING),
        ]
        for put, wire in puts:
            put()
            assert outbox.room > 0
            await wait_all_tasks_blocked()
            assert server.chunks.pop() == wire
        nursery.cancel_scope.cancel()


async def test_a_closed_outbox_has_no_room(autojump_clock: MockClock) -> None:
    """Until it opens, and after the link died, an outbox has room for nobody, whether its writer is idle or woken."""
    outbox = Outbox(100)
    server = Server(outbox)
    outbox.attach([b"SUB a 1\r\n"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.write)
        await wait_all_tasks_blocked()
        assert not outbox.try_room()
        outbox.put(b"PUB a 0\r\n\r\n", accepted_before=True)
        assert not outbox.try_room()
        await wait_all_tasks_blocked()
        assert not outbox.try_room()
        outbox.open()
        assert outbox.try_room()
        outbox.detach()
        assert not outbox.try_room()
        assert server.received == b"SUB a 1\r\nPUB a 0\r\n\r\n"
        nursery.cancel_scope.cancel()


async def test_deadlines_count_from_the_write(autojump_clock: MockClock) -> None:
    """A waiter's time runs from the write and not from the call; only who still waits has a deadline, and a keep-alive
    has its owner's own.
    """
    outbox, server = opened()
    waiter = Waiter(b"PUB a 0\r\n\r\n", b"a")
    keepalive = Waiter(keepalive=True)

    async def wait(one: Waiter) -> None:
        await one.wait()

    async with trio.open_nursery() as nursery:
        for one in (waiter, keepalive):
            outbox.put(one.frame, one)
            nursery.start_soon(wait, one)
        await trio.sleep(10)
        assert outbox.pongs.next_deadline(5.0) == NEVER
        assert outbox.stamped_at == NEVER
        server.chunks.append(outbox.take())
        written_at = trio.current_time()
        assert outbox.stamped_at == waiter.written_at == written_at
        assert outbox.pongs.next_deadline(5.0) == written_at + 5.0
        assert outbox.pongs.overdue(written_at + 4.9, 5.0) == []
        assert outbox.pongs.overdue(written_at + 5.0, 5.0) == [waiter]
        assert outbox.pongs.blamed(b"a") == [waiter]
        assert outbox.pongs.blamed(b"b") == []
        server.pong()
        await wait_all_tasks_blocked()
        assert outbox.pongs.next_deadline(5.0) == NEVER
        assert outbox.pongs.blamed(b"a") == []


async def test_waiting_is_a_checkpoint(autojump_clock: MockClock) -> None:
    """Waiting for room, for frames that are not there and for an answer are checkpoints."""
    outbox, _ = opened()

    async def later(wake: Callable[[], object]) -> None:
        await wait_all_tasks_blocked()
        wake()

    waiter = Waiter()
    waits: list[tuple[Callable[[], Any], Callable[[], object]]] = [
        (outbox.wait_room, outbox.take),
        (outbox.wait_frames, outbox.wake),
        (waiter.wait, lambda: waiter.succeed(None)),
    ]
    for wait, wake in waits:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later, wake)
            with assert_checkpoints():
                await wait()

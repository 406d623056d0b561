"""The outbox's books: what was accepted is open, confirmed, failed, unknown, withdrawn or handed back, and never two.

The state machine plays the link and the server without any task of trio's: what the outbox writes, a server reads in
order, and it answers in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from trio.testing import MockClock

from beamline_trio.connection import Detached, Outbox, Waiter
from beamline_trio.connection._coverage import VOIDS_MAX, Coverage
from beamline_trio.protocol import PING, PONG, encode_publish

BYTES_MAX: Final = 100
T = TypeVar("T")


def inside_trio(function: Callable[[], T]) -> T:
    """The result of a synchronous call that asks trio for the time."""

    async def main() -> T:
        return function()

    return trio.run(main, clock=MockClock())


@attrs.define(eq=False)
class Publish:
    """One publish of the model and what became of it."""

    frame: bytes
    waiter: Waiter | None
    fate: str = "unwritten"
    place: int = 0


@attrs.define(eq=False)
class Ping:
    """A PING on the wire and who waits for its PONG."""

    waiters: list[Waiter]


class OutboxMachine(RuleBasedStateMachine):
    """One outbox over several links, beside a plain model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(BYTES_MAX)
        self.up = False
        self.publishes: list[Publish] = []  # everything ever accepted
        self.unwritten: list[Publish | bytes] = []  # publishes and control frames, in order
        self.bare: list[Waiter] = []  # waiters without a frame, unwritten
        self.wire: deque[Publish | Ping] = deque()  # written, and not read by the server
        self.answered: list[Publish] = []  # read by the server, no PONG behind them yet
        self.written_waiters: list[Waiter] = []
        self.link_begins = 0

    def count(self, *fates: str) -> int:
        return sum(publish.fate in fates for publish in self.publishes)

    def new_publish(self, size: int, waiter: bool) -> Publish:
        # Few sizes, so that equal frames are common: what tells them apart is which object they are.
        frame = encode_publish(b"a", bytes(bytearray(size)))
        publish = Publish(frame, Waiter(frame, b"a") if waiter else None)
        self.publishes.append(publish)
        return publish

    # Turns of the connection

    @precondition(lambda self: not self.up)
    @rule(subscriptions=st.integers(0, 2))
    def attach(self, subscriptions: int) -> None:
        """A link is up; its subscriptions go first."""
        frames = [b"SUB s %d\r\n" % n for n in range(subscriptions)]
        self.outbox.attach(iter(frames))
        self.unwritten += frames
        self.up = True

    @precondition(lambda self: self.up and not self.outbox.is_open)
    @rule()
    def open(self) -> None:
        """Nothing older is pending: publishers may come."""
        self.outbox.open()
        assert self.outbox.room > 0

    @precondition(lambda self: self.up)
    @rule()
    def detach(self) -> None:
        """The link dies: what was written is unknown, what was not is handed back in order with its waiter."""
        detached = self.outbox.detach()
        left, unknown = detached.unwritten, detached.unknown
        self.up = False
        expected: list[tuple[bytes, Waiter | None]] = []
        for item in self.unwritten:
            if isinstance(item, Publish):
                item.fate = "handed back"
                expected.append((item.frame, item.waiter))
        expected += [(b"", waiter) for waiter in self.bare]
        assert [(id(frame), waiter) for frame, waiter in left if frame] == [
            (id(frame), waiter) for frame, waiter in expected if frame
        ]
        assert left == expected
        lost = [item for item in self.wire if isinstance(item, Publish)] + self.answered
        lost = [publish for publish in lost if publish.fate == "written"]
        assert unknown == len(lost)
        for publish in lost:
            publish.fate = "unknown"
        self.unwritten, self.bare, self.wire, self.answered, self.written_waiters = [], [], deque(), [], []
        self.link_begins = self.outbox.place

    # Publishers

    @precondition(lambda self: self.outbox.room > 0)
    @rule(size=st.sampled_from([0, 1, 1, 40]))
    def put_fast(self, size: int) -> None:
        """The hot path: three integers and an append, after a look at cancellation where it is due."""
        outbox = self.outbox
        if outbox.free <= 0:
            outbox.grant()
        publish = self.new_publish(size, waiter=False)
        outbox.free -= 1
        outbox.room -= len(publish.frame)
        outbox.append(publish.frame)
        publish.place = outbox.top - outbox.free
        self.unwritten.append(publish)

    @precondition(lambda self: self.outbox.is_open)
    @rule(size=st.sampled_from([0, 1, 1, 40]), waiter=st.booleans())
    def put(self, size: int, waiter: bool) -> None:
        """Any other publish, with or without a caller that waits; only where there is room."""
        if self.outbox.try_room():
            publish = self.new_publish(size, waiter)
            self.outbox.put(publish.frame, publish.waiter)
            self.note_place(publish)
            self.unwritten.append(publish)

    @precondition(lambda self: self.up and self.count("handed back") > 0)
    @rule()
    def put_again(self) -> None:
        """What was handed back goes out by a new link, and is not accepted a second time."""
        publish = next(publish for publish in self.publishes if publish.fate == "handed back")
        publish.fate = "unwritten"
        self.outbox.put(publish.frame, publish.waiter, accepted_before=True)
        self.note_place(publish)
        self.unwritten.append(publish)

    def note_place(self, publish: Publish) -> None:
        publish.place = self.outbox.place
        assert publish.waiter is None or publish.waiter.place == publish.place

    @precondition(lambda self: self.up)
    @rule()
    def put_waiter(self) -> None:
        """A flush: a waiter without a frame."""
        waiter = Waiter()
        self.outbox.put(b"", waiter)
        self.bare.append(waiter)

    @precondition(lambda self: self.up)
    @rule(frame=st.sampled_from([b"UNSUB 1\r\n", b"PUB a 0\r\n\r\n"]))
    def put_control(self, frame: bytes) -> None:
        """What belongs to the link, also when it is a PUB, needs no room, counts for nothing and is not handed back."""
        self.outbox.put_control(frame)
        self.unwritten.append(frame)

    @precondition(lambda self: self.up)
    @rule(times=st.integers(1, 3))
    def put_pong(self, times: int) -> None:
        """Any number of PINGs is answered by one PONG per write."""
        for _ in range(times):
            self.outbox.put_pong()
        if PONG not in self.unwritten:
            self.unwritten.append(PONG)

    @rule()
    def spend(self) -> None:
        """A call that was not accepted here counts for the pace and not for the books."""
        self.outbox.spend()

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """A cancelled caller takes back what was never written, and that very frame; afterwards it is too late."""
        mine = [item for item in self.unwritten if isinstance(item, Publish) and item.waiter is not None]
        targets = [publish.waiter for publish in mine] + self.bare + self.written_waiters
        if not targets:
            return
        waiter = data.draw(st.sampled_from(targets))
        assert waiter is not None
        assert self.outbox.withdraw(waiter) is (waiter not in self.written_waiters)
        assert self.outbox.withdraw(waiter) is False
        if waiter in self.bare:
            self.bare.remove(waiter)
        for publish in mine:
            if publish.waiter is waiter:
                publish.fate = "withdrawn"
                self.unwritten.remove(publish)

    # The link and the server

    @precondition(lambda self: self.up)
    @rule()
    def take(self) -> None:
        """Written is everything, in order; one PING goes behind it if anybody waits for a PONG."""
        chunk = inside_trio(self.outbox.take)
        frames = [item.frame if isinstance(item, Publish) else item for item in self.unwritten]
        waiters = list(self.bare)
        for item in self.unwritten:
            if isinstance(item, Publish):
                item.fate = "written"
                self.wire.append(item)
                waiters += [item.waiter] if item.waiter is not None else []
        assert chunk == b"".join(frames) + (PING if waiters else b"")
        assert all(waiter.written for waiter in waiters)
        if waiters:
            self.wire.append(Ping(waiters))
            self.written_waiters += waiters
        self.unwritten, self.bare = [], []
        assert not self.outbox.is_open or self.outbox.room == BYTES_MAX

    @precondition(lambda self: self.wire)
    @rule(refuses=st.booleans())
    def serve(self, refuses: bool) -> None:
        """The server reads one operation: it takes a publish or refuses it at once, and answers a PING."""
        item = self.wire.popleft()
        if isinstance(item, Publish):
            self.answered.append(item)
            if refuses:
                assert self.outbox.coverage.refuse()
                item.fate = "failed"
            return
        expectation = self.outbox.pongs.come()
        assert expectation is not None
        assert set(expectation.waiters) == set(item.waiters)
        for publish in self.answered:
            if publish.fate == "written":
                publish.fate = "confirmed"
        self.answered = []

    @precondition(lambda self: self.answered)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """Somebody answers a publish that the server has read: everything up to it is confirmed, and nothing behind.

        Where a refusal of a later one was faster, the refused one is not known, and nothing is said here.
        """
        index = data.draw(st.integers(0, len(self.answered) - 1))
        if any(publish.fate == "failed" for publish in self.answered[index + 1 :]):
            return
        coverage = self.outbox.coverage
        coverage.proven = max(coverage.proven, self.answered[index].place)
        for publish in self.answered[: index + 1]:
            if publish.fate == "written":
                publish.fate = "confirmed"
        self.answered = self.answered[index + 1 :]

    @rule(data=st.data())
    def answer_too_late(self, data: st.DataObject) -> None:
        """An answer to what was written on an earlier link, or not at all, confirms nothing on this one."""
        coverage = self.outbox.coverage
        coverage.proven = max(coverage.proven, data.draw(st.integers(0, self.link_begins)))

    @precondition(lambda self: not any(isinstance(item, Ping) for item in self.wire))
    @rule()
    def pong_for_nobody(self) -> None:
        """A PONG that nobody asked for confirms nothing."""
        assert self.outbox.pongs.come() is None

    @precondition(lambda self: not self.count("written"))
    @rule()
    def refusal_of_nothing(self) -> None:
        """A refusal when nothing is unconfirmed fails nothing."""
        assert not self.outbox.coverage.refuse()

    # The books

    @invariant()
    def the_books_are_exact(self) -> None:
        """Each count is what the model counts, and they add up."""
        outbox = self.outbox
        assert outbox.accepted == len(self.publishes)
        assert outbox.coverage.confirmed == self.count("confirmed")
        assert outbox.coverage.failed == self.count("failed")
        assert outbox.coverage.unknown == self.count("unknown")
        assert outbox.coverage.unconfirmed == self.count("written")
        assert outbox.open_operations == self.count("written", "unwritten")
        elsewhere = self.count("withdrawn", "handed back")
        ended = outbox.coverage.confirmed + outbox.coverage.failed + outbox.coverage.unknown
        assert outbox.accepted == outbox.open_operations + ended + elsewhere

    @invariant()
    def room_is_exact(self) -> None:
        """Open, there is room for what the mark leaves beside the frames that are there; closed, for nobody."""
        if self.outbox.is_open:
            frames = [item.frame if isinstance(item, Publish) else item for item in self.unwritten]
            assert self.outbox.room == BYTES_MAX - sum(map(len, frames))
        else:
            assert self.outbox.room <= 0


TestOutbox = OutboxMachine.TestCase


def test_refusals_beyond_measure_never_make_counts_negative() -> None:
    """A server that refuses more than stood before a PING is at fault, and still no count goes below zero."""
    outbox = Outbox(BYTES_MAX)
    outbox.attach([])
    outbox.open()
    outbox.put(b"PUB a 0\r\n\r\n", Waiter())
    inside_trio(outbox.take)
    for _ in range(3):
        outbox.put(b"PUB a 0\r\n\r\n")
    inside_trio(outbox.take)
    assert [outbox.coverage.refuse() for _ in range(6)] == [True] * 4 + [False] * 2
    assert outbox.pongs.come() is not None
    assert min(outbox.coverage.confirmed, outbox.coverage.unconfirmed) >= 0
    assert outbox.accepted == outbox.coverage.confirmed + outbox.coverage.failed + outbox.open_operations == 4


def test_what_was_pending_takes_its_room() -> None:
    """An outbox that opens behind operations that were pending has the rest of its room, not all of it; taking one of
    them back gives no more room than there is.
    """
    outbox = Outbox(BYTES_MAX)
    outbox.attach([])
    frame = encode_publish(b"a", b"x" * 60)
    waiter = Waiter(frame)
    outbox.put(frame, waiter, accepted_before=True)
    outbox.open()
    assert outbox.room == BYTES_MAX - len(frame)
    assert outbox.withdraw(waiter)
    assert outbox.room == BYTES_MAX


def test_equal_frames_are_told_apart() -> None:
    """Of two publishes with the same bytes each keeps its own caller, when one of them is taken back."""
    for withdrawn in (0, 1):
        outbox = Outbox(BYTES_MAX)
        outbox.attach([])
        outbox.open()
        waiters = [Waiter(encode_publish(b"a", b"x")) for _ in range(2)]
        for waiter in waiters:
            outbox.put(waiter.frame, waiter)
        assert outbox.withdraw(waiters[withdrawn])
        other = waiters[1 - withdrawn]
        assert outbox.detach() == Detached([(other.frame, other)], [], 0, 0)


@given(st.lists(st.sampled_from(["write", "write", "withdraw", "refuse", "answer", "settle"]), max_size=60), st.data())
def test_what_is_confirmed_is_never_too_much(plan: list[str], data: st.DataObject) -> None:
    """Whatever overtakes what: no more are confirmed than an answer has come behind, less the refused among them.

    With the refused and the rest that is all that was written; and behind the answer to the last one nothing is open.
    """
    coverage = Coverage()
    written: list[tuple[int, bool]] = []  # place and whether refused
    place = answered = 0
    for what in plan:
        if what == "write":
            place += 1
            written.append((place, False))
            coverage.written += 1
        elif what == "withdraw":
            place += 1
            coverage.withdraw(place)
        elif what == "refuse" and any(not refused for _, refused in written[answered:]):
            index = data.draw(st.sampled_from([i for i in range(answered, len(written)) if not written[i][1]]))
            written[index] = (written[index][0], True)
            assert coverage.refuse()
        elif what == "answer" and answered < len(written):
            answered = data.draw(st.integers(answered + 1, len(written)))
            coverage.proven = max(coverage.proven, written[answered - 1][0])
        elif what == "settle":
            assert coverage.confirmed <= sum(not refused for _, refused in written[:answered])
            assert coverage.unconfirmed >= sum(not refused for _, refused in written[answered:])
        assert coverage.failed == sum(refused for _, refused in written)
        assert coverage.confirmed + coverage.failed + coverage.unconfirmed == len(written)
    if answered == len(written):
        assert coverage.unconfirmed == 0
    assert coverage.lose(place) + coverage.confirmed + coverage.failed == len(written)
    assert coverage.unconfirmed == 0


def test_more_withdrawals_than_are_remembered() -> None:
    """What was written before the oldest is confirmed late rather than too early; what comes behind, exactly."""
    coverage = Coverage()
    coverage.written = 1
    for place in range(2, VOIDS_MAX + 3):
        coverage.withdraw(place)
    coverage.proven = 1
    assert coverage.confirmed == 0
    coverage.written = 3
    coverage.proven = VOIDS_MAX + 3
    assert (coverage.confirmed, coverage.unconfirmed) == (2, 1)


@pytest.mark.parametrize("turn", ["lose", "begin"])
def test_an_answer_by_a_later_link_proves_nothing_there(turn: str) -> None:
    """The first link has died, or was left for another: what it had written is settled, and its places are below those
    of the next one.
    """
    coverage = Coverage()
    coverage.written = 3
    getattr(coverage, turn)(3)
    coverage.written = 2
    coverage.proven = 3
    assert (coverage.confirmed, coverage.unconfirmed) == (0, 2)
    coverage.proven = 4
    assert (coverage.confirmed, coverage.unconfirmed) == (1, 1)

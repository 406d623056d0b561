"""One direction of a connection: what is under way, in order, as TCP carries it.

    put -> queue -> (arrival) -> receiver
                      |  held:  waits until the way is released
                      |  lost:  waits for the next retransmission behind the healing, or for the sender's giving up

One timer for the head of the queue, none when it is empty. What is due at one instant is one delivery. A way back that
loses loses acknowledgements: what arrived counts as under way until a retransmission is acknowledged, and behind the
first timeout nothing new goes out. A receiver that is dead acknowledges nothing either: it answers with a reset, again
at each retransmission until one gets through.

Must not know who owns the ends.
"""

from __future__ import annotations

import enum
import random
from collections import deque
from typing import TYPE_CHECKING, Final

from ._end import RESET_BY_PEER, TIMED_OUT, End
from ._retransmission import TIMEOUT_FIRST_SECONDS, Retransmission

if TYPE_CHECKING:
    from .._events import Events
    from ._path import Path

# A pipe with a bandwidth delivers in pieces of so much time, but not in less than a segment.
_PIECE_SECONDS: Final = 0.005
_SEGMENT_BYTES: Final = 1_460
# Up to so much passes between two pieces of what a chunk limit cuts.
_CUT_GAP_SECONDS: Final = 0.0001


class Mark(enum.Enum):
    """What is in the queue besides bytes."""

    OPEN = enum.auto()
    FIN = enum.auto()
    RESET = enum.auto()


class _State(enum.Enum):
    IDLE = enum.auto()  # nothing is under way
    TIMED = enum.auto()  # the timer of the head is set, or the head is being delivered
    HELD = enum.auto()
    STALLED = enum.auto()  # for a retransmission
    CLOSED = enum.auto()


_IDLE, _TIMED, _HELD, _STALLED, _CLOSED = _State


class Pipe:
    """From one end to the other.

    Args:
        path: the way there.
        back: the way of the acknowledgements.

    Attributes:
        sent: bytes that the sender handed over so far.
        taken: bytes that the receiver's owner has read so far.
        used: bytes that fill the window: under way, unread or not acknowledged.
    """

    __slots__ = (
        "_back",
        "_busy_until",
        "_events",
        "_loss",
        "_owed",
        "_path",
        "_queue",
        "_random",
        "_receiver",
        "_sender",
        "_state",
        "sent",
        "taken",
        "used",
    )

    def __init__(
        self, events: Events, random: random.Random, sender: End, receiver: End, path: Path, back: Path
    ) -> None:
        self._events = events
        self._random = random
        self._sender = sender
        self._receiver = receiver
        self._path = path
        self._back = back
        # (arrival, departure, what); what would arrive before its predecessor is delivered with it.
        self._queue: deque[tuple[float, float, bytes | memoryview | Mark]] = deque()
        self._state = _IDLE
        self._busy_until = 0.0
        # While something is not acknowledged and will not be by itself; what is read meanwhile is owed to the window.
        self._loss: Retransmission | None = None
        self._owed = 0
        self.sent = 0
        self.taken = 0
        self.used = 0
        path.travellers[self] = None
        back.travellers[self] = None

    # The sender's side

    def room(self) -> int:
        """How many bytes the window takes now."""
        room = self._path.window - self.used
        return room if room > 0 else 0

    def put(self, data: bytes) -> None:
        """Send; the caller has looked for room."""
        size = len(data)
        self.sent += size
        self.used += size
        bandwidth = self._path.bandwidth
        if bandwidth is None:
            self._enqueue(data, self._events.now())
        else:
            self._put_slowly(data, self._events.now(), bandwidth)

    def put_open(self) -> None:
        """The end of the dialler's handshake."""
        self._put_mark(Mark.OPEN)

    def put_fin(self) -> None:
        """Send a FIN."""
        self._put_mark(Mark.FIN, self._path.close_delay)

    def put_reset(self) -> None:
        """Send a reset; nobody sends that again when it is lost."""
        self._put_mark(Mark.RESET)

    def sender_died(self) -> None:
        """Nothing is sent again. What is under way already is, but for what waits for a retransmission."""
        self._acknowledge()
        if self._state is _STALLED:
            self._drop()

    # The receiver's side

    def took(self, size: int) -> None:
        """The receiver's owner has read so many bytes."""
        self.taken += size
        if self._loss is not None:
            self._owed += size
        else:
            self.used -= size
            if self._sender.wants_room:
                self._offer_room()

    def refused(self) -> None:
        """What has just arrived was answered with a reset. Until that gets through it is sent again."""
        if self._state is not _CLOSED:
            self._miss(self._events.now())
            if self._loss is not None:
                self._loss.plan()

    def discarded(self, size: int) -> None:
        """So many bytes that arrived were thrown away by a receiver that died. A sender's probe finds out."""
        if size:
            self._events.call_later(TIMEOUT_FIRST_SECONDS, self._forget, size)

    # The network's side

    def close(self) -> None:
        """Both ends are gone."""
        self._acknowledge()
        self._drop()
        self._state = _CLOSED
        self._path.travellers.pop(self, None)
        self._back.travellers.pop(self, None)

    def released(self) -> None:
        """See `Traveller`."""
        if self._state is _HELD:
            self._state = _TIMED
            self._events.call_soon(self._deliver)
        self._offer_room()

    def healed(self) -> None:
        """See `Traveller`."""
        if self._loss is not None and not self._path.lost:
            self._loss.plan()

    def _enqueue(self, what: bytes | memoryview | Mark, departure: float, delay: float = 0.0) -> None:
        path = self._path
        arrival = departure + path.latency + delay
        if path.jitter:
            arrival += path.jitter * self._random.random()
        self._queue.append((arrival, departure, what))
        if self._state is _IDLE:
            self._state = _TIMED
            self._events.call_at(arrival, self._deliver)

    def _put_mark(self, mark: Mark, delay: float = 0.0) -> None:
        if self._state is not _CLOSED:
            self._enqueue(mark, self._events.now(), delay)

    def _put_slowly(self, data: bytes | memoryview, now: float, bandwidth: float) -> None:
        piece_max = max(_SEGMENT_BYTES, int(bandwidth * _PIECE_SECONDS))
        view = memoryview(data)
        self._busy_until = max(now, self._busy_until)
        for start in range(0, len(view), piece_max):
            piece = view[start : start + piece_max]
            self._busy_until += len(piece) / bandwidth
            self._enqueue(piece, self._busy_until)

    # Delivery

    def _deliver(self) -> None:
        queue, now = self._queue, self._events.now()
        if not queue:
            return  # closed meanwhile
        path, loss, departure = self._path, self._loss, queue[0][1]
        if path.held:
            self._state = _HELD
        elif path.lost or (loss is not None and loss.holds_back(departure)):
            self._stall(departure)
        else:
            if self._back.lost:
                self._miss(departure)
            elif loss is not None and not self._receiver.dead:
                self._acknowledge()
            self._hand_over(now)

    def _hand_over(self, now: float) -> None:
        """Give the receiver what is due. Whatever it does, it cannot send bytes on this pipe meanwhile."""
        queue = self._queue
        if self._path.chunk_max is not None:
            self._cut(self._path.chunk_max, now)
        what = queue.popleft()[2]
        mark: Mark | None = None
        if isinstance(what, Mark):
            mark = what
        elif not queue or queue[0][0] > now:
            self._receiver.arrive(bytes(what))
        else:
            mark = self._hand_over_several(what, now)
        if mark is not None and self._state is not _CLOSED:
            self._hand_over_mark(mark)
        if self._state is _CLOSED:
            return
        if queue:
            self._state = _TIMED
            self._events.call_at(queue[0][0], self._deliver)
        else:
            self._state = _IDLE

    def _hand_over_several(self, first: bytes | memoryview, now: float) -> Mark | None:
        """Give the receiver all bytes that are due, as one; returns the mark behind them, if that is due too."""
        queue = self._queue
        pieces = [first]
        mark: Mark | None = None
        while mark is None and queue and queue[0][0] <= now:
            what = queue.popleft()[2]
            if isinstance(what, Mark):
                mark = what
            else:
                pieces.append(what)
        self._receiver.arrive(b"".join(pieces))
        return mark

    def _hand_over_mark(self, mark: Mark) -> None:
        if mark is Mark.OPEN:
            self._receiver.connection.accept()
        elif mark is Mark.FIN:
            self._receiver.fin()
        else:
            self._receiver.break_off(RESET_BY_PEER)

    def _cut(self, chunk_max: int, now: float) -> None:
        """Let no more than a drawn number of bytes be due; the rest comes a little later, perhaps with what follows."""
        left = self._random.randint(1, chunk_max)
        queue = self._queue
        for index, (arrival, departure, what) in enumerate(queue):
            if arrival > now or isinstance(what, Mark):
                return
            if len(what) > left:
                view, later = memoryview(what), now + _CUT_GAP_SECONDS * self._random.random()
                queue[index] = (later, departure, view[left:])
                if left:
                    queue.insert(index, (arrival, departure, view[:left]))
                return
            left -= len(what)

    # Loss

    def _stall(self, departure: float) -> None:
        if self._sender.dead:
            self._drop()  # a reset, or what a kernel had sent that is no more: nobody sends it again
        else:
            self._state = _STALLED
            self._miss(departure)

    def _miss(self, departure: float) -> None:
        """What left then is not acknowledged."""
        if self._loss is None and not self._sender.dead:
            self._loss = Retransmission(self._events, departure, self._send_again, self._give_up)

    def _give_up(self) -> None:
        self._sender.break_off(TIMED_OUT)

    def _send_again(self) -> None:
        loss, path = self._loss, self._path
        if loss is None or path.lost:
            return
        if self._state is not _STALLED:
            if self._receiver.dead:
                self._events.call_later(path.delay(), self._receiver.answer_reset)
                loss.plan()
            elif not self._back.lost:
                self._acknowledge()
            return
        waiting, at = list(self._queue), self._events.now()
        self._queue.clear()
        self._state = _IDLE
        for _, _, what in waiting:
            if path.bandwidth is not None and not isinstance(what, Mark):
                at += len(what) / path.bandwidth
            self._enqueue(what, loss.first_try, at - loss.first_try)
        self._busy_until = at

    def _acknowledge(self) -> None:
        if self._loss is not None:
            self._loss.cancel()
            self._loss = None
        self.used -= self._owed
        self._owed = 0
        self._offer_room()

    def _offer_room(self) -> None:
        sender = self._sender
        if sender.wants_room and self.room():
            sender.wants_room = False
            sender.owner.has_room()

    def _forget(self, size: int) -> None:
        self.used -= size
        self._offer_room()

    def _drop(self) -> None:
        self._queue.clear()
        self._state = _IDLE

"""What a server says, on its way to the client: passed on, held, swallowed, with answers of our own put in between.

PONGs carry no number, so they are counted: the n-th answers the client's n-th PING. An answer of our own to something
that was sent behind n PINGs is due when n PONGs have been passed on, as it would be from the server. A PONG is never
swallowed, or every later one would confirm wrongly.

Whoever reads stops reading while something is held, so nothing piles up here.

Must not wait: it says until when.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, Protocol

import attrs

from ._splitter import Frame, Piece, split_to_client

ANSWER_BYTES_MAX: Final = 1_048_576
SWALLOWED_MAX: Final = 65_536
HOLDS_MAX: Final = 1_024


class Scope(Protocol):
    """Something that ends: an injection."""

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        ...


@attrs.define
class _Hold:
    """From this PONG on (0 = at once) everything waits until then."""

    pong: int
    until: float


@attrs.frozen
class _Answer:
    due: int
    data: bytes
    ends: bool


class Incoming:
    """One direction of one link.

    Attributes:
        ended: everything is ready, and then comes the end of the stream.
    """

    def __init__(self) -> None:
        self._splitter = split_to_client()
        self._pieces: deque[Piece] = deque()
        self._ready = bytearray()
        self._answers: deque[_Answer] = deque()
        self._answer_bytes = 0
        self._holds: dict[Scope, deque[_Hold]] = {}  # of one scope, both numbers only grow
        self._swallowed: dict[bytes, tuple[Scope, float]] = {}
        self._swallowing = False
        self._pongs = 0
        self._inside = False
        self.ended = False

    # What is asked for

    def hold(self, scope: Scope, pong: int, until: float) -> None:
        """Hold this PONG, and all behind it."""
        own = self._holds.setdefault(scope, deque())
        if own and (own[-1].pong == pong or own[-1].until == math.inf or len(own) >= HOLDS_MAX):
            own[-1].until = max(until, own[-1].until)
        else:
            own.append(_Hold(pong, until))

    def swallow(self, scope: Scope, reply: bytes, until: float) -> None:
        """Swallow messages to this subject. Beyond the bound the oldest is forgotten."""
        self._swallowed.pop(reply, None)
        self._swallowed[reply] = (scope, until)
        if len(self._swallowed) > SWALLOWED_MAX:
            del self._swallowed[next(iter(self._swallowed))]

    def answer(self, due: int, data: bytes, *, ends: bool) -> None:
        """Put in a frame of our own behind so many PONGs, and perhaps the end of the stream behind it."""
        self._answers.append(_Answer(due, data, ends))
        self._answer_bytes += len(data)

    @property
    def has_room(self) -> bool:
        """Whether another answer may be put in."""
        return self._answer_bytes < ANSWER_BYTES_MAX

    def let_go(self) -> None:
        """The link is none that could be understood: from now on everything passes unchanged.

        An answer that is owed is still given, unless it is the server that cannot be understood.
        """
        self._holds.clear()
        self._swallowed.clear()
        if self.lost:
            self._answers.clear()

    # What comes

    @property
    def lost(self) -> bool:
        """Whether something came that is no frame."""
        return self._splitter.lost

    @property
    def untouched(self) -> bool:
        """Whether everything that came was passed on and taken."""
        return not (self._ready or self._pieces or self._splitter.withholds)

    def feed(self, data: bytes) -> None:
        """The server's next bytes; none = the end of the stream."""
        if data:
            self._pieces.extend(self._splitter.feed(data))
        else:
            self._ready += self._splitter.release()
            self._ready += b"".join(answer.data for answer in self._answers)
            self.ended = True

    def advance(self, now: float, *, eager: bool) -> float | None:
        """Make ready what may pass; returns until when the rest is held, or None when nothing is held.

        Args:
            now: the time.
            eager: pass on heads before they are known; nothing could happen to them.
        """
        while not self.ended:
            if self._answer_is_due():
                self._put_answer()
                continue
            piece = self._pieces[0] if self._pieces else None
            if piece is None or piece.first:
                until = self._held_until(piece, now)
                if until is not None:
                    return until
            if piece is None:
                if eager:
                    self._ready += self._splitter.release()
                return None
            self._pass(self._pieces.popleft(), now)
        return None

    def take(self, max_bytes: int | None) -> bytes:
        """What is ready, at most so much."""
        size = len(self._ready) if max_bytes is None else max_bytes
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        return bool(self._ready)

    def _answer_is_due(self) -> bool:
        begun = self._inside or (not self._pieces and self._splitter.inside) or (self._pieces and self._pieces[0].begun)
        return bool(self._answers) and not begun and self._answers[0].due <= self._pongs

    def _put_answer(self) -> None:
        answer = self._answers.popleft()
        self._answer_bytes -= len(answer.data)
        self._ready += answer.data
        self.ended = answer.ends

    def _held_until(self, piece: Piece | None, now: float) -> float | None:
        """When to look again whether this frame (None = whatever comes next) is held; None = it is not."""
        pong = piece is not None and piece.frame is not None and piece.frame.verb == b"PONG"
        for scope, own in list(self._holds.items()):
            while own and (not scope.active or own[0].until <= now):
                own.popleft()
            if not own:
                del self._holds[scope]
            elif not own[0].pong or (pong and own[0].pong <= self._pongs + 1):
                return own[0].until
        return None

    def _pass(self, piece: Piece, now: float) -> None:
        if piece.first and piece.frame is not None:
            self._pongs += piece.frame.verb == b"PONG"
            self._swallowing = not piece.begun and self._is_swallowed(piece.frame, now)
        if not self._swallowing or piece.frame is None:
            self._ready += piece.data
        self._inside = not piece.last

    def _is_swallowed(self, frame: Frame, now: float) -> bool:
        if not self._swallowed or not frame.fields:
            return False
        scope, until = self._swallowed.get(frame.fields[0], (None, 0.0))
        if scope is not None and scope.active and now < until:
            return True
        self._swallowed.pop(frame.fields[0], None)
        return False

"""A stream's mirror or sources: it asks for what they have, and stores it.

It begins a moment after the stream does, asks piece by piece, and asks again when there was silence for ten seconds or
when a piece has not come whole. Where it goes on is in the stream itself: behind the last message of a mirror, and in
the headers of the last one that came from a source. A source that is another stream of the same name by now is copied
from its beginning. The times were measured with nats-server 2.15.1.

Must not decide how a message is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from . import _headers as headers
from ._errors import NOT_MODELLED, APIError, api_error
from ._feed import Question, feed_subject
from ._golang import SECOND
from ._source_config import Origin

if TYPE_CHECKING:
    from .._interest import Subscription
    from .._surroundings import Timer
    from ._messages import Messages
    from ._service import JetStream
    from ._stream_config import StreamConfig

_FIRST_SECONDS: Final = 0.1
_FULL_SECONDS: Final = 1.0
_MISSING_SECONDS: Final = 12.1
_SPREAD_SECONDS: Final = 0.1
_SILENCE_SECONDS: Final = 10.0
_NOBODY: Final = b">"


@attrs.frozen
class Copy:
    """A message of another stream.

    Attributes:
        sequence: where it is stored; 0 = behind the last one.
        time: when it was stored there, in nanoseconds since the epoch; 0 = now.
    """

    sequence: int
    time: int
    subject: bytes
    header: bytes
    payload: bytes


class Copying(Protocol):
    """The stream that copies."""

    config: StreamConfig
    messages: Messages

    def take_copy(self, copy: Copy, done: Callable[[bool], None]) -> None:
        """Store a copy; `done` is told whether there was room."""
        ...


class Sourcing:
    """What one stream copies.

    Args:
        jetstream: sends, counts time and draws chance.
        stream: that copies.
    """

    def __init__(self, jetstream: JetStream, stream: Copying) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._sources: list[Source] = []

    def start(self) -> None:
        """Copy what the configuration says."""
        config = self._stream.config
        origins = [config.mirror] if config.mirror else config.sources
        self._sources = [
            Source(self._jetstream, self._stream, Origin.of(one), mirrors=bool(config.mirror)) for one in origins
        ]

    def stop(self) -> None:
        """Copy no more."""
        sources, self._sources = self._sources, []
        for source in sources:
            source.close()

    def fields(self) -> dict[str, Any]:
        """As it stands in the stream's information."""
        config = self._stream.config
        if config.mirror:
            return {"mirror": self._sources[0].fields()} if self._sources else {}
        return {"sources": [source.fields() for source in self._sources]} if self._sources else {}


class Source:
    """One stream that is copied.

    Args:
        jetstream: sends, counts time and draws chance.
        stream: that copies.
        origin: what is copied.
        mirrors: it is the only one, and is copied with its sequences and times.
    """

    def __init__(self, jetstream: JetStream, stream: Copying, origin: Origin, *, mirrors: bool) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._origin = origin
        self._mirrors = mirrors
        self._question = 0
        self._place = 0
        self._lag = 0
        self._heard = -1
        self._error: APIError | None = None
        self._recall()
        self._inbox = f"$JS.S.{jetstream.draw_name()}".encode()
        self._listening: Subscription | None = jetstream.listen(self._inbox, self._received)
        self._timer: Timer | None = None
        self._again(_FIRST_SECONDS)

    def close(self) -> None:
        """Copy no more."""
        if self._listening is not None:
            self._jetstream.forget(self._listening)
            self._listening = None
        self._cancel()

    def fields(self) -> dict[str, Any]:
        """As it stands in the stream's information."""
        fields: dict[str, Any] = {"name": self._origin.name, "lag": self._lag}
        if not self._mirrors and self._last:
            fields["seq"] = self._last
        fields["active"] = -1 if self._heard < 0 else self._jetstream.now() - self._heard
        if self._error is not None:
            fields["error"] = self._error.fields()
        if self._origin.subject_filter and not (self._mirrors and not self._question):
            fields["filter_subject"] = self._origin.subject_filter
        return fields

    # --------------------------------------------------------------------------------------------------- its place

    def _recall(self) -> None:
        """Where it goes on, by what the stream has."""
        self._last, self._identity = 0, ""
        messages = self._stream.messages
        if self._mirrors:
            self._next = max(messages.last_sequence + 1, self._origin.start_sequence)
            self._start_time = self._origin.start_time if not messages.last_sequence else 0
            return
        self._next, self._start_time = self._origin.start_sequence, self._origin.start_time
        for message in reversed(list(messages)):
            place = self._place_of(message.header)
            if place is not None:
                self._last, self._identity = place
                self._next, self._start_time = self._last + 1, 0
                return

    def _place_of(self, header: bytes) -> tuple[int, str] | None:
        """The sequence that a stored message had in this source, and which stream that was."""
        found = headers.find(header, headers.STREAM_SOURCE) if header else None
        fields = b"" if found is None else found
        name, sequence, pattern, *_, identity = [*fields.split(b" "), b"", b"", b"", b""][:6] if fields else [b""] * 6
        if name.decode("utf-8", "surrogateescape") != self._origin.name or pattern != self._pattern:
            return None
        return int(sequence), identity.decode()

    @property
    def _pattern(self) -> bytes:
        return self._origin.subject_filter.encode("utf-8", "surrogateescape") or _NOBODY

    def _mark(self, sequence: int, subject: bytes, identity: str) -> bytes:
        name = self._origin.name.encode("utf-8", "surrogateescape")
        return b"%b %d %b > %b %b" % (name, sequence, self._pattern, subject, identity.encode())

    # ------------------------------------------------------------------------------------------------------- asking

    def _again(self, seconds: float) -> None:
        self._cancel()
        seconds += _SPREAD_SECONDS * self._jetstream.random.random()
        self._timer = self._jetstream.call_at(self._jetstream.now() + round(seconds * SECOND), self._ask)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask(self) -> None:
        self._question += 1
        self._place = 0
        if not self._jetstream.knows_stream(self._origin.name):
            self._error = api_error(10059)
            self._again(_MISSING_SECONDS)
            return
        filters = (self._pattern,) if self._origin.subject_filter else ()
        question = Question(self._question, self._next, self._start_time, filters)
        self._jetstream.deliver(
            feed_subject(self._origin.name), feed_subject(self._origin.name), question.encode(), reply=self._inbox
        )
        self._watch_silence()

    def _watch_silence(self) -> None:
        self._cancel()
        due = self._jetstream.now() + round(_SILENCE_SECONDS * SECOND)
        self._timer = self._jetstream.call_at(due, self._ask)

    # ---------------------------------------------------------------------------------------------------- receiving

    def _received(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        if self._listening is None:
            return
        if reply:
            self._copy(subject, reply, header, payload)
        elif header.startswith(b"NATS/1.0 %d " % NOT_MODELLED):
            self._error = APIError(NOT_MODELLED, 0, header[13:].split(b"\r\n")[0].decode())
            self._again(_MISSING_SECONDS)
        else:
            self._told(payload)

    def _copy(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        identity, number, sequence, place, time = reply.removeprefix(b"$JS.ACK.").split(b".")
        if int(number) != self._question or self._is_another(identity.decode()) or int(place) != self._place + 1:
            return  # the status says that the piece is not whole
        self._place += 1
        self._heard, self._error = self._jetstream.now(), None
        self._last = int(sequence)
        self._next, self._start_time = self._last + 1, 0
        if self._mirrors:
            copy = Copy(self._last, int(time), subject, header, payload)
        else:
            marked = headers.with_header(
                header, headers.STREAM_SOURCE, self._mark(self._last, subject, identity.decode())
            )
            copy = Copy(0, 0, subject, marked, payload)
        question = self._question

        def done(stored: bool) -> None:
            if not stored and self._question == question:
                self._full()

        self._stream.take_copy(copy, done)

    def _told(self, status: bytes) -> None:
        identity, number, following, place, left = status.split(b".")
        if int(number) != self._question or self._is_another(identity.decode()):
            return
        self._heard, self._error, self._lag = self._jetstream.now(), None, int(left)
        if int(place) == self._place and int(place):
            self._next, self._start_time = max(self._next, int(following)), 0
        self._ask()

    def _is_another(self, identity: str) -> bool:
        """Whether the source is another stream than before, which is copied from its beginning."""
        if self._mirrors or self._identity in ("", identity):
            self._identity = identity
            return False
        self._identity, self._last = identity, 0
        self._next, self._start_time = self._origin.start_sequence, self._origin.start_time
        self._ask()
        return True

    def _full(self) -> None:
        """There was no room: it goes on where it stopped, a little later."""
        self._question += 1
        self._recall()
        self._again(_FULL_SECONDS)

"""A dead letter as data: what its headers say, whether a filter takes it, and what it looks like when it is sent again.

The router puts the reasons into headers that begin with `Beamline-`, and renames the original's own control headers,
so that they do not act on the stream of the dead letters; a replay gives them their names back, but for the message id
and the expectations, which were about the first try.

Must not do I/O.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from ...jetstream import StoredMessage
from ...protocol import Headers
from ...router import DEAD_LETTER_PREFIX, ORIGINAL_PREFIX, DeadLetterHeader

_MESSAGE_ID: Final = "Nats-Msg-Id"
# Of the first try: an id would be a duplicate, an expectation is about a stream that has moved on.
_NOT_REPLAYED: Final = ("nats-msg-id", "nats-expected-")
_REPLAY: Final = re.compile(r"(.*)\.replay\.([1-9]\d{0,8})\Z", re.DOTALL)


@attrs.frozen(kw_only=True)
class DeadLetterRecord:
    """A message in a stream of dead letters.

    Attributes:
        message: as the stream holds it.
        cause: why it was given up, in one word; empty when the header is missing, as below.
        reason: what the handler said, or raised.
        route: the route that gave it up.
        subject: the subject that it came by.
        stream: the stream that it came from; empty for a core route.
        stream_sequence: its sequence there, or 0.
        deliveries: how often it was delivered, or 0.
        history: what each try ended with.
        time: when it was given up, as the router wrote it.
    """

    message: StoredMessage
    cause: str = ""
    reason: str = ""
    route: str = ""
    subject: str = ""
    stream: str = ""
    stream_sequence: int = 0
    deliveries: int = 0
    history: tuple[str, ...] = ()
    time: str = ""

    @classmethod
    def read(cls, message: StoredMessage) -> DeadLetterRecord:
        """What the headers of a message say; reads anything, also what is no dead letter."""
        headers = message.headers
        return cls(
            message=message,
            cause=headers.get(DeadLetterHeader.CAUSE, "") or "",
            reason=headers.get(DeadLetterHeader.REASON, "") or "",
            route=headers.get(DeadLetterHeader.ROUTE, "") or "",
            subject=headers.get(DeadLetterHeader.SUBJECT, "") or "",
            stream=headers.get(DeadLetterHeader.STREAM, "") or "",
            stream_sequence=_number(headers.get(DeadLetterHeader.SEQUENCE)),
            deliveries=_number(headers.get(DeadLetterHeader.DELIVERIES)),
            history=tuple(headers.get_all(DeadLetterHeader.HISTORY)),
            time=headers.get(DeadLetterHeader.TIME, "") or "",
        )

    @property
    def sequence(self) -> int:
        """Its place in the stream of dead letters."""
        return self.message.sequence

    @property
    def is_dead_letter(self) -> bool:
        """Whether a router wrote it: only then is it known where it came from."""
        return bool(self.subject)


@attrs.frozen(kw_only=True)
class LetterFilter:
    """Which letters are meant; what is None is any.

    Attributes:
        cause: a part of the cause or of the reason, in any case of letters.
        route: the whole name of the route.
    """

    cause: str | None = None
    route: str | None = None

    def takes(self, letter: DeadLetterRecord) -> bool:
        """Whether it is one of them."""
        if self.route is not None and letter.route != self.route:
            return False
        return self.cause is None or self.cause.casefold() in f"{letter.cause} {letter.reason}".casefold()


def replay_id(letter: DeadLetterRecord) -> str:
    """The message id of its replay: `<id>.replay.<n>`, the same each time it is asked for.

    The id is that of the original, else that of the dead letter, else where the letter stands. What was replayed and
    died again has a letter of its own, whose original has the last replay's id: so n counts on, and no replay is taken
    for an earlier one.
    """
    headers = letter.message.headers
    known = headers.get(ORIGINAL_PREFIX + _MESSAGE_ID) or headers.get(_MESSAGE_ID)
    name = known or f"{letter.message.stream}:{letter.sequence}"
    match = _REPLAY.match(name)
    base, count = (match[1], int(match[2])) if match else (name, 0)
    return f"{base}.replay.{count + 1}"


def replay_headers(letter: DeadLetterRecord) -> Headers:
    """The headers of the original, without its message id and what it expected of its stream."""
    headers = Headers()
    for kept, value in letter.message.headers.items():
        lower = kept.lower()
        name = kept[len(ORIGINAL_PREFIX) :] if lower.startswith(ORIGINAL_PREFIX.lower()) else kept
        acts_here = name is kept and lower.startswith((DEAD_LETTER_PREFIX, "nats-"))
        if name and not acts_here and not name.lower().startswith(_NOT_REPLAYED):
            headers.add(name, value)
    return headers


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 20 else 0

"""Which operation a frame of a client is, and which operations a fault is for.

A frame tells most of it: a PUB to `$JS.ACK.` is an ack or a nak by its body, as nats-server reads it. Only a stream
is not to be seen: whether what asks for a reply is stored or answered is known to whoever injects the fault, and told
by its subjects.

Must not decide what an operation meets.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

import attrs

from ..protocol._errors import InvalidSubjectError
from ..protocol._subjects import encode_pattern
from ._errors import InjectionError
from ._splitter import Frame

# Subjects that are an operation of another name: without being asked for they are not met.
_OTHERS: Final = (b"$JS", b"$SRV")
_ACKS: Final = (b"$JS", b"ACK")


class OperationKind(enum.StrEnum):
    """What a client does on the wire, as far as faults can meet it.

    Attributes:
        CONNECT: the CONNECT of a link.
        PUBLISH: a PUB or HPUB that is no ack and no nak, whether it asks for a reply or not.
        PUBLISH_WITH_ACK: one that asks for a reply: the publishing to a stream, where the subject is a stream's.
        ACK: a PUB to `$JS.ACK.` that ends a message's deliveries: with an empty body, +ACK, +NXT or +TERM.
        NAK: a PUB to `$JS.ACK.` whose body begins with -NAK.
        SUBSCRIBE: a SUB.
    """

    CONNECT = enum.auto()
    PUBLISH = enum.auto()
    PUBLISH_WITH_ACK = enum.auto()
    ACK = enum.auto()
    NAK = enum.auto()
    SUBSCRIBE = enum.auto()

    @property
    def of_an_ack(self) -> bool:
        """Whether its subjects are those of acks."""
        return self in (OperationKind.ACK, OperationKind.NAK)

    @property
    def publishes(self) -> bool:
        """Whether it is a PUB of some kind."""
        return self not in (OperationKind.CONNECT, OperationKind.SUBSCRIBE)


@attrs.frozen
class Operation:
    """One operation of a client.

    Attributes:
        kind: what it is; never PUBLISH_WITH_ACK, which a frame does not tell.
        subject: what is published to or subscribed to.
        reply: where a publish or an ack asks for a reply, or None.
        queue_group: of a subscription, or None.
    """

    kind: OperationKind
    subject: bytes = b""
    reply: bytes | None = None
    queue_group: bytes | None = None

    def is_a(self, kind: OperationKind) -> bool:
        """Whether a fault for such operations is for this one, as far as its subject is not asked for."""
        with_ack = self.kind is OperationKind.PUBLISH and self.reply is not None
        return self.kind is kind or (with_ack and kind is OperationKind.PUBLISH_WITH_ACK)


def operation_of(frame: Frame) -> Operation | None:
    """The operation of a frame that a client sends; None for PING, PONG and UNSUB, which no fault meets."""
    fields = frame.fields
    match frame.verb:
        case b"CONNECT":
            return Operation(OperationKind.CONNECT)
        case b"SUB":
            return Operation(OperationKind.SUBSCRIBE, fields[0], None, fields[1] if len(fields) == 3 else None)
        case b"PUB":
            return Operation(_publish_kind(frame.body), fields[0], fields[1] if len(fields) == 3 else None)
        case b"HPUB":
            return Operation(_publish_kind(frame.body), fields[0], fields[1] if len(fields) == 4 else None)
        case _:
            return None


def _publish_kind(body: bytes | None) -> OperationKind:
    """By the body of an ack as nats-server reads it; None = it is no ack. +WPI decides nothing: it is a publish."""
    if body is None or body == b"+WPI":
        return OperationKind.PUBLISH
    return OperationKind.NAK if body == b"-NAK" else OperationKind.ACK


class SubjectFilter:
    """Which subjects a fault is for.

    Args:
        patterns: a pattern or several; None = all but `$JS.>` and `$SRV.>`, and for acks and naks all of these.
        kind: of which operations.

    Raises:
        InjectionError: a pattern is none, or no ack has such a subject.
    """

    def __init__(self, patterns: str | Iterable[str] | None, kind: OperationKind) -> None:
        given = () if patterns is None else (patterns,) if isinstance(patterns, str) else tuple(patterns)
        if patterns is not None and not given:
            raise InjectionError("subjects is empty; give a pattern such as 'orders.>', or leave it out for all")
        try:
            self._patterns = [encode_pattern(pattern).split(b".") for pattern in given]
        except (InvalidSubjectError, TypeError) as exc:
            raise InjectionError(f"subjects is {patterns!r}; it must be one or more subject patterns: {exc}") from exc
        self._others: tuple[bytes, ...] = _OTHERS
        if kind.of_an_ack:
            self._others = ()
            for pattern in self._patterns:
                if not _may_be_an_ack(pattern):
                    text = f"subjects is {patterns!r}; those of an {kind} begin with $JS.ACK, as in '$JS.ACK.ORDERS.>'"
                    raise InjectionError(text)

    def __contains__(self, subject: bytes) -> bool:
        """Whether a subject, or everything that a pattern means, is within one of the patterns."""
        tokens = subject.split(b".")
        if not self._patterns:
            return tokens[0] not in self._others
        return any(covers(pattern, tokens) for pattern in self._patterns)


def covers(pattern: list[bytes], tokens: list[bytes]) -> bool:
    """Whether a subject, or everything that a pattern means, is within a pattern; both in tokens."""
    for index, wanted in enumerate(pattern):
        if index >= len(tokens):
            return False
        if wanted == b">":
            return True
        if tokens[index] != wanted and (wanted != b"*" or tokens[index] == b">"):
            return False
    return len(pattern) == len(tokens)


def _may_be_an_ack(pattern: list[bytes]) -> bool:
    for wanted, token in zip(pattern, _ACKS, strict=False):
        if wanted not in (token, b"*"):
            return wanted == b">"
    return len(pattern) > len(_ACKS)

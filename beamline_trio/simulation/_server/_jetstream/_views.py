"""What tests see of JetStream: streams, messages and consumers as they are now, as records.

Must not change anything.
"""

from __future__ import annotations

import attrs

from ._consumer import Consumer
from ._golang import SECOND
from ._stream import Stream


@attrs.frozen(kw_only=True)
class MessageView:
    """A message of a stream.

    Attributes:
        header: the whole block, empty without headers.
        stored_at: seconds since the epoch.
    """

    sequence: int
    subject: str
    header: bytes
    payload: bytes
    stored_at: float


@attrs.frozen(kw_only=True)
class ConsumerView:
    """A consumer.

    Attributes:
        delivered_sequence: of the stream, the highest that was delivered.
        ack_floor: of the stream; everything up to it is acknowledged.
        pending: what was delivered and is not acknowledged.
        redelivered: stream sequence and how often it was delivered again.
        waiting_pulls: requests that wait for messages.
        undelivered: how many messages it has not delivered.
    """

    name: str
    durable: bool
    delivered_sequence: int
    ack_floor: int
    pending: tuple[int, ...]
    redelivered: tuple[tuple[int, int], ...]
    waiting_pulls: int
    undelivered: int


@attrs.frozen(kw_only=True)
class StreamView:
    """A stream.

    Attributes:
        bytes: of its records, as the server counts them.
    """

    name: str
    subjects: tuple[str, ...]
    first_sequence: int
    last_sequence: int
    bytes: int
    messages: tuple[MessageView, ...]
    consumers: tuple[ConsumerView, ...]


def view_stream(stream: Stream) -> StreamView:
    """A stream as it is now."""
    messages = stream.messages
    return StreamView(
        name=stream.name,
        subjects=stream.config.subjects,
        first_sequence=messages.first_sequence,
        last_sequence=messages.last_sequence,
        bytes=messages.bytes,
        messages=tuple(
            MessageView(
                sequence=one.sequence,
                subject=one.subject.decode("utf-8", "surrogateescape"),
                header=one.header,
                payload=one.payload,
                stored_at=one.time / SECOND,
            )
            for one in messages
        ),
        consumers=tuple(_view_consumer(stream.consumers[name]) for name in sorted(stream.consumers)),
    )


def _view_consumer(consumer: Consumer) -> ConsumerView:
    state = consumer.state
    return ConsumerView(
        name=consumer.name,
        durable=bool(consumer.config.durable_name),
        delivered_sequence=state.last_stream,
        ack_floor=state.floor_stream,
        pending=tuple(sorted(state.pending)),
        redelivered=tuple(sorted(state.redelivered.items())),
        waiting_pulls=len(consumer.waiting),
        undelivered=consumer.reading.left,
    )

"""A bucket read once from end to end, by a consumer that is made for it and deleted behind it.

What is written meanwhile may be read too. Where the consumer is lost on the way (its server was), or the link, which
may have swallowed messages, the reading begins again. What is no entry is passed over and counted.

Must not stay: what is left behind by a cancellation goes by the server's own clock.
"""

from __future__ import annotations

from typing import Final

import trio

from ..connection import ConnectionLostError
from ..jetstream import (
    Consumer,
    ConsumerConfig,
    ConsumerDeletedError,
    ConsumerNotFoundError,
    JetStream,
    JetStreamMessage,
    StreamNotFoundError,
)
from ..protocol import NatsError, ProtocolError
from ._entries import Entry, read_entry
from ._errors import BucketNotFoundError, InvalidEntryError
from ._names import stream_of, subject_of

_BATCH: Final = 256
_ATTEMPTS: Final = 3
_INACTIVE_SECONDS: Final = 30.0
_CLEANUP_SECONDS: Final = 1.0


class _MissedError(Exception):
    """The link was another in between: what the old one swallowed is not given again, for want of acks."""


class Listing:
    """One reading.

    Args:
        js: asks.
        bucket: which bucket.
        filters: which keys.
        last_only: only the last entry of each key, and without values.

    Attributes:
        skipped: what was no entry.
    """

    def __init__(self, js: JetStream, bucket: str, filters: str, *, last_only: bool) -> None:
        self._js = js
        self._bucket = bucket
        self._filters = filters
        self._last_only = last_only
        self.skipped = 0

    async def read(self) -> list[Entry]:
        """All entries.

        Raises:
            BucketNotFoundError: there is no such bucket.
            ConnectionLostError: the link died under it again and again.
            ConsumerDeletedError, ConsumerNotFoundError: its consumers were lost again and again.
            NatsError: what `Client.request` raises.
        """
        for attempt in range(_ATTEMPTS):
            self.skipped = 0
            try:
                return await self._attempt()
            except StreamNotFoundError as error:
                raise BucketNotFoundError(f"there is no bucket {self._bucket!r}; was it deleted?") from error
            except (ConsumerDeletedError, ConsumerNotFoundError):
                if attempt == _ATTEMPTS - 1:
                    raise
            except _MissedError:
                continue
        raise ConnectionLostError(
            f"the bucket {self._bucket!r} could not be read from end to end: the link died {_ATTEMPTS} times under it; "
            "read it again",
            sent="maybe",
        )

    async def _attempt(self) -> list[Entry]:
        counters = self._js.client.connection.counters
        link = counters.established
        consumer = await self._js.create_consumer(stream_of(self._bucket), self._config())
        try:
            entries = await self._drain(consumer)
        finally:
            with trio.move_on_after(_CLEANUP_SECONDS, shield=True):
                await self._delete(consumer)
        if counters.established != link:
            raise _MissedError
        return entries

    async def _drain(self, consumer: Consumer) -> list[Entry]:
        entries: list[Entry] = []
        numbered = 0
        while True:
            batch = await consumer.fetch(_BATCH, no_wait=True)
            for message in batch:
                place = message.metadata
                # On one link only the client itself leaves messages out: those whose headers cannot be read.
                self.skipped += place.consumer_sequence - numbered - 1
                numbered = place.consumer_sequence
                entry = entry_of(self._bucket, message)
                if entry is None:
                    self.skipped += 1
                else:
                    entries.append(entry)
            if batch and not batch[-1].metadata.pending:
                return entries
            if not batch:
                self.skipped += max((await consumer.info()).delivered.consumer_seq - numbered, 0)
                return entries

    async def _delete(self, consumer: Consumer) -> None:
        try:
            await self._js.delete_consumer(consumer.stream, consumer.name)
        except NatsError:
            return  # it goes when nobody has used it for a while

    def _config(self) -> ConsumerConfig:
        policy = "last_per_subject" if self._last_only else "all"
        return one_time_consumer(self._js, self._bucket, self._filters, policy, headers_only=self._last_only)


def one_time_consumer(
    js: JetStream, bucket: str, filters: str, policy: str, *, headers_only: bool = False
) -> ConsumerConfig:
    """A consumer of a bucket that nobody else has, and that goes when it is not used."""
    return ConsumerConfig(
        name=f"kv_{js.client.connection.environment.new_identifier()}",
        deliver_policy=policy,  # type: ignore[arg-type]  # one of the literals
        ack_policy="none",
        filter_subject=subject_of(bucket, filters),
        headers_only=headers_only or None,
        inactive_threshold_seconds=_INACTIVE_SECONDS,
        mem_storage=True,
        num_replicas=1,
    )


def entry_of(bucket: str, message: JetStreamMessage) -> Entry | None:
    """The entry that a consumer gave; None when it is none."""
    try:
        place = message.metadata
        return read_entry(
            bucket,
            message.subject,
            message.headers,
            message.payload,
            place.stream_sequence,
            place.timestamp,
            place.pending,
        )
    except (InvalidEntryError, ProtocolError):
        return None

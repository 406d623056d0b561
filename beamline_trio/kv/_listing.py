"""A bucket read once from end to end, by a consumer that is made for it and deleted behind it.

What is written meanwhile may be read too. A consumer that is lost on the way (its server was) is made again, and the
reading begins again. What is no entry is passed over and counted.

Must not stay: what is left behind by a cancellation goes by the server's own clock.
"""

from __future__ import annotations

from typing import Final

import trio

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
        raise AssertionError("unreachable")  # pragma: no cover - the last attempt returns or raises

    async def _attempt(self) -> list[Entry]:
        consumer = await self._js.create_consumer(stream_of(self._bucket), self._config())
        try:
            return await self._drain(consumer)
        finally:
            with trio.move_on_after(_CLEANUP_SECONDS, shield=True):
                await self._delete(consumer)

    async def _drain(self, consumer: Consumer) -> list[Entry]:
        entries: list[Entry] = []
        while True:
            batch = await consumer.fetch(_BATCH, no_wait=True)
            for message in batch:
                entry = entry_of(self._bucket, message)
                if entry is None:
                    self.skipped += 1
                else:
                    entries.append(entry)
            if not batch or not batch[-1].metadata.pending:
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

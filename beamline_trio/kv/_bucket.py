"""A bucket as users hold it: values by key, each with a revision (ADR-8), over a JetStream context.

A write is a publish to the key's subject, whose sequence in the stream is the revision; what must not overwrite says
which sequence it expects. A read is a direct get, and where it decides about a write the leader is asked.

Must not keep anything of the bucket but its name and its configuration as it was when it was opened.
"""

from __future__ import annotations

from typing import Final

from ..connection import Outcome
from ..jetstream import (
    JetStream,
    MessageNotFoundError,
    NoStreamResponseError,
    StoredMessage,
    StreamNotFoundError,
    WrongLastSequenceError,
)
from ..jetstream._management import checkpoints
from ._configuration import BucketStatus, bucket_status
from ._entries import KV_OPERATION, Entry, Operation, read_entry
from ._errors import (
    BucketNotFoundError,
    InvalidEntryError,
    KeyExistsError,
    KeyNotFoundError,
    NotStoredError,
    WrongRevisionError,
)
from ._listing import Listing
from ._names import check_filter, check_key, stream_of, subject_of

_DEFAULT_PREFIX: Final = "$JS.API"
# Whoever loses to others so often in a row, while the key is deleted in between, is told that it exists.
_CREATE_ATTEMPTS: Final = 5


class Bucket:
    """Values by key, with revisions. Made by `create_bucket` and `open_bucket`.

    Every operation waits through an outage and is bounded as `Client.request` is. Cancelled before the write it has
    done nothing; after it, whether a write was stored is unknown: read the key, or write again with the revision that
    was expected, which is stored once.

    Attributes:
        status_when_opened: how it stood then.
        skipped: what lay in the bucket and was no entry (a key or an operation that ADR-8 does not know), and was
            passed over by `keys` and `history`.
    """

    def __init__(self, js: JetStream, status: BucketStatus) -> None:
        self._js = js
        self._stream = stream_of(status.bucket)
        self._write_prefix = "" if js.api_prefix == _DEFAULT_PREFIX else f"{js.api_prefix}."
        self.status_when_opened = status
        self.skipped = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.status_when_opened.bucket

    @property
    def js(self) -> JetStream:
        """The context that it is asked through."""
        return self._js

    async def status(self) -> BucketStatus:
        """How it stands now.

        Raises:
            BucketNotFoundError: it was deleted.
        """
        try:
            return bucket_status(await self._js.stream_info(self._stream))
        except StreamNotFoundError as error:
            raise bucket_not_found(self.name) from error

    # Reading

    @checkpoints
    async def get(self, key: str, *, revision: int | None = None) -> Entry:
        """The value of a key: the last, or the one of a revision.

        With several replicas the last is what one of them has, which may be behind what was stored a moment ago.

        Raises:
            InvalidKeyError, ValueError: key or revision cannot be; nothing was sent.
            KeyNotFoundError: there is no value, or that revision is another key's, or gone.
            InvalidEntryError: what lies there is no entry.
            BucketNotFoundError: the bucket was deleted.
        """
        check_key(key)
        entry = await self._read(key, revision, direct=True)
        if entry is None:
            raise KeyNotFoundError(self.name, key, text=f"it has no revision {revision}" if revision else "")
        if entry.is_deleted:
            raise KeyNotFoundError(self.name, key, entry.revision)
        return entry

    @checkpoints
    async def keys(self, filters: str = ">") -> list[str]:
        """The keys that have a value, in the order of their revisions.

        Args:
            filters: only keys that meet it; `*` is one token, a last `>` all that follow.

        Raises:
            InvalidKeyError: the filter cannot be; nothing was sent.
            BucketNotFoundError: the bucket was deleted.
        """
        listing = Listing(self._js, self.name, check_filter(filters), last_only=True)
        entries = await listing.read()
        self.skipped += listing.skipped
        return list(dict.fromkeys(entry.key for entry in _newest(entries) if not entry.is_deleted))

    @checkpoints
    async def history(self, key: str) -> list[Entry]:
        """All revisions of a key that the bucket still has, the oldest first, deletions included; [] when none.

        Raises:
            InvalidKeyError: the key cannot be; nothing was sent.
            BucketNotFoundError: the bucket was deleted.
        """
        listing = Listing(self._js, self.name, check_key(key), last_only=False)
        entries = await listing.read()
        self.skipped += listing.skipped
        return entries

    # Writing

    @checkpoints
    async def put(self, key: str, value: bytes | bytearray | memoryview, *, ttl_seconds: float | None = None) -> int:
        """Store a value, whatever was there; returns its revision.

        Args:
            key: where.
            value: what.
            ttl_seconds: the value goes after so long, rounded up to whole seconds. Only in a bucket without history
                (with it, the value before it would come back) that was made with `limit_marker_seconds`.

        Raises:
            InvalidKeyError, TypeError, ValueError, PayloadTooLargeError: nothing was sent.
            NotStoredError: the client fails open, and had no connection.
            BucketNotFoundError: the bucket was deleted.
            NatsError: what `JetStream.publish` raises.
        """
        check_key(key)
        self._check_ttl(ttl_seconds)
        return await self._write(key, value, ttl_seconds=ttl_seconds)

    @checkpoints
    async def create(self, key: str, value: bytes | bytearray | memoryview, *, ttl_seconds: float | None = None) -> int:
        """Store a value if the key has none, or was deleted or has expired; returns its revision.

        Of those who race, one creates.

        Args:
            key: where.
            value: what.
            ttl_seconds: as of `put`, and with history too: what is before it is a deletion.

        Raises:
            KeyExistsError: it has a value; nothing was stored.
            NatsError: as `put`.
        """
        check_key(key)
        if ttl_seconds is not None:
            self._check_markers()
        expected = 0
        for _ in range(_CREATE_ATTEMPTS):
            try:
                return await self._write(key, value, expected=expected, ttl_seconds=ttl_seconds)
            except WrongRevisionError:
                expected = await self._deleted_revision(key)
        raise KeyExistsError(self.name, key, expected)

    @checkpoints
    async def update(
        self, key: str, value: bytes | bytearray | memoryview, revision: int, *, ttl_seconds: float | None = None
    ) -> int:
        """Store a value if the key's last revision is this one; returns the new revision.

        Args:
            key: where.
            value: what.
            revision: of the last value, or deletion; 0 = there must be none.
            ttl_seconds: as of `put`.

        Raises:
            WrongRevisionError: somebody else was first; nothing was stored.
            NatsError: as `put`.
        """
        check_key(key)
        self._check_ttl(ttl_seconds)
        return await self._write(key, value, expected=revision, ttl_seconds=ttl_seconds)

    @checkpoints
    async def delete(self, key: str, *, revision: int | None = None) -> None:
        """Delete a key's value; its history stays. A key that is not there is no error.

        Args:
            key: which.
            revision: only if this is its last.

        Raises:
            WrongRevisionError: it is not; nothing was stored.
            NatsError: as `put`.
        """
        check_key(key)
        await self._write(key, b"", {KV_OPERATION: Operation.DELETE.value}, revision)

    @checkpoints
    async def purge(self, key: str, *, revision: int | None = None, ttl_seconds: float | None = None) -> None:
        """Delete a key with its history. A key that is not there is no error.

        Args:
            key: which.
            revision: only if this is its last.
            ttl_seconds: the deletion goes after so long, and nothing is left of the key; the bucket must have been made
                with `limit_marker_seconds`.

        Raises:
            WrongRevisionError: it is not; nothing was stored.
            NatsError: as `put`.
        """
        check_key(key)
        if ttl_seconds is not None:
            self._check_markers()
        headers = {KV_OPERATION: Operation.PURGE.value, "Nats-Rollup": "sub"}
        await self._write(key, b"", headers, revision, ttl_seconds)

    async def _write(
        self,
        key: str,
        value: bytes | bytearray | memoryview,
        headers: dict[str, str] | None = None,
        expected: int | None = None,
        ttl_seconds: float | None = None,
    ) -> int:
        try:
            ack = await self._js.publish(
                self._write_prefix + subject_of(self.name, key),
                value,
                headers=headers,
                expected_last_subject_sequence=expected,
                ttl_seconds=ttl_seconds,
                raise_unmet=True,
            )
        except WrongLastSequenceError as error:
            raise WrongRevisionError(self.name, key, expected or 0, error.description) from error
        except NoStreamResponseError as error:
            raise bucket_not_found(self.name) from error
        if ack.outcome is Outcome.SKIPPED:
            raise NotStoredError(
                f"the key {key!r} of the bucket {self.name!r} was not stored: the client fails open, unconnected"
            )
        return ack.sequence

    async def _read(self, key: str, revision: int | None, *, direct: bool) -> Entry | None:
        """What lies under a key, also a deletion; None when there is nothing."""
        subject = subject_of(self.name, key)
        try:
            message = await self._js.get_message(
                self._stream, sequence=revision, subject=subject if revision is None else None, direct=direct
            )
        except MessageNotFoundError:
            return None
        except StreamNotFoundError as error:
            raise bucket_not_found(self.name) from error
        return self._entry(message) if message.subject == subject else None

    def _entry(self, message: StoredMessage) -> Entry:
        return read_entry(self.name, message.subject, message.headers, message.payload, message.sequence, message.time)

    async def _deleted_revision(self, key: str) -> int:
        """The revision of a key's deletion; 0 when nothing is left of it.

        Raises:
            KeyExistsError: it has a value, or something that is no entry.
        """
        try:
            entry = await self._read(key, None, direct=False)
        except InvalidEntryError as error:
            raise KeyExistsError(self.name, key, error.revision) from error
        if entry is None:
            return 0
        if not entry.is_deleted:
            raise KeyExistsError(self.name, key, entry.revision, entry)
        return entry.revision

    def _check_ttl(self, ttl_seconds: float | None) -> None:
        if ttl_seconds is None:
            return
        self._check_markers()
        if self.status_when_opened.history > 1:
            raise ValueError(
                f"ttl_seconds is given and the bucket {self.name!r} keeps {self.status_when_opened.history} revisions: "
                "when the value goes, the one before it would come back; use create(), or a bucket with history=1"
            )

    def _check_markers(self) -> None:
        if self.status_when_opened.limit_marker_seconds is None:
            raise ValueError(
                f"ttl_seconds is given and the bucket {self.name!r} was made without limit_marker_seconds; make it with"
            )


def bucket_not_found(name: str) -> BucketNotFoundError:
    """There is no such bucket."""
    return BucketNotFoundError(f"there is no bucket {name!r}; create it with create_bucket(), or check name and domain")


def _newest(entries: list[Entry]) -> list[Entry]:
    """The last entry of each key, in the order of revisions: one that was written during the reading came twice."""
    return sorted({entry.key: entry for entry in entries}.values(), key=lambda entry: entry.revision)

"""Errors of buckets: one class per reaction of the caller. Must not be raised for what another stage's error says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol import InvalidSubjectError, NatsError

if TYPE_CHECKING:
    from ._entries import Entry


class KeyValueError(NatsError):
    """Base of the errors that keys and values add.

    Attributes:
        key: which key; empty where it is not about one.
        revision: what the class says; 0 where there is none.
    """

    def __init__(self, text: str, key: str = "", revision: int = 0) -> None:
        super().__init__(text)
        self.key = key
        self.revision = revision


class InvalidKeyError(KeyValueError, InvalidSubjectError):
    """The name of a key or bucket breaks the rule of ADR-8. Nothing was sent."""


class BucketNotFoundError(KeyValueError):
    """There is no such bucket."""


class BucketExistsError(KeyValueError):
    """There is a bucket of the name with another configuration."""


class NotABucketError(KeyValueError):
    """The stream of that name is no bucket."""


class KeyNotFoundError(KeyValueError):
    """The bucket has no value for the key.

    Attributes:
        revision: of its deletion, where it was deleted and the bucket remembers that; else 0.
    """

    def __init__(self, bucket: str, key: str, revision: int = 0, text: str = "") -> None:
        why = text or (f"it was deleted (revision {revision})" if revision else "it was never stored, or is gone")
        found = f"the bucket {bucket!r} has no value for the key {key!r}: {why}"
        super().__init__(f"{found}; create() or put() stores one", key, revision)


class KeyExistsError(KeyValueError):
    """`create` found a value: somebody else was first. Nothing was stored.

    Attributes:
        revision: of the value that is there.
        entry: what is there; None where it is no entry, or where others were first again and again.
    """

    def __init__(self, bucket: str, key: str, revision: int, entry: Entry | None = None) -> None:
        found = f"the bucket {bucket!r} has a value for the key {key!r} (revision {revision})"
        super().__init__(f"{found}; nothing was stored: read it with get(), or change it with update()", key, revision)
        self.entry = entry


class WrongRevisionError(KeyValueError):
    """The key's last revision is another than was expected: somebody else was first. Nothing was stored.

    Attributes:
        revision: that was expected.
    """

    def __init__(self, bucket: str, key: str, revision: int, said: str) -> None:
        found = f"the last revision of the key {key!r} in the bucket {bucket!r} is not {revision} (the server: {said})"
        super().__init__(f"{found}; nothing was stored: read it with get(), and decide again", key, revision)


class InvalidEntryError(KeyValueError):
    """What lies under a key cannot be understood: somebody stored it by other means. Overwrite or purge the key.

    Attributes:
        revision: of that message.
    """

    def __init__(self, bucket: str, key: str, revision: int, why: str) -> None:
        found = f"what lies under the key {key!r} in the bucket {bucket!r} (revision {revision}) is no entry: {why}"
        super().__init__(f"{found}; put() or purge() it", key, revision)


class NotStoredError(KeyValueError):
    """The client fails open and had no connection: nothing was stored, and a revision cannot be given."""

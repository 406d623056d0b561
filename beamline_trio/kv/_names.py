"""Names of buckets and keys (ADR-8), checked before a byte leaves, and the subjects that they are.

    bucket b                  the stream KV_b with the subjects $KV.b.>
    key a.b of the bucket b   the subject $KV.b.a.b

Must not send.
"""

from __future__ import annotations

import re
from typing import Final

from ._errors import InvalidKeyError

STREAM_PREFIX: Final = "KV_"
_BUCKET: Final = re.compile(r"[A-Za-z0-9_-]+")
_KEY: Final = re.compile(r"[-/_=A-Za-z0-9]+(?:\.[-/_=A-Za-z0-9]+)*")
_FILTER: Final = re.compile(r"(?:\*|[-/_=A-Za-z0-9]+)(?:\.(?:\*|[-/_=A-Za-z0-9]+))*(?:\.>)?|>")
_RESERVED: Final = "_kv"
# A stream's name has at most 255 characters. A key has no limit of its own, but a line of the protocol has.
_BUCKET_CHARACTERS_MAX: Final = 255 - len(STREAM_PREFIX)
KEY_CHARACTERS_MAX: Final = 1024


def check_bucket(name: str) -> str:
    """Check the name of a bucket.

    Raises:
        InvalidKeyError: it breaks the rule.
        TypeError: it is no str.
    """
    _check_str("bucket", name)
    if not _BUCKET.fullmatch(name) or len(name) > _BUCKET_CHARACTERS_MAX:
        raise InvalidKeyError(
            f"the bucket {name[:64]!a} must have 1 to {_BUCKET_CHARACTERS_MAX} of the characters A-Z a-z 0-9 _ -"
        )
    return name


def check_key(key: str) -> str:
    """Check a key.

    Raises:
        InvalidKeyError: it breaks the rule.
        TypeError: it is no str.
    """
    _check_str("key", key)
    if not is_key(key):
        raise InvalidKeyError(
            f"the key {key[:64]!a} must have 1 to {KEY_CHARACTERS_MAX} of the characters A-Z a-z 0-9 - / _ = and "
            f"single dots between them, and not begin with {_RESERVED}; encode what else is to be in it"
        )
    return key


def is_key(key: str) -> bool:
    """Whether a key keeps the rule."""
    return len(key) <= KEY_CHARACTERS_MAX and bool(_KEY.fullmatch(key)) and not key.startswith(_RESERVED)


def check_filter(pattern: str) -> str:
    """Check a pattern of keys, in which `*` is a token and a last `>` all that follow.

    Raises:
        InvalidKeyError: it breaks the rule.
        TypeError: it is no str.
    """
    _check_str("filter", pattern)
    if len(pattern) > KEY_CHARACTERS_MAX or not _FILTER.fullmatch(pattern):
        raise InvalidKeyError(f"the filter {pattern[:64]!a} must be a key in which tokens may be *, and the last one >")
    return pattern


def stream_of(bucket: str) -> str:
    """The stream of a bucket."""
    return STREAM_PREFIX + bucket


def subject_of(bucket: str, key: str) -> str:
    """The subject of a key, or of a filter."""
    return f"$KV.{bucket}.{key}"


def key_of(bucket: str, subject: str) -> str:
    """The key of a subject in a bucket's stream."""
    return subject.removeprefix(subject_of(bucket, ""))


def _check_str(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"the {what} must be a str, not {type(value).__name__}")

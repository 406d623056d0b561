"""The two accounts of a server: the one of its users, and the system's, where servers tell of themselves.

What is subscribed to in the system account is kept, and sent between servers, with a prefix that no client can send; no
subscription of the other account meets it. Clients see their subjects without it.

Must not know subscriptions.
"""

from __future__ import annotations

from typing import Final

USERS: Final = b""
# Not to be parted, and with a byte that ends a client's line.
SYSTEM: Final = b"\n$SYS."


def account_of(subject: bytes) -> bytes:
    """The prefix of the account that a subject is kept in."""
    return SYSTEM if subject.startswith(SYSTEM) else USERS


def as_seen(subject: bytes) -> bytes:
    """A subject as clients see it."""
    return subject[len(SYSTEM) :] if subject.startswith(SYSTEM) else subject

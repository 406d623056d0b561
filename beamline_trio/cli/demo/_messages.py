"""What travels in the demo: subjects, ids as payloads, ranges of ids in the receiver's lines, and its one command.

Even ids are requests, odd ones are forwarded. Must not know clients.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# The router's two routes.
REQUEST_SUBJECT: Final = "demo.request"
FORWARD_SUBJECT: Final = "demo.forward"
# The second subjects, where the receiver is.
RECEIVER_REQUEST_SUBJECT: Final = "demo.receiver.request"
RECEIVER_FORWARD_SUBJECT: Final = "demo.receiver.forward"
# What the receiver is told on its stdin when it shall tell its book.
FINISH: Final = b"finish\n"


def is_request(identifier: int) -> bool:
    """Whether a message takes the request/reply route."""
    return identifier % 2 == 0


def encode_id(identifier: int) -> bytes:
    """The payload of a message."""
    return b"%d" % identifier


def decode_id(payload: bytes) -> int:
    """The id in a payload."""
    return int(payload)


def to_ranges(identifiers: Iterable[int]) -> list[list[int]]:
    """Ids as sorted [first, last] pairs of consecutive ones: a book of a long run fits into a short line."""
    ranges: list[list[int]] = []
    for identifier in sorted(identifiers):
        if ranges and identifier <= ranges[-1][1] + 1:
            ranges[-1][1] = identifier
        else:
            ranges.append([identifier, identifier])
    return ranges


def from_ranges(ranges: Iterable[Iterable[int]]) -> set[int]:
    """The ids that `to_ranges` was given."""
    return {identifier for first, last in ranges for identifier in range(first, last + 1)}

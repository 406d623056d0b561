"""The streams' names and subjects, and what a message says: its number, and nothing else that matters.

Must not know clients.
"""

from __future__ import annotations

from typing import Final

WORK: Final = "WORK"
DONE: Final = "DONE"
DEAD: Final = "DEAD"
# Messages that are published twice, and are to be done once.
ONCE: Final = "ONCE"
ROUTE: Final = "work"
_PADDING: Final = b" " + b"." * 100


def stream_name(kind: str, region: str) -> str:
    """The name of the stream of this kind that is at home in a region; empty = there are no regions."""
    return f"{kind}_{region.upper()}" if region else kind


def subject_prefix(kind: str, region: str) -> str:
    """What the subjects of that stream begin with."""
    return f"{kind.lower()}.{region}" if region else kind.lower()


def payload_of(number: int) -> bytes:
    """What a message carries: its number, and about as much beside it as an order has."""
    return b"%d" % number + _PADDING


def number_of(payload: bytes) -> int:
    """The number of a message, or of what it led to.

    Raises:
        ValueError: it is not as it was published.
    """
    number = int(payload[: -len(_PADDING)])
    if payload != payload_of(number):
        raise ValueError(f"the payload of message {number} was changed on its way: {payload!r}")
    return number

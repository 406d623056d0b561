"""Streams that were legal once, with bytes changed, lost, doubled and put in; fed whole and in pieces, and compared.

Must not know how many are wanted, or what they cost.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from tests.protocol._recorder import parse_or_refuse, split
from tests.protocol._streams import OPERATIONS

# Bounds so tight that half of OPERATIONS come near them, for every other stream. A parser for small payloads takes
# long to make, so those are fewer.
TIGHT: Final = {"control_line_bytes_max": 24, "info_bytes_max": 60, "header_bytes_max": 22}
BOUNDS: Final[tuple[dict[str, int], ...]] = ({}, TIGHT) * 8 + ({}, {**TIGHT, "payload_bytes_max": 30})


class Compared(NamedTuple):
    """What became of a stream."""

    refused: bool
    events: int


def compared(rng: random.Random, number: int) -> Compared:
    """Feed one mutated stream whole and cut at two sets of places.

    Raises:
        AssertionError: it meant something else when it was cut.
    """
    stream = mutated(rng)
    bounds = BOUNDS[number % len(BOUNDS)]
    whole = parse_or_refuse([stream], **bounds)
    for _ in range(2):
        points = [rng.randrange(len(stream) + 1) for _ in range(rng.randrange(1, 5))]
        assert parse_or_refuse(split(stream, points), **bounds) == whole, (number, stream, points)
    return Compared(whole[1] is None, len(whole[0]))


_JUNK: Final = (
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b"0",
    b"9",
    b"99999999999",
    b"-1",
    b"\x00",
    b"\xff",
    b"MSG",
    b"HMSG a 1 ",
    b"{",
    b"'",
)


def mutated(rng: random.Random) -> bytes:
    """A few legal operations, changed at up to three places."""
    stream = bytearray(b"".join(rng.choices(OPERATIONS, k=rng.randrange(1, 7))))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(stream) + 1)
        span = slice(at, at + rng.randrange(1, 12))
        match rng.randrange(6):
            case 0 if at < len(stream):
                stream[at] = rng.randrange(256)
            case 1 if at < len(stream):
                stream[at] ^= 1 << rng.randrange(8)
            case 2:
                del stream[span]
            case 3:
                stream[at:at] = stream[span]
            case 4:
                stream[at:at] = rng.choice(_JUNK)
            case _:
                stream[at : at + 1] = rng.choice(_JUNK)
    return bytes(stream)

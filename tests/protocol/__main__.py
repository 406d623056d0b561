"""`python -m tests.protocol --streams 1000000`: mutated streams under the parser, and what they cost in memory.

Each stream must mean the same however it is cut, raise nothing but a ProtocolError, and leave nothing behind: after the
first tenth neither the blocks of Python's allocator nor the resident memory may grow with the number of streams.

Exit code 1 when memory grew; a stream that surprises is a traceback with the stream.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.protocol._mutated import compared

# A leak of one object in a hundred streams would be 9,000 blocks in the nine tenths of a million that are measured.
BLOCKS_MAX: Final = 2_000
RESIDENT_MB_MAX: Final = 4.0


class Memory(NamedTuple):
    """What this process holds."""

    blocks: int
    resident_mb: float


def memory_now() -> Memory:
    """After a full collection."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Memory(sys.getallocatedblocks(), pages * resource.getpagesize() / 1e6)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.protocol")
    parser.add_argument("--streams", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    began = time.monotonic()
    refused = events = 0
    settled = memory_now()
    for number in range(options.streams):
        result = compared(rng, number)
        refused += result.refused
        events += result.events
        if number == options.streams // 10:
            settled = memory_now()
    now = memory_now()
    grown = Memory(now.blocks - settled.blocks, now.resident_mb - settled.resident_mb)
    print(
        f"{options.streams:,} mutated streams of seed {options.seed} in {time.monotonic() - began:.0f} s: "
        f"{events:,} events, {100 * refused / options.streams:.1f} % refused, none surprised; memory grew by "
        f"{grown.blocks:,} blocks and {grown.resident_mb:.2f} MB after the first tenth"
    )
    flat = grown.blocks <= BLOCKS_MAX and grown.resident_mb <= RESIDENT_MB_MAX
    if not flat:
        print(f"memory is not flat: the limits are {BLOCKS_MAX:,} blocks and {RESIDENT_MB_MAX} MB")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())

"""What this process holds, as the operating system sees it: descriptors, threads, memory. Linux only.

Must not know what is measured.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def descriptors() -> dict[int, str]:
    """Open descriptors and what they lead to."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[int(entry.name)] = os.readlink(entry)
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found


def threads() -> set[threading.Thread]:
    """The threads that run."""
    return set(threading.enumerate())


def resident_bytes() -> int:
    """Memory of the process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES

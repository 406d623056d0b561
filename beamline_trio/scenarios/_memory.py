"""How large a process is: what it has in memory (resident), as the system tells.

Must not judge.
"""

from __future__ import annotations

import os
from typing import Final

_LINE_BYTES_MAX: Final = 200
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int | None = None) -> int | None:
    """What a process has in memory; None where the system does not tell, or it is gone.

    Args:
        pid: of the process; None = this one.
    """
    try:
        with open(f"/proc/{'self' if pid is None else pid}/statm", "rb", buffering=0) as file:
            return int(file.read(_LINE_BYTES_MAX).split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None

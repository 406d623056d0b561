"""How large a process is: what it has in memory (resident), as the system tells.

Must not judge.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_PROCESSES: Final = Path("/proc")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int | None = None) -> int | None:
    """What a process has in memory; None where the system does not tell, or it is gone.

    Args:
        pid: of the process; None = this one.
    """
    try:
        text = (_PROCESSES / ("self" if pid is None else str(pid)) / "statm").read_text(encoding="ascii")
        return int(text.split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None

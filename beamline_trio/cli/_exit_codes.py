"""What the exit codes of `beamline` mean.

Must not import anything: the entry needs them before the libraries of the command line are known to be there.
"""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
USAGE_ERROR: Final = 2
INTERRUPTED: Final = 130  # as a shell reports a program that SIGINT ended

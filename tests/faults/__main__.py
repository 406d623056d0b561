"""`python -m tests.faults`: all cells of fault injection before both servers, and the table of what they have proven.

The exit code is 0 when every cell has proven everything in the simulation, and before the real server too; where there
is no nats-server only the count says so.
"""

from __future__ import annotations

import sys

import pytest

from tests.faults._table import Table

_FILES = ("tests/faults/test_fault_cells.py", "tests/integration/test_fault_cells_real.py")


def main() -> int:
    """Run, and print."""
    table = Table()
    code = pytest.main(["-q", "--tb=short", *_FILES, *sys.argv[1:]], plugins=[table])
    print("", *table.lines(), sep="\n")
    return int(code) if code else int(not table.complete)


if __name__ == "__main__":
    sys.exit(main())

"""Which lines of the package's functions the workload comes by, as JSON: path -> lines.

    python -m tests.mutants._lines SEEDS STAGE...

Must not know mutants.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import beamline_trio

_PACKAGE = Path(beamline_trio.__file__).parent


def main(seeds: int, stages: list[str]) -> None:
    """See the module."""
    from beamline_trio.simulation import run_scenario

    from ._workload import scenario

    logging.disable(logging.CRITICAL)
    followed = {str(file) for stage in stages for file in (_PACKAGE / stage).glob("*.py")}
    seen: dict[CodeType, set[int]] = {}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code.co_filename not in followed:
            return None
        lines = seen.setdefault(code, set())

        def follow(frame: FrameType, event: str, argument: Any) -> Any:
            lines.add(frame.f_lineno)
            return follow

        return follow

    sys.settrace(trace)
    for seed in range(1, seeds + 1):
        run_scenario(scenario, seed)
    sys.settrace(None)
    found: dict[str, set[int]] = {}
    for code, lines in seen.items():
        found.setdefault(Path(code.co_filename).relative_to(_PACKAGE).as_posix(), set()).update(lines)
    json.dump({path: sorted(lines) for path, lines in sorted(found.items())}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

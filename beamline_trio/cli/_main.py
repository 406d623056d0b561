"""The entry of `beamline`: what must hold before its libraries are imported.

Must not import anything of the extra [cli] itself.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Final

from ._exit_codes import INTERRUPTED, USAGE_ERROR

_LIBRARIES: Final = ("typer", "rich", "h11")


def main() -> int:
    """Run the command line of this process; returns the exit code."""
    try:
        missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
        if missing:
            print(
                f"beamline: the command line needs {', '.join(missing)}; pip install 'beamline-trio[cli]'",
                file=sys.stderr,
            )
            return USAGE_ERROR
        from ._app import run_app

        return run_app()
    except KeyboardInterrupt:
        return INTERRUPTED

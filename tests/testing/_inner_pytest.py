"""pytest as a user runs it: a process of its own, in a directory of its own, with the plugin.

Where the package is installed its entry point brings the plugin; in a source tree it is named.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import attrs

import beamline_trio

LIMIT_SECONDS: Final = 100
_PLUGIN: Final = "beamline_trio.testing._plugin"
_OUTCOME: Final = re.compile(r"^(PASSED|FAILED|ERROR) [^\s:]+::(.+?)(?: - .*)?$", re.MULTILINE)


@attrs.frozen
class Result:
    """What came of it."""

    code: int
    out: str

    def outcomes(self) -> dict[str, str]:
        """The name of each test and what became of it, from the summary."""
        return {name: what for what, name in _OUTCOME.findall(self.out)}


def run_pytest(directory: Path, *arguments: str, trio_mode: bool = True, executable: str | None = None) -> Result:
    """Run the tests in a directory; `executable` is the nats-server it finds, None = the one there is."""
    ini = f"[pytest]\ntrio_mode = {str(trio_mode).lower()}\nfilterwarnings = error\naddopts = --strict-markers\n"
    (directory / "pytest.ini").write_text(ini)
    named = importlib.metadata.entry_points(group="pytest11", name="beamline")
    plugin = [] if any(point.value == _PLUGIN for point in named) else ["-p", _PLUGIN]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(Path(beamline_trio.__file__).parents[1])
    # Byte code that the runs of a session share: without it each would compile all of the package.
    environment |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(directory.parent / "byte_code")}
    if executable is not None:
        environment["NATS_SERVER"] = executable
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, "-rA", "-p", "no:cacheprovider", "--color=no", *arguments],
        cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS,
    )  # fmt: skip
    return Result(done.returncode, done.stdout + done.stderr)

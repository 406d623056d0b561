"""The fixture of the suites, and the file in which they say what each fault looked like.

With BEAMLINE_FAILURES=<file> a run writes what `Scene.fault` noted, for docs/failure_tables.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from beamline_trio.testing import EitherServer
from tests.integration.suites._scene import Scene, open_scene

_NOTED: Final[list[dict[str, Any]]] = []


@pytest.fixture
async def scene(request: pytest.FixtureRequest, nats: EitherServer) -> AsyncGenerator[Scene]:
    """The stage of one case."""
    async with open_scene(nats) as scene:
        yield scene
    node = request.node
    case = {"suite": node.path.stem, "case": node.name.partition("[")[0], "simulated": nats.simulated}
    _NOTED.extend(case | attrs.asdict(report) for report in scene.reports)


@pytest.fixture(scope="session", autouse=True)
def _failures_file() -> Any:
    """Write down what was noted when the run is over."""
    yield
    if file := os.environ.get("BEAMLINE_FAILURES"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(json.dumps(_NOTED, indent=1), encoding="utf-8")

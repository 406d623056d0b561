"""The walk-through of docs/operation/staging.md: its commands are run, and print what the page shows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beamline_trio.server_process import ServerNotFoundError, find_nats_server
from beamline_trio.server_process._ports import choose_port
from tests._documents import DOCS, ROOT, text_of

PAGE = DOCS / "operation" / "staging.md"
PORTS = ("4222", "9001", "9090")
TOOLS = ("bash", "curl", "prometheus", "promtool")
LIMIT_SECONDS = 110
_BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]


def server() -> Path | None:
    try:
        return find_nats_server()
    except ServerNotFoundError:
        return None


def steps(ports: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Each block of commands, and the lines that it must print."""
    text = re.sub(r"\b(?:4222|9001|9090)\b", lambda found: ports[found[0]], text_of(PAGE))
    found: list[tuple[str, list[str]]] = []
    for kind, block in _BLOCK.findall(text):
        if kind == "sh":
            found.append((block, []))
        else:
            found[-1][1].extend(block.splitlines())
    return found


def script(ports: dict[str, str]) -> str:
    """One program of all blocks, which says where each begins; whatever it has started ends with it."""
    ends = "trap 'kill -9 $(jobs -pr) 2> /dev/null' EXIT"
    marked = [f"echo '=== {number}'\n{block}" for number, (block, _) in enumerate(steps(ports))]
    return "\n".join([ends, *marked, "echo '=== end'"])


def test_every_block_of_the_walk_through_is_a_step() -> None:
    """The page deploys, scrapes, injects, recovers and takes down; what is printed is compared in most steps."""
    told = steps({port: port for port in PORTS})
    assert len(told) >= 8
    assert sum(bool(lines) for _, lines in told) >= 7
    assert "beamline run" in told[0][0]


@pytest.mark.slow
@pytest.mark.skipif(bool(_MISSING), reason=f"{', '.join(_MISSING)} not on PATH")
@pytest.mark.skipif(server() is None, reason="there is no nats-server")
def test_the_walk_through_staging_goes_as_it_is_written(tmp_path: Path) -> None:
    """Every command of the page runs in its order, at other ports, and prints the lines that the page shows."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    ports = {port: str(choose_port("127.0.0.1")) for port in PORTS}
    executable = server()
    assert executable is not None
    path = os.pathsep.join([str(Path(sys.executable).parent), str(executable.parent), os.environ["PATH"]])
    process = subprocess.Popen(
        ["bash", "-u"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=os.environ | {"PATH": path}, start_new_session=True,
    )  # fmt: skip
    try:
        printed, _ = process.communicate(script(ports), timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its own session: the script and what it has started
        printed, _ = process.communicate()
        pytest.fail(f"the walk stopped:\n{printed}")
    parts = re.split(r"^=== \w+\n", printed, flags=re.MULTILINE)[1:]
    assert "=== end" in printed, printed
    for (block, wanted), part in zip(steps(ports), parts, strict=False):
        for line in wanted:
            assert line in part, f"{line!r} is not in what this has printed:\n{block}\n{part}"

"""The examples as their readers run them: in a process of their own, on a real nats-server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from beamline_trio import NoRespondersError, open_client
from beamline_trio.server_process import Server

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
# As the script `beamline` does: without the working directory on the path.
BEAMLINE = (sys.executable, "-P", "-c", "import sys; from beamline_trio.cli import main; sys.exit(main())")
LIMIT_SECONDS = 30.0


def environment() -> dict[str, str]:
    """This process's, with its path to the package, and without a server to prefer."""
    found = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return {name: value for name, value in found.items() if not name.startswith("NATS_")}


@pytest.mark.server_options(jetstream=True)
@pytest.mark.parametrize("program", ["first.py", "jetstream.py"])
async def test_an_example_prints_what_the_readme_says(nats_server: Server, program: str) -> None:
    """It ends by itself, and prints the lines that the README shows."""
    with trio.fail_after(LIMIT_SECONDS):
        done = await trio.run_process(
            [sys.executable, str(EXAMPLES / program), nats_server.url],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    assert done.stderr == b""
    assert done.returncode == 0
    assert f"```text\n{done.stdout.decode()}```" in (ROOT / "README.md").read_text(encoding="utf-8")


async def test_the_regions_need_no_server_and_print_what_the_readme_says() -> None:
    """The simulation is in it; what is told besides are log records."""
    with trio.fail_after(4 * LIMIT_SECONDS):  # it computes, where the others wait
        done = await trio.run_process(
            [sys.executable, str(EXAMPLES / "regions.py")],
            capture_stdout=True,
            capture_stderr=True,
            env=environment(),
        )
    assert f"```text\n{done.stdout.decode()}```" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert b"REGION_CUT" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.server_options(jetstream=True)
async def test_the_orders_pipeline_prints_what_its_page_says(nats_server: Server) -> None:
    """It ends by itself, and prints the lines that docs/examples/orders-pipeline.md shows."""
    with trio.fail_after(LIMIT_SECONDS):
        done = await trio.run_process(
            [sys.executable, str(EXAMPLES / "orders_pipeline.py"), nats_server.url],
            capture_stdout=True,
            capture_stderr=True,
            env=environment(),
        )
    page = (ROOT / "docs" / "examples" / "orders-pipeline.md").read_text(encoding="utf-8")
    assert f"```text\n{done.stdout.decode()}```" in page


@asynccontextmanager
async def beamline_run(directory: Path, target: str, url: str) -> AsyncGenerator[trio.Process]:
    """`beamline run` in a directory; what is left of it afterwards is killed."""
    process = await trio.lowlevel.open_process(
        [*BEAMLINE, "run", target, "--nats", url, "--metrics-port", "0"],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()
        assert process.stdout is not None
        await process.stdout.aclose()


@pytest.mark.parametrize(
    "directory, target", [(ROOT, "examples.router:router"), (EXAMPLES, "router:router")], ids=["root", "examples"]
)
async def test_the_router_example_runs(nats_server: Server, directory: Path, target: str) -> None:
    """By both its names it answers, answers an error, lives on, prints what was created, and drains on SIGTERM."""
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client(nats_server.url) as nc, beamline_run(directory, target, nats_server.url) as process:
            assert process.stdout is not None
            while True:
                try:
                    assert (await nc.request("price.get", b"book")).payload == b"12.50"
                    break
                except NoRespondersError:  # it is still starting
                    assert process.returncode is None
                    await trio.sleep(0.02)
            refused = await nc.request("price.get", b"unknown")
            assert refused.headers["Nats-Service-Error-Code"] == "500"
            assert (await nc.request("price.get", b"pen")).payload == b"1.20"
            said = b""
            while b"orders.7.created book" not in said:
                await nc.publish("orders.7.created", b"book")  # its second route starts behind the first
                with trio.move_on_after(0.2):
                    said += bytes(await process.stdout.receive_some())
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0

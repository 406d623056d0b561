"""Programs of one's own as processes, and the load balancer before their pages."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from beamline_trio.server_process import (
    Program,
    ProgramOptions,
    ServerNotRunningError,
    ServerStartError,
    find_haproxy,
    open_load_balancer,
    open_program,
)
from beamline_trio.server_process._monitoring import status_of
from beamline_trio.server_process._ports import choose_port
from beamline_trio.server_process._program import ready

from ._waiting import eventually
from .rolling import Report, run_rolling

SERVED = Report(
    restarts=3, exit_codes={0}, samples=40, ready_least=2, balancer=(40, 40), requests=9, published=5, done=5
)
SERVER = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if self.path == "/never" else 200)
        self.end_headers()
        self.wfile.write(sys.argv[2].encode())
    def log_message(self, *_):
        pass
print("it says this", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


def options(path: str = "/readyz", text: str = "x", seconds: float = 20.0) -> ProgramOptions:
    """A program with a page that is always well, and one that never is."""
    port = choose_port("127.0.0.1")
    command = (sys.executable, "-c", SERVER, str(port), text)
    return ProgramOptions(command=command, page=("127.0.0.1", port, path), start_timeout_seconds=seconds)


async def test_it_is_ready_ends_in_order_and_starts_again() -> None:
    """Ready when the block begins; SIGTERM lets it end as it likes, SIGKILL does not; each start is another process."""
    async with open_program(options()) as program:
        assert await program.ready()
        first = program.pid
        with pytest.raises(ServerStartError, match="runs already"):
            await program.start()
        program.terminate()
        assert await program.wait_exit() == 5
        assert not program.running
        assert not await program.ready()
        with pytest.raises(ServerNotRunningError, match="does not run"):
            _ = program.pid
        program.terminate()
        program.kill()
        await program.start()
        assert program.pid != first
        program.kill()
        assert await program.wait_exit() == -signal.SIGKILL


async def test_what_does_not_get_ready_is_an_error_with_its_output() -> None:
    """Not ready in time, or ended before: the error has what it said, and nothing is left."""
    with pytest.raises(ServerStartError, match=r"(?s)start_timeout_seconds\); its output ends:.*it says this"):
        async with open_program(options("/never", seconds=2.0)):
            raise AssertionError
    broken = ProgramOptions(command=(sys.executable, "-c", "raise SystemExit('no luck')"), page=("127.0.0.1", 1, "/"))
    with pytest.raises(ServerStartError, match=r"(?s)ended with exit code 1.*no luck") as caught:
        async with open_program(broken):
            raise AssertionError
    assert caught.value.exit_code == 1
    with pytest.raises(OSError, match="no-such-program"):
        async with open_program(ProgramOptions(command=("/no-such-program",), page=("127.0.0.1", 1, "/"))):
            raise AssertionError


async def test_cancelled_while_starting_nothing_is_left() -> None:
    """The process is killed and reaped (the fixture counts); what was never started cannot be waited for."""
    with trio.move_on_after(0.3) as scope:
        async with open_program(options("/never")):
            raise AssertionError
    assert scope.cancelled_caught
    async with open_program(options()) as program:
        for question in (program.ready, program.wait_exit):
            with trio.CancelScope() as scope:
                scope.cancel()
                await question()
            assert scope.cancelled_caught
        with trio.testing.assert_checkpoints():
            await program.ready()
        assert program.running


def test_it_does_not_outlive_who_has_started_it(tmp_path: Path) -> None:
    """Killed without a chance to clean up, its owner leaves no program behind."""
    port = choose_port("127.0.0.1")
    log = tmp_path / "log"
    owner = f"""
import sys, trio
from pathlib import Path
from beamline_trio.server_process import ProgramOptions, open_program
async def main():
    command = (sys.executable, "-c", {SERVER!r}, "{port}", "x")
    options = ProgramOptions(command=command, page=("127.0.0.1", {port}, "/"), log_file=Path({str(log)!r}))
    async with open_program(options) as program:
        print(program.pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()

    async def gone() -> bool | None:
        try:
            return True if ") Z" in Path(f"/proc/{pid}/stat").read_text() else None
        except OSError:
            return True

    assert trio.run(eventually, gone)
    assert "it says this" in log.read_text()


@contextmanager
def haproxy() -> Generator[Path]:
    found = find_haproxy()
    if found is None:
        pytest.skip("there is no haproxy here")
    yield found


async def test_a_load_balancer_asks_who_is_ready() -> None:
    """One of two is away: every request is answered by the other; with none it says 503."""
    with haproxy() as executable:
        one, two = options(text="one"), options(text="two")
        backends = {"one": one.page[:2], "two": two.page[:2]}
        async with (
            open_program(one) as first,
            open_program(two) as second,
            open_load_balancer(executable, backends) as address,
        ):

            async def well() -> bool | None:
                return await ready(*address, "/readyz") or None

            await eventually(well)
            first.kill()
            for _ in range(50):
                assert await status_of(*address, "/readyz") == 200
            second.kill()
            assert await second.wait_exit()

            async def nobody() -> bool | None:
                return True if await status_of(*address, "/readyz") == 503 else None

            assert await eventually(nobody)


def test_without_haproxy_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, who asked for one is told so, and skips."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert find_haproxy() is None


@pytest.mark.slow
async def test_instances_are_restarted_one_after_another() -> None:
    """At least one is ready at all times, every request is answered, nothing is lost, and nothing is done twice."""
    report = await run_rolling(rounds=1)
    assert report.restarts == 3
    assert report.samples > 20
    assert report.holds, str(report)


def test_a_broken_law_of_a_rolling_restart_is_told() -> None:
    """Each of them alone."""

    def made(**changes: object) -> Report:
        return Report(**{"exit_codes": {0}, "ready_least": 1, "published": 5, "done": 5, **changes})  # type: ignore[arg-type]

    assert made().holds
    assert made(balancer=(7, 7)).holds
    broken: list[dict[str, object]] = [
        {"ready_least": 0}, {"failed": 1}, {"lost": 1}, {"twice": 1}, {"done": 4}, {"exit_codes": {0, 3}},
        {"balancer": (6, 7)}, {"exit_codes": set()},
    ]  # fmt: skip
    assert not any(made(**changes).holds for changes in broken)


def test_a_program_that_was_never_started_has_no_end(tmp_path: Path) -> None:
    """Waiting for it is an error, as is its process id."""

    async def main() -> None:
        program = Program(options(), tmp_path / "log", guard=None)  # type: ignore[arg-type]
        with pytest.raises(ServerNotRunningError, match="never started"):
            await program.wait_exit()
        await program.aclose()

    trio.run(main)


@pytest.mark.parametrize(
    "wrong",
    [
        {"restarts": 0}, {"exit_codes": {0, 1}}, {"samples": 0}, {"ready_least": 0}, {"balancer": (39, 40)},
        {"balancer": (0, 0)}, {"requests": 0}, {"failed": 1}, {"published": 0, "done": 0}, {"done": 4}, {"lost": 1},
        {"twice": 1},
    ],
)  # fmt: skip
def test_a_rolling_restart_in_which_nothing_was_looked_at_has_shown_nothing(wrong: dict[str, Any]) -> None:
    """Neither has one in which a count is wrong; without a load balancer the instances' own word counts."""
    assert SERVED.holds
    assert attrs.evolve(SERVED, balancer=None).holds
    assert not attrs.evolve(SERVED, **wrong).holds

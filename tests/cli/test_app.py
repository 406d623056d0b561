"""The commands: what they print, and with which code they end."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import pytest
import trio

from beamline_trio import Router, __version__
from beamline_trio.cli import _app, main
from beamline_trio.cli._fault_plan import FaultPlan
from beamline_trio.cli._target import Loaded
from beamline_trio.operation import Configuration

Run: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def beamline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Calls `beamline` in an empty directory: exit code, stdout, stderr."""
    before = dict(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for variable in ("NATS_URL", "NATS_SERVERS", "NATS_NAME"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["beamline", *arguments])
        code = main()
        out, err = capsys.readouterr()
        return code, out, err

    yield run
    for name in set(sys.modules) - set(before):
        if name.startswith("user_"):
            del sys.modules[name]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Router, Configuration]]:
    """What `beamline run` would have run."""
    calls: list[tuple[Router, Configuration]] = []

    async def run_router(
        loaded: Loaded, configuration: Configuration, say: Callable[[str], None], faults: FaultPlan | None
    ) -> int:
        await trio.lowlevel.checkpoint()
        calls.append((loaded.router, configuration))
        say("ran")
        return 0

    monkeypatch.setattr(_app, "run_router", run_router)
    return calls


def user_module(name: str = "user_prices") -> str:
    text = """
from beamline_trio import Router
router = Router("prices")
@router.route("price.get")
async def price(message): ...
"""
    Path(f"{name}.py").write_text(text)
    return f"{name}:router"


def test_version_shows_the_versions(beamline: Run) -> None:
    """The package's, Python's and trio's, for a bug report."""
    code, out, err = beamline("version")
    python = ".".join(str(part) for part in sys.version_info[:3])
    assert (code, out, err) == (0, f"beamline_trio {__version__} (Python {python}, trio {trio.__version__})\n", "")


def test_help_names_the_commands(beamline: Run) -> None:
    """Also without any argument, then with exit code 2."""
    for arguments, expected in ((("--help",), 0), ((), 2)):
        code, out, err = beamline(*arguments)
        assert code == expected
        assert "run" in out + err
        assert "version" in out + err


def test_an_unknown_command_or_option_is_a_usage_error(beamline: Run) -> None:
    """Exit code 2, and it says what it did not know."""
    for arguments, word in ((("fly",), "fly"), (("run", "a:b", "--wings"), "--wings"), (("run",), "MODULE:ROUTER")):
        code, _, err = beamline(*arguments)
        assert code == 2
        assert word in err


def test_a_router_here_runs_with_its_profile(beamline: Run, runs: list[tuple[Router, Configuration]]) -> None:
    """MODULE is found in the current directory; without options the configuration is the router's profile."""
    assert beamline("run", user_module()) == (0, "ran\n", "")
    ((router, configuration),) = runs
    assert router.name == "prices"
    assert configuration.client.name == "prices"
    assert configuration.client.reconnect_attempts == 10
    assert configuration.metrics_port == 9001
    assert not configuration.servers_given


def test_options_reach_the_configuration(beamline: Run, runs: list[tuple[Router, Configuration]]) -> None:
    """--nats can be repeated; all win over the file that --config names."""
    Path("beamline.toml").write_text('name = "f"\nmetrics_host = "0.0.0.0"\nping_interval_seconds = 3\n')
    servers = ("--nats", "nats://a:1", "--nats", "nats://b:2")
    others = ("--metrics-port", "0", "--name", "n", "--config", "beamline.toml")
    assert beamline("run", user_module(), *servers, *others)[0] == 0
    ((_, configuration),) = runs
    client = configuration.client
    assert ([one.reveal() for one in client.servers], client.name) == (["nats://a:1", "nats://b:2"], "n")
    assert (configuration.metrics_port, configuration.metrics_host) == (0, "0.0.0.0")
    assert (client.ping_interval_seconds, client.reconnect_attempts) == (3, 10)
    assert configuration.servers_given


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("user_nothing:router",), "no module 'user_nothing'"),
        (("user_prices:rooter",), "module 'user_prices' has no attribute 'rooter'; its routers are router"),
        (("user_prices:Router",), "user_prices:Router is of type type, not a Router"),
        (("user_prices:router", "--metrics-port", "70000"), "metrics_port is 70000"),
        (("user_prices:router", "--nats", "http://h"), "scheme 'http' of http://h"),
        (("user_prices:router", "--config", "nowhere.toml"), "cannot read the configuration nowhere.toml"),
    ],
)
def test_what_cannot_be_run_is_one_line(beamline: Run, arguments: tuple[str, ...], message: str) -> None:
    """Exit code 2, nothing on stdout, one line on stderr with the reason."""
    user_module()
    code, out, err = beamline("run", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"beamline: {message}")
    assert err.count("\n") == 1


def test_the_demo_is_a_command_where_it_is_installed(beamline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its package it is offered, without it everything else works."""

    def demo_command() -> None:
        """Show it."""
        print("shown")

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib, "import_module", lambda _: SimpleNamespace(demo_command=demo_command))
    for spec, expected in ((SimpleNamespace(), (0, "shown\n")), (None, (2, ""))):
        found = {_app._DEMO: spec}
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, found=found: found.get(name) or find(name))
        if spec is None:
            monkeypatch.setattr(_app, "_DEMO", "beamline_trio.cli.not_there")
        code, out, _ = beamline("demo")
        assert (code, out) == expected
        assert beamline("version")[0] == 0


def test_a_closed_terminal_does_not_stop_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that nobody reads is lost, and no error."""
    tried: list[str] = []

    class Closed:
        def write(self, text: str) -> int:
            tried.append(text)
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    _app._say("hello")
    assert "".join(tried).startswith("hello")

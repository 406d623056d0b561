"""What the tests in this directory share: a fresh server for each test that asks for one, and clients of it.

`nats_server` is the process itself. test_core_*.py use `server`, `cluster`, `connect` and `raw` instead (see
`_server`), which say nothing of what kind of server it is: each of these tests runs twice, on the real server in real
time, and on the simulated one in a simulated world, whose runner takes the place of `trio.run`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from beamline_trio import Client, open_client
from beamline_trio.simulation import World, run_in

from ._figures import Figures
from ._real_server import open_real_cluster, open_real_server
from ._server import Connect, ContractServer, RawConnect, RawLink, ServerConfig, open_raw
from ._simulated_server import open_simulated_cluster, open_simulated_server

_WORLD: pytest.StashKey[World] = pytest.StashKey()
_FIGURES: pytest.StashKey[Figures] = pytest.StashKey()
_SEED = 1


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, where its fixture is; begin to count."""
    config.stash[_FIGURES] = Figures()
    config.addinivalue_line("markers", "core_server(**fields): fields of ServerConfig for the fixture server")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was compared."""
    for line in config.stash[_FIGURES].lines():
        terminalreporter.write_line(line)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a test counts what it has compared."""
    return request.config.stash[_FIGURES]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of any server becomes two."""
    if "server_side" in metafunc.fixturenames:
        metafunc.parametrize("server_side", ["real", "simulated"], indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Give those of the simulated server their runner; in front, since pytest-trio takes the first."""
    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and call.params.get("server_side") == "simulated":
            item.add_marker(pytest.mark.trio(run=_runner_of(item)), append=False)


def _runner_of(item: pytest.Item) -> Callable[..., object]:
    def run(async_fn: Callable[..., Awaitable[object]], *args: Any, **options: Any) -> object:
        return run_in(item.stash[_WORLD], async_fn, *args, **options)

    return run


@pytest.fixture
def server_config(request: pytest.FixtureRequest) -> ServerConfig:
    """What the markers say; the closest marker wins, field by field."""
    fields: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("core_server"))):
        fields.update(marker.kwargs)
    return ServerConfig(**fields)


@pytest.fixture
def server_side(request: pytest.FixtureRequest) -> Path | World:
    """Where the test runs: the real server's executable, or a simulated world."""
    if request.param != "simulated":
        executable: Path = request.getfixturevalue("nats_server_executable")
        return executable
    world = request.node.stash[_WORLD] = World(_SEED)
    return world


@pytest.fixture
async def server(server_config: ServerConfig, server_side: Path | World) -> AsyncGenerator[ContractServer]:
    """A server that nobody else uses."""
    async with AsyncExitStack() as stack:
        if isinstance(server_side, World):
            yield await stack.enter_async_context(open_simulated_server(server_config, server_side))
        else:
            yield await stack.enter_async_context(open_real_server(server_config, server_side))


@pytest.fixture
async def cluster(server_side: Path | World) -> AsyncGenerator[Sequence[ContractServer]]:
    """Two servers that have found each other."""
    names = ("a", "b")
    async with AsyncExitStack() as stack:
        if isinstance(server_side, World):
            yield await stack.enter_async_context(open_simulated_cluster(names, server_side))
        else:
            yield await stack.enter_async_context(open_real_cluster(names, server_side))


@pytest.fixture
def connect(server: ContractServer) -> Connect:
    """`open_client` to the server."""

    def open_(url: str | None = None, /, **overrides: Any) -> AbstractAsyncContextManager[Client]:
        return open_client(url or server.url, dialer=server.dialer, **overrides)

    return open_


@pytest.fixture
def raw(server: ContractServer) -> RawConnect:
    """A link to the server for bytes that the library would not send."""

    def open_() -> AbstractAsyncContextManager[RawLink]:
        return open_raw(server)

    return open_

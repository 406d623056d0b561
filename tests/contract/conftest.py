"""What the tests in this directory share: a fresh server for each test that asks for one, and clients of it.

`nats_server` is the process itself. test_core_*.py use `server`, `connect` and `raw` instead (see `_server`), which say
nothing of what kind of server it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from beamline_trio import Client, open_client
from tests import _server_fixture
from tests._server_fixture import nats_server as nats_server
from tests._server_fixture import nats_server_executable as nats_server_executable

from ._real_server import open_real_server
from ._server import Connect, ContractServer, RawConnect, RawLink, ServerConfig, open_raw


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, where their fixtures are."""
    _server_fixture.pytest_configure(config)
    config.addinivalue_line("markers", "core_server(**fields): fields of ServerConfig for the fixture server")


@pytest.fixture
def server_config(request: pytest.FixtureRequest) -> ServerConfig:
    """What the markers say; the closest marker wins, field by field."""
    fields: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("core_server"))):
        fields.update(marker.kwargs)
    return ServerConfig(**fields)


@pytest.fixture
async def server(server_config: ServerConfig, nats_server_executable: Path) -> AsyncGenerator[ContractServer]:
    """A server that nobody else uses."""
    async with open_real_server(server_config, nats_server_executable) as real:
        yield real


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

"""The fixture `nats_server`: a fresh real nats-server for one test.

tests/integration/conftest.py and tests/contract/conftest.py import its names, and so does nothing else: a
unit test that asks for a server should fail to find one.

    @pytest.mark.server_options(jetstream=True, config="max_payload: 4KB")
    async def test_something(nats_server: Server) -> None: ...

The marker takes the fields of `ServerOptions`. On a class or module it gives the defaults of the tests
inside.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from beamline_trio.server_process import Server, ServerNotFoundError, find_nats_server, open_server


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, where its fixture is."""
    config.addinivalue_line("markers", "server_options(**fields): fields of ServerOptions for the fixture nats_server")


@pytest.fixture(scope="session")
def nats_server_executable() -> Path:
    """The real nats-server; without one, the tests that ask for it are skipped and say why."""
    try:
        return find_nats_server()
    except ServerNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
async def nats_server(request: pytest.FixtureRequest, nats_server_executable: Path) -> AsyncGenerator[Server]:
    """A server that nobody else uses, on a free port, gone after the test."""
    fields: dict[str, Any] = {"executable": nats_server_executable}
    for marker in reversed(list(request.node.iter_markers("server_options"))):
        fields.update(marker.kwargs)  # the closest comes last
    async with open_server(**fields) as server:
        yield server

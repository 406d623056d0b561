"""Discovery on a server that refuses `$SRV`."""

from __future__ import annotations

import pytest
import trio

from beamline_trio import PermissionsError, open_client
from beamline_trio.server_process import open_server
from beamline_trio.service import Service, serve_discovery

USERS = 'authorization { users: [{user: u, password: x, permissions: {subscribe: {deny: "$SRV.STATS.>"}}}] }'


async def test_a_refusal_is_told_once(nats_server_executable: object) -> None:
    """One subject that is refused ends it all: the error is bare, and the client lives on."""
    with trio.fail_after(15):
        async with open_server(config=USERS) as server, open_client(server.url, user="u", password="x") as nc:
            with pytest.raises(PermissionsError, match=r"\$SRV.STATS"):
                await serve_discovery(nc, Service(name="a", version="1.0.0"))
            assert not nc.services
            await nc.flush()

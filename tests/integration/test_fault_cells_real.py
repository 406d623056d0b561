"""The cells of fault injection before a real nats-server; see `tests.faults._cells`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from beamline_trio import Client, PermissionsError, open_client
from beamline_trio.faults import FaultDialer, error
from beamline_trio.server_process import Server
from beamline_trio.transport import TCPDialer
from tests.faults._cells import CELLS
from tests.faults._proof import Stage


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)
async def test_cell(cell: Callable[[Stage], Awaitable[None]], nats_server: Server) -> None:
    """The law is the cell's docstring."""
    await cell(Stage(nats_server.url, FaultDialer(TCPDialer()), TCPDialer()))


_PERMISSIONS = 'permissions: { publish: { deny: ">" }, subscribe: { deny: ">" } }'
_DENIES_ALL = f"authorization {{ users: [ {{ user: a, password: b, {_PERMISSIONS} }} ] }}"
_SUBJECTS = ("orders.7", 'a"b\\c', "tab\u200b\u00e9", "\x01\x7f", "\U000e0001", "\a\b\v")


@pytest.mark.server_options(config=_DENIES_ALL)
async def test_injected_refusals_are_the_servers_words(nats_server: Server) -> None:
    """For a user who may nothing, the text of each refusal is that of the same refusal injected."""
    faults = FaultDialer(TCPDialer())
    async with open_client(nats_server.url.replace("nats://", "nats://a:b@"), dialer=faults) as nc:
        texts = await _refusals(nc)
        with faults.inject("publish", error()) as publish, faults.inject("subscribe", error()) as subscribe:
            assert await _refusals(nc) == texts
    assert publish.hits + subscribe.hits == len(texts)


async def _refusals(nc: Client) -> list[str]:
    """The texts of the refusals of every operation."""
    texts: list[str] = []
    with trio.fail_after(10):
        for subject in _SUBJECTS:
            with pytest.raises(PermissionsError) as caught:
                await nc.publish(subject, b"", confirm=True)
            texts.append(caught.value.text)
            for queue_group in (None, "q", 'q"\u200b'):
                async with nc.subscribe(subject, queue_group=queue_group) as sub:
                    with pytest.raises(PermissionsError) as caught:
                        await sub.confirmed()
                    texts.append(caught.value.text)
    return texts

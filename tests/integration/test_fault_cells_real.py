"""The cells of fault injection before a real nats-server; see `tests.faults._cells`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from beamline_trio import Client, NoRespondersError, PermissionsError, open_client
from beamline_trio.faults import FaultDialer, error
from beamline_trio.server_process import Server
from beamline_trio.transport import TCPDialer
from tests.faults._cells import CELLS, Cell
from tests.faults._proof import Stage
from tests.faults._table import REAL, told


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)
@pytest.mark.server_options(jetstream=True)
async def test_cell(cell: Cell, nats_server: Server, record_property: Callable[[str, object], None]) -> None:
    """The law is the cell's docstring."""
    stage = Stage(nats_server.url, FaultDialer(TCPDialer()), TCPDialer())
    with told(record_property, cell.__name__, REAL, stage.proven):
        await cell(stage)


_PERMISSIONS = 'permissions: { publish: { deny: ">" }, subscribe: { deny: ">" } }'
_DENIES_ALL = f"authorization {{ users: [ {{ user: a, password: b, {_PERMISSIONS} }} ] }}"
_SUBJECTS = ("orders.7", "$JS.ACK.ORDERS.w.1.1.1.1.0", 'a"b\\c', "tab\u200b\u00e9", "\x01\x7f", "\U000e0001", "\a\b\v")


@pytest.mark.server_options(config=_DENIES_ALL)
async def test_injected_refusals_are_the_servers_words(nats_server: Server) -> None:
    """For a user who may nothing, the text of each refusal is that of the same refusal injected."""
    faults = FaultDialer(TCPDialer())
    async with open_client(nats_server.url.replace("nats://", "nats://a:b@"), dialer=faults) as nc:
        texts = await _refusals(nc)
        with (
            faults.inject("publish", error()) as publish,
            faults.inject("ack", error()) as ack,
            faults.inject("subscribe", error(), subjects=">") as subscribe,
        ):
            assert await _refusals(nc) == texts
    assert publish.hits + ack.hits + subscribe.hits == len(texts)
    assert ack.hits == 1


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


@pytest.mark.server_options(jetstream=True)
async def test_injected_errors_are_the_streams_words(nats_server: Server) -> None:
    """A full stream, an expectation that fails, no stream, no consumer: the answers are those of the same injected.

    But for the name of the stream, which the fault dialer does not know.
    """
    faults = FaultDialer(TCPDialer())
    reasons = ("maximum messages exceeded", "expected stream does not match", "wrong last sequence: 1")
    with trio.fail_after(10):
        async with open_client(nats_server.url, dialer=faults) as nc:
            stream = {"name": "ORDERS", "subjects": ["orders.>"], "max_msgs": 1, "discard": "new", "storage": "memory"}
            await nc.request("$JS.API.STREAM.CREATE.ORDERS", json.dumps(stream).encode())
            await nc.request("orders.1", b"the first")
            expectations = [{}, {"Nats-Expected-Stream": "OTHER"}, {"Nats-Expected-Last-Sequence": "7"}]
            real = [await _answer(nc, headers) for headers in expectations]
            assert [answer["error"]["description"] for answer in real] == list(reasons)
            injected: list[Any] = []
            for reason in (None, *reasons[1:]):
                with faults.inject("publish_with_ack", error(reason), subjects="orders.>"):
                    injected.append(await _answer(nc, {}) | {"stream": "ORDERS"})
            assert injected == real

            for subject, operation in (("others.1", "publish_with_ack"), ("$JS.ACK.ORDERS.gone.1.1.1.1.0", "ack")):
                with pytest.raises(NoRespondersError):
                    await nc.request(subject, b"+ACK")
                with faults.inject(operation, error("no responders")) as injection, pytest.raises(NoRespondersError):
                    await nc.request(subject, b"+ACK")
                assert injection.hits == 1


async def _answer(nc: Client, headers: dict[str, str]) -> Any:
    """What the stream answers to a publish."""
    return json.loads((await nc.request("orders.1", b"one more", headers=headers)).payload)

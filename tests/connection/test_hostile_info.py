"""Any INFO, first or later: the client lives with it or ends the link with a reason, and nothing in it kills a task."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Final

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio import ConnectError, Disconnected, ServerInfo, State, TLSError, open_client
from beamline_trio.metrics import Collector, JSONLogFormatter
from beamline_trio.protocol import ProtocolError, decode_info
from tests._memory import MemoryDialer, ToyServer, opened, wait_connected

FIELDS: Final = (
    "server_id",
    "server_name",
    "version",
    "host",
    "port",
    "proto",
    "headers",
    "max_payload",
    "auth_required",
    "tls_required",
    "tls_verify",
    "tls_available",
    "jetstream",
    "ldm",
    "connect_info",
    "nonce",
    "client_id",
    "client_ip",
    "ip",
    "cluster",
    "domain",
    "connect_urls",
    "ws_connect_urls",
    "api_lvl",
    "remote_account",
)
texts: Final = st.text(max_size=20) | st.sampled_from(
    ["\ud800", "a\r\nPUB x 0\r\n\r\n", "\x00", "nats://:1", "[::1", "a:b:c", "a:99999", "//", "x" * 300, "%", "\u2028"]
)
numbers: Final = st.one_of(
    st.integers(),
    st.sampled_from([2**63, 2**64, 10**300, -(2**63), 10**4000, 0, -1]),
    st.floats(allow_nan=True, allow_infinity=True),
)
leaves: Final = st.one_of(st.none(), st.booleans(), numbers, texts)
values: Final = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
# Ordinary values of the wrong field are the likeliest mistake, so each field gets any value.
infos: Final = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=6)


def sound(info: ServerInfo) -> bool:
    """Every field has its type, is text that can be shown and sent, or a number that a machine can count."""
    for field in attrs.fields(ServerInfo):
        value = getattr(info, field.name)
        if isinstance(value, str):
            value.encode("utf-8")
        elif field.name == "connect_urls":
            for url in value:
                url.encode("utf-8")
        elif isinstance(value, int):
            assert -(2**63) <= value < 2**63, field.name
    assert info.max_payload > 0
    return True


@given(infos)
def test_every_field_is_of_its_type(fields: dict[str, Any]) -> None:
    """A field of the wrong type, or beyond what it can be, is its default; the others are kept."""
    info = decode_info(json.dumps({"server_id": "kept", **fields}).encode())
    assert sound(info)
    if "server_id" not in fields:
        assert info.server_id == "kept"


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_an_info_or_refused(text: bytes) -> None:
    """Whatever stands behind INFO is read or is a ProtocolError, and no other exception."""
    for candidate in (text, b"{" + text + b"}", b'{"server_id":"' + text + b'"}'):
        try:
            info = decode_info(candidate)
        except ProtocolError:
            continue
        assert sound(info)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 4_200, "-1", "0", '"5"', "[5]", "true"]
)
def test_a_max_payload_that_is_none(text: str) -> None:
    """What is no number of bytes is the server's default of a mebibyte."""
    assert decode_info(b'{"max_payload":%b}' % text.encode()).max_payload == 1_048_576


def test_the_last_of_equal_keys_counts() -> None:
    """Duplicate keys are read as JSON readers do."""
    info = decode_info(b'{"max_payload":1,"max_payload":77,"server_id":1,"server_id":"b"}')
    assert (info.max_payload, info.server_id) == (77, "b")


def test_depth_is_refused_below_the_interpreters_limit() -> None:
    """Nesting as deep as the limit of the interpreter, and far deeper, is refused; shallow nesting is read."""
    for depth in (10, 100, sys.getrecursionlimit() - 1, sys.getrecursionlimit(), 10_000, 100_000):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            text = b'{"x":' + opening * depth + (b"1" if opening != b"[" else b"") + closing * depth + b"}"
            try:
                info = decode_info(text)
            except ProtocolError:
                assert depth > 100
            else:
                assert sound(info)


async def _live_with(first: dict[str, Any], later: list[dict[str, Any]]) -> None:
    server = ToyServer()
    usual = dict(server._info)
    server._info.update(first)
    dialer = MemoryDialer(server)
    collector = Collector()
    try:
        async with opened(server, dialer=dialer, connect_timeout_seconds=1) as nc, nc.subscribe("in") as sub:
            collector.add(nc)
            for fields in later:
                server._info = {**usual, **fields}
                server.link.send(server.info())
                await trio.testing.wait_all_tasks_blocked()
                list(collector.collect())
                repr(nc.server_info)
                assert nc.server_info.raw.keys() == server._info.keys()
            server._info = usual
            await trio.sleep(30)  # whatever it does about it
            await wait_connected(nc)
            await nc.publish("out", b"", confirm=True)
            server.publish("in", b"works")
            assert (await sub.receive()).payload == b"works"
            server.complaints.clear()  # of CONNECT without headers, where INFO had none
    except ConnectError:
        assert "tls" in str(first)  # the toy has none


@given(infos, st.lists(infos, max_size=3))
def test_a_client_lives_with_any_info(first: dict[str, Any], later: list[dict[str, Any]]) -> None:
    """Any fields in the first INFO and in later ones: the client goes on working, its books and metrics can be read."""
    trio.run(_live_with, first, later, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("count", [1, 1_000, pytest.param(40_000, marks=pytest.mark.slow)])
async def test_a_list_of_servers_of_any_length(count: int, autojump_clock: MockClock) -> None:
    """connect_urls as long as an INFO may be, half of them no servers: the link is as good as before."""
    urls = [f"10.0.{n // 250}.{n % 250}:4222" if n % 2 else f"no server {n}" for n in range(count)]
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events:
        for _ in range(3):
            server.link.send(server.info(connect_urls=urls))
            await nc.publish("a", b"x", confirm=True)
        assert nc.state is State.CONNECTED
        server.link.send(server.info(connect_urls=[]))
        server.link.send(server.info(connect_urls=["x" * 2_000_000]))
        losses: list[str] = []
        while not losses:
            event = await events.receive()
            losses = [event.reason] if isinstance(event, Disconnected) else []
        assert "control line of" in losses[0]
        await wait_connected(nc)
        await nc.publish("a", b"x", confirm=True)


async def test_what_it_says_can_be_logged(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks and half characters in INFO and -ERR stay inside one line of a JSON log."""
    server = ToyServer(server_id="a\r\nb", server_name="\ud800", version="\x1b[31m")
    with caplog.at_level(logging.DEBUG, "beamline_trio"):
        async with opened(server) as nc:
            server.link.send(b"-ERR 'a\x00\x1b[31m\xff\xc0'\r\n")
            server.send_info(ldm=True, server_name="b\nc")
            await trio.testing.wait_all_tasks_blocked()
            assert nc.server_info.server_name == "b\nc"
    for record in caplog.records:
        line = JSONLogFormatter().format(record)
        assert "\n" not in line
        json.loads(line.encode("utf-8"))


async def test_tls_that_is_wanted_by_a_liar(autojump_clock: MockClock) -> None:
    """A server that wants TLS in INFO and cannot do it is a TLSError of the first connect, and paced afterwards."""
    server = ToyServer(tls_required=True)
    dialer = MemoryDialer(server)
    dialer.tls_fails = True
    with pytest.raises(TLSError):
        async with open_client(server.url, dialer=dialer):
            raise AssertionError

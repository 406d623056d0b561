"""The conversation between client and server around the messages: handshake, INFO, limits, silence, restarts."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from beamline_trio import (
    ConnectionLostError,
    Disconnected,
    HandshakeError,
    LameDuck,
    NatsError,
    Outcome,
    PayloadTooLargeError,
    Reconnected,
    ReconnectFailed,
    State,
)

from ._server import LIMIT_SECONDS, Connect, ContractServer, RawConnect, ServerConfig, take, until_event


async def test_info_says_who_the_server_is(connect: Connect, server: ContractServer) -> None:
    """`server_info` has the fields of INFO, and each client an id of its own."""
    async with connect() as first, connect() as second:
        info = first.server_info
        assert info.server_id
        assert info.version
        assert int(info.version.split(".")[0]) >= 2
        assert info.protocol == 1
        assert info.headers
        assert info.max_payload == 1_048_576
        assert info.port == int(server.url.rpartition(":")[2])
        assert info.client_id > 0
        assert info.client_ip
        assert not info.tls_required
        assert not info.lame_duck
        assert info.raw["server_id"] == info.server_id
        assert info.client_id != second.server_info.client_id
        assert info.server_id == second.server_info.server_id


async def test_pong_and_then_a_second_info(raw: RawConnect, connect: Connect) -> None:
    """The first PING is answered by PONG and a second INFO; it reaches `server_info` and disturbs nothing."""
    async with raw() as link:
        first, second = link.infos
        assert "connect_info" not in first
        assert second["connect_info"] is True
    async with connect() as nc:
        await nc.flush()
        assert nc.server_info.connect_info
        assert (nc.state, nc.stats().established, nc.stats().lost) == (State.CONNECTED, 1, 0)


@pytest.mark.parametrize("flags", [{"verbose": True}, {"pedantic": True}, {"verbose": True, "pedantic": True}], ids=str)
async def test_verbose_and_pedantic_change_nothing(connect: Connect, flags: dict[str, bool]) -> None:
    """With `+OK` behind every operation and with strict checks all operations do what they do without."""
    async with connect(**flags) as nc, nc.subscribe("a.*", queue_group="g") as sub:
        await sub.confirmed()
        assert await nc.publish("a.b", b"1", headers={"A": "b"}) is Outcome.SENT
        assert await nc.publish("a.b", b"2", confirm=True) is Outcome.SENT

        async with trio.open_nursery() as nursery:

            async def answer(message: object) -> bytes:
                return b"yes"

            await nursery.start(nc.serve, "s", answer)
            assert (await nc.request("s")).payload == b"yes"
            nursery.cancel_scope.cancel()
        assert [message.payload for message in await take(sub, 2)] == [b"1", b"2"]
        await sub.unsubscribe(after=3)
        assert await nc.rtt() > 0
        assert (nc.stats().server_errors, nc.stats().lost) == (0, 0)


# -------------------------------------------------------------------------------------------------- max_payload


@pytest.mark.core_server(max_payload=4096)
async def test_too_much_payload_is_refused_before_a_byte_leaves(connect: Connect) -> None:
    """Payload and headers up to max_payload together arrive; one byte more is a typed error, and nothing is sent."""
    header = {"N": "v"}
    block = len(b"NATS/1.0\r\nN: v\r\n\r\n")
    async with connect() as nc, nc.subscribe("a") as sub:
        await nc.publish("a", bytes(4096))
        await nc.publish("a", bytes(4096 - block), headers=header)
        assert [len(message.payload) for message in await take(sub, 2)] == [4096, 4096 - block]
        sent = nc.stats().bytes_out
        for size, headers in ((4097, None), (4096 - block + 1, header), (10 * 1024 * 1024, None)):
            for publish in (nc.publish, nc.request):
                with pytest.raises(PayloadTooLargeError, match="the server takes 4096") as caught:
                    await publish("a", bytes(size), headers=headers)
                assert caught.value.limit == 4096
            with pytest.raises(PayloadTooLargeError):
                nc.publish_nowait("a", bytes(size), headers=headers)
            with pytest.raises(PayloadTooLargeError):
                await nc.publish("a", bytes(size), headers=headers, confirm=True)
        await nc.flush()
        assert nc.stats().bytes_out == sent + len(b"PING\r\n")
        assert nc.ledger().accepted == 2
        assert (nc.stats().lost, sub.delivered) == (0, 2)


async def test_a_smaller_max_payload_is_learnt_the_hard_way_once(connect: Connect, server: ContractServer) -> None:
    """A server that takes less and does not say so hangs up with the reason; the client knows afterwards."""
    async with connect() as nc, nc.events() as events:
        await nc.publish("a", bytes(2048), confirm=True)
        server.reload(ServerConfig(max_payload=1024))
        with trio.fail_after(LIMIT_SECONDS), pytest.raises(ConnectionLostError, match="Maximum Payload Violation"):
            while True:
                await nc.publish("a", bytes(2048), confirm=True)
        await until_event(events, Reconnected)
        with pytest.raises(PayloadTooLargeError, match="the server takes 1024"):
            await nc.publish("a", bytes(2048))
        await nc.publish("a", bytes(1024), confirm=True)
        assert (nc.stats().lost, nc.ledger().unknown, nc.ledger().balanced) == (1, 1, True)


async def test_what_waited_and_has_become_too_large_is_told(connect: Connect, server: ContractServer) -> None:
    """A server comes back with a smaller max_payload: what is too large is told and counted, the rest arrives."""
    errors: list[Exception] = []
    async with connect() as nc, nc.events() as events, nc.subscribe("a") as sub:
        await sub.confirmed()
        server.kill()
        await until_event(events, Disconnected)

        async def confirm() -> None:
            try:
                await nc.publish("a", bytes(2048), confirm=True)
            except NatsError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(confirm)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(20):
                assert await nc.publish("a", b"%d" % number) is Outcome.QUEUED
                if number % 5 == 0:
                    assert await nc.publish("a", bytes(2048)) is Outcome.QUEUED
            await server.start(ServerConfig(max_payload=1024))
        assert [int(message.payload) for message in await take(sub, 20)] == list(range(20))
        await nc.flush()
        ledger = nc.ledger()
        assert [type(error) for error in errors] == [PayloadTooLargeError]
        assert (ledger.accepted, ledger.confirmed, ledger.unknown, ledger.open) == (25, 20, 0, 0)
        assert ledger.balanced
        assert nc.stats().lost == 1


# ------------------------------------------------------------------------------------------ the server's own life


async def test_a_lame_duck_is_an_event(connect: Connect, server: ContractServer) -> None:
    """A server that will shut down is told by one event and in `server_info`; until then everything works."""
    async with connect() as nc, nc.events() as events, nc.subscribe("a") as sub:
        await sub.confirmed()
        server.lame_duck()
        event = await until_event(events, LameDuck)
        assert isinstance(event, LameDuck)
        assert event.server == server.url
        assert nc.server_info.lame_duck
        await nc.publish("a", b"still here", confirm=True)
        assert [message.payload for message in await take(sub, 1)] == [b"still here"]
        assert nc.state is State.CONNECTED


@pytest.mark.core_server(lame_duck_grace_seconds=0.2, lame_duck_duration_seconds=30)
async def test_a_lame_duck_hangs_up_after_its_grace(connect: Connect, server: ContractServer) -> None:
    """Behind its grace it closes its clients without an error, is gone, and is taken up again when it is back."""
    async with connect() as nc, nc.events() as events, nc.subscribe("a") as sub:
        await sub.confirmed()
        server.lame_duck()
        began = trio.current_time()
        await until_event(events, LameDuck)
        lost = await until_event(events, Disconnected)
        assert isinstance(lost, Disconnected)
        assert lost.reason == "the server closed the connection"
        assert trio.current_time() - began > 0.15
        await until_event(events, ReconnectFailed)
        assert await nc.publish("a", b"meanwhile") is Outcome.QUEUED
        await server.start()
        await until_event(events, Reconnected)
        assert [message.payload for message in await take(sub, 1)] == [b"meanwhile"]
        assert not nc.server_info.lame_duck


async def test_subscriptions_and_queued_publishes_survive_a_restart(connect: Connect, server: ContractServer) -> None:
    """What was subscribed, before or while down, is in force again; what was published while down arrives in order."""
    async with connect() as nc, nc.events() as events, nc.subscribe("a.*", queue_group="g") as before:
        await before.confirmed()
        server.kill()
        lost = await until_event(events, Disconnected)
        assert isinstance(lost, Disconnected)
        assert lost.server == server.url
        assert nc.state is State.RECONNECTING
        async with nc.subscribe("a.b") as during:
            for number in range(100):
                assert await nc.publish("a.b", b"%d" % number) is Outcome.QUEUED
            assert nc.stats().pending_operations == 100
            await server.start()
            again = await until_event(events, Reconnected)
            assert isinstance(again, Reconnected)
            assert again.server == server.url
            assert again.attempts >= 1
            assert again.outage_seconds > 0
            for sub in (before, during):
                assert [int(message.payload) for message in await take(sub, 100)] == list(range(100))
            await nc.flush()
            ledger = nc.ledger()
            assert (ledger.accepted, ledger.confirmed, ledger.balanced) == (100, 100, True)
            assert (nc.stats().restored, nc.stats().pending_operations) == (1, 0)


async def test_a_server_that_stands_still_is_noticed(connect: Connect, server: ContractServer) -> None:
    """A server that answers no ping is given up within interval and timeout, and taken up again when it goes on."""
    async with (
        connect(ping_interval_seconds=0.1, pong_timeout_seconds=0.2, connect_timeout_seconds=0.3) as nc,
        nc.events() as events,
        nc.subscribe("a") as sub,
    ):
        await sub.confirmed()
        server.pause()
        began = trio.current_time()
        lost = await until_event(events, Disconnected)
        assert isinstance(lost, Disconnected)
        assert lost.reason == "no PONG within 0.2 s"
        assert trio.current_time() - began < 1.0
        assert await nc.publish("a", b"meanwhile") is Outcome.QUEUED
        server.resume()
        await until_event(events, Reconnected)
        assert [message.payload for message in await take(sub, 1)] == [b"meanwhile"]
        assert nc.stats().pongs_missed == 1


async def test_a_quiet_link_is_kept(connect: Connect) -> None:
    """Pings that are answered keep a link without traffic, and count as nothing else."""
    async with connect(ping_interval_seconds=0.05, pong_timeout_seconds=1.0) as nc:
        await trio.sleep(0.3)
        assert nc.stats().pings >= 2
        assert (nc.stats().lost, nc.stats().pongs_missed, nc.ledger().accepted) == (0, 0, 0)


@pytest.mark.core_server(ping_interval_seconds=0.1, unanswered_pings_max=1)
async def test_the_servers_own_pings_are_answered(connect: Connect, raw: RawConnect) -> None:
    """A client that sends nothing of its own is kept by a server that drops who leaves a ping unanswered."""
    async with connect() as nc, raw() as silent:
        assert b"Stale Connection" in await silent.receive_until(b"Stale Connection")
        await trio.sleep(0.5)
        assert (nc.state, nc.stats().lost) == (State.CONNECTED, 0)
        await nc.flush()


@pytest.mark.core_server(max_connections=1)
async def test_a_full_server_says_so(connect: Connect) -> None:
    """A server that takes no more connections is a HandshakeError with its reason, every time."""
    async with AsyncExitStack() as stack:
        while True:
            try:
                await stack.enter_async_context(connect())
                break
            except HandshakeError:  # who looked whether the server is ready may still count
                continue
        for _ in range(20):
            with trio.fail_after(LIMIT_SECONDS), pytest.raises(HandshakeError, match="maximum connections exceeded"):
                async with connect():
                    pass


async def test_several_servers_and_one_that_is_there(connect: Connect, server: ContractServer) -> None:
    """Of several servers the first that answers is taken."""
    async with connect(servers=("nats://127.0.0.1:1", server.url), keep_server_order=True) as nc:
        assert nc.stats().connect_failures == 1
        await nc.flush()

"""The fixture `nats`: one test, the same outcome on the simulated and on the real server, however it is configured."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from beamline_trio import (
    AuthorizationError,
    Client,
    ConnectionLostError,
    LameDuck,
    PayloadTooLargeError,
    PermissionsError,
    ServerError,
    State,
    open_client,
)
from beamline_trio.testing import EitherServer, Rule, User

LIMIT_SECONDS = 10.0
CLERK = User("clerk", "c", publish=Rule(deny=("secret.>",)), subscribe=Rule(allow=("orders.>", "_INBOX.>")))
BOSS = User("boss", 'b"\\ss')


async def until(nc: Client, state: State) -> None:
    """Wait until a client is in a state."""
    with trio.fail_after(LIMIT_SECONDS):
        while nc.state is not state:  # noqa: ASYNC110  # events tell of turns, and the turn may be over
            await trio.sleep(0.01)


@pytest.mark.nats_config(users=(CLERK, BOSS), auth_timeout_seconds=1.5, ping_interval_seconds=60.0)
async def test_users_and_their_permissions(nats: EitherServer) -> None:
    """Users, passwords and rules of the configuration hold on both."""
    async with open_client(nats.url, dialer=nats.dialer(), user="clerk", password="c") as clerk:
        await clerk.publish("orders.1", b"x", confirm=True)
        with pytest.raises(PermissionsError):
            await clerk.publish("secret.plans", b"x", confirm=True)
        async with clerk.subscribe("orders.*") as allowed, clerk.subscribe("news") as refused:
            await allowed.confirmed()
            with pytest.raises(PermissionsError):
                await refused.confirmed()
    async with open_client(nats.url, dialer=nats.dialer(), user="boss", password='b"\\ss') as boss:
        await boss.publish("secret.plans", b"x", confirm=True)
    with pytest.raises(AuthorizationError):
        async with open_client(nats.url, dialer=nats.dialer(), user="clerk", password="wrong"):
            pass


@pytest.mark.nats_config(token="s3cr3t", max_payload=2_048, max_subscriptions=1)
async def test_a_token_and_limits(nats: EitherServer) -> None:
    """A token and limits of the configuration hold on both."""
    async with open_client(nats.url, dialer=nats.dialer(), token="s3cr3t") as nc:
        with pytest.raises(PayloadTooLargeError):
            await nc.publish("big", b"x" * 2_049)
        async with nc.subscribe("a") as one:
            await one.confirmed()
            async with nc.subscribe("b") as two:
                with pytest.raises(ServerError, match="maximum subscriptions exceeded"):
                    await two.confirmed()
    with pytest.raises(AuthorizationError):
        async with open_client(nats.url, dialer=nats.dialer(), token="wrong"):
            pass


async def test_what_can_be_done_to_it(nats: EitherServer) -> None:
    """Killed it is gone, paused it is silent, and afterwards the client is back; a lame duck says so."""
    quick: dict[str, Any] = {
        "reconnect_delay_max_seconds": 0.2,
        "ping_interval_seconds": 0.2,
        "pong_timeout_seconds": 0.2,
    }
    async with open_client(nats.url, dialer=nats.dialer(), **quick) as nc, nc.events() as events:
        await nats.kill()
        await until(nc, State.RECONNECTING)
        await nats.start()
        await until(nc, State.CONNECTED)
        await nats.pause()
        with trio.fail_after(LIMIT_SECONDS), pytest.raises(ConnectionLostError):
            await nc.publish("a", b"x", confirm=True)
        await nats.resume()
        with trio.fail_after(LIMIT_SECONDS):
            await nc.publish("a", b"x", confirm=True)
            await nats.lame_duck()
            async for event in events:
                if isinstance(event, LameDuck):
                    return

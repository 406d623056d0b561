"""The cells of a subscription: `confirmed()` tells of each, and messages show that it is in force."""

from __future__ import annotations

import random
from contextlib import ExitStack

import pytest
import trio

from beamline_trio import (
    ConnectionLostError,
    OperationTimeoutError,
    PermissionsError,
    State,
)
from beamline_trio.faults import (
    close_connection,
    delay,
    error,
    intermittent,
    timeout,
)
from tests.faults._proof import (
    LOST,
    RESTORED,
    Stage,
    proving,
    until,
)


async def subscribe_error(stage: Stage) -> None:
    """Refused: PermissionsError from `confirmed` and from `receive`; others are not concerned."""
    async with proving(stage) as proof:
        with stage.faults.inject("subscribe", error(), subjects="orders.secret"):
            async with (
                proof.nc.subscribe("orders.secret", queue_group="workers") as secret,
                proof.nc.subscribe("orders.7") as other,
            ):
                with pytest.raises(PermissionsError) as caught:
                    await secret.confirmed()
                assert (caught.value.subject, caught.value.queue_group) == ("orders.secret", "workers")
                with pytest.raises(PermissionsError):
                    await secret.receive()
                await other.confirmed()
                assert proof.nc.stats().subscriptions == 1  # the refused one would not be asked for again
                await proof.nc.publish("orders.7", b"yes")
                assert (await other.receive()).payload == b"yes"
                assert proof.nc.state is State.CONNECTED
        proof.shows(
            {"subscribe_failures.permission": 1, "server_errors": 1},
            {"NATS_SUBSCRIBE_ERROR": 1},
        )
        async with proof.nc.subscribe("orders.secret") as secret:
            await secret.confirmed()


async def subscribe_timeout(stage: Stage) -> None:
    """No answer: OperationTimeoutError, still connected; the interest is in force, and its messages come late."""
    async with proving(stage) as proof:
        with ExitStack() as scope:
            injection = scope.enter_context(stage.faults.inject("subscribe", timeout()))
            async with proof.nc.subscribe("orders.7") as sub:
                with pytest.raises(OperationTimeoutError):
                    await sub.confirmed()
                assert proof.nc.state is State.CONNECTED
                await proof.nc.publish("orders.7", b"late")
                with trio.move_on_after(0.2):
                    await sub.receive()
                    raise AssertionError("it is behind a PONG that is held")
                scope.close()
                assert (await sub.receive()).payload == b"late"
                await sub.confirmed()
                assert injection.hits == 1
        proof.shows({"subscribe_failures.timeout": 1})


async def subscribe_close(stage: Stage) -> None:
    """The link breaks at each SUB: ConnectionLostError; in force as soon as a link stands, and reconnects are paced."""
    async with proving(stage) as proof:
        async with proof.nc.subscribe("orders.6") as before:
            await before.confirmed()
            with ExitStack() as scope:
                fault = close_connection()
                injection = scope.enter_context(stage.faults.inject("subscribe", fault, subjects="orders.7"))
                async with proof.nc.subscribe("orders.7") as sub:
                    with pytest.raises(ConnectionLostError) as caught:
                        await sub.confirmed()
                    assert caught.value.sent == "maybe"
                    await trio.sleep(1)
                    assert 3 <= injection.hits <= 30
                    scope.close()
                    await until(lambda: proof.nc.stats().restored == injection.hits)
                    await sub.confirmed()
                    await proof.nc.publish("orders.7", b"yes")
                    assert (await sub.receive()).payload == b"yes"
            await proof.nc.publish("orders.6", b"yes")
            assert (await before.receive()).payload == b"yes"
        proof.shows(
            {"lost": injection.hits, "restored": injection.hits, "subscribe_failures.disconnected": 1},
            {LOST: injection.hits, RESTORED: injection.hits},
        )


async def subscribe_delay(stage: Stage) -> None:
    """Late, but in time: confirmed, and in force from then on."""
    async with proving(stage) as proof:
        with stage.faults.inject("subscribe", delay(0.3)) as injection:
            async with proof.nc.subscribe("orders.7") as sub:
                began = trio.current_time()
                await sub.confirmed()
                assert trio.current_time() - began >= 0.3
                await proof.nc.publish("orders.7", b"yes")
                assert (await sub.receive()).payload == b"yes"
            assert injection.hits == 1
        proof.shows()


async def subscribe_intermittent(stage: Stage) -> None:
    """Some are refused: each of these is told, each of the others gets its messages."""
    chance = random.Random(5)
    async with proving(stage) as proof:
        refused = 0
        with stage.faults.inject("subscribe", intermittent(error(), 0.4, random.Random(5))) as injection:
            for number in range(20):
                async with proof.nc.subscribe(f"orders.{number}") as sub:
                    if chance.random() < 0.4:
                        refused += 1
                        with pytest.raises(PermissionsError):
                            await sub.confirmed()
                    else:
                        await sub.confirmed()
                        await proof.nc.publish(f"orders.{number}", b"yes")
                        assert (await sub.receive()).payload == b"yes"
            assert injection.hits == refused > 3
        proof.shows(
            {"subscribe_failures.permission": refused, "server_errors": refused},
            {"NATS_SUBSCRIBE_ERROR": refused},
        )

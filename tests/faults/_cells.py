"""The cells of fault injection: 5 faults x 3 operations with the full client, before any server.

Each cell proves three things. Resilience: the client lives, no task is lost, it reconnects where it should. Semantics:
each call ends as its documentation says, and what was told to be sent has arrived. Observability: the log says it by
its code, the counter moves by exactly the calls that failed, the link is lost only where the fault closes it, and
nothing moves any more when the fault is undone.

A cell is given a `Stage` and knows nothing of the server behind it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
import trio

from beamline_trio import (
    AuthorizationError,
    ConnectionLostError,
    ConnectTimeoutError,
    HandshakeError,
    OperationTimeoutError,
    Outcome,
    PermissionsError,
    State,
)
from beamline_trio.faults import (
    OperationFault,
    close_connection,
    delay,
    error,
    intermittent,
    timeout,
)
from tests.faults._proof import (
    LIMIT_SECONDS,
    LOST,
    RESTORED,
    TIMEOUT_SECONDS,
    Proof,
    Stage,
    open_tested,
    proving,
    until,
)


async def lose_link(proof: Proof) -> None:
    """The link breaks under the client, under a publish that was not confirmed."""
    with proof.faults.inject("publish", close_connection(after=True)):
        await proof.nc.publish("orders.1", b"the last")
        await until(lambda: proof.nc.state is State.RECONNECTING)


# Connect


async def _connect_fails(stage: Stage, fault: OperationFault, error_class: type[Exception], reason: str) -> None:
    """The first connect raises; a client that was connected tries on, and what it was told to send is not lost."""
    with trio.fail_after(LIMIT_SECONDS), stage.faults.inject("connect", fault) as injection:
        with pytest.raises(error_class):
            async with open_tested(stage):
                raise AssertionError("it cannot have connected")
        assert injection.hits == 1
    async with proving(stage) as proof:
        with stage.faults.inject("connect", fault) as injection:
            await lose_link(proof)
            assert await proof.nc.publish("orders.1", b"queued") is Outcome.QUEUED
            await until(lambda: proof.nc.stats().reconnect_failures[reason] >= 2)
            assert proof.nc.state is State.RECONNECTING
        await proof.connected()
        assert await proof.arrived() == [b"the last", b"queued"]
        moved, codes = proof.seen()
        hits = injection.hits
        # An attempt that was under way when the fault was undone may have come through.
        assert hits - 1 <= moved.pop(f"reconnect_failures.{reason}") == moved.pop("connect_failures") <= hits
        assert moved == {"lost": 1, "restored": 1, "publish_failures.disconnected": 1}
        assert codes == {LOST: 1, RESTORED: 1, "NATS_PUBLISH_QUEUED": 1}
        assert proof.nc.ledger().unknown == 1


async def connect_error(stage: Stage) -> None:
    """Refused: AuthorizationError, or a failed attempt with the reason `auth`."""
    await _connect_fails(stage, error(), AuthorizationError, "auth")


async def connect_timeout(stage: Stage) -> None:
    """Silence: ConnectTimeoutError, or a failed attempt with the reason `timeout`."""
    await _connect_fails(stage, timeout(), ConnectTimeoutError, "timeout")


async def connect_close(stage: Stage) -> None:
    """Hung up: HandshakeError, or a failed attempt with the reason `closed`."""
    await _connect_fails(stage, close_connection(), HandshakeError, "closed")


async def connect_delay(stage: Stage) -> None:
    """Late, but in time: the connect succeeds, and so does the reconnect."""
    with stage.faults.inject("connect", delay(0.3)) as injection:
        began = trio.current_time()
        async with proving(stage) as proof:
            assert trio.current_time() - began >= 0.3
            await lose_link(proof)
            began = trio.current_time()
            await proof.connected()
            assert trio.current_time() - began >= 0.3
            assert injection.hits == 2
            moved, codes = proof.seen()
            assert moved == {"lost": 1, "restored": 1, "publish_failures.disconnected": 1}
            assert codes == {LOST: 1, RESTORED: 1}


async def connect_intermittent(stage: Stage) -> None:
    """Some dials fail: the client connects as soon as one succeeds, though the fault is still there."""
    chance = random.Random(3)
    drawn = [chance.random() < 0.6 for _ in range(100)]
    failures = drawn.index(False)
    assert failures >= 2
    async with proving(stage) as proof:
        fault = intermittent(error("refused"), 0.6, random.Random(3))
        with stage.faults.inject("connect", fault) as injection:
            await lose_link(proof)
            await proof.connected()
            assert injection.hits == failures
            moved, codes = proof.seen()
        assert moved == {
            "lost": 1,
            "restored": 1,
            "publish_failures.disconnected": 1,
            "connect_failures": failures,
            "reconnect_failures.refused": failures,
        }
        assert codes == {LOST: 1, RESTORED: 1}


# Publish


async def publish_error(stage: Stage) -> None:
    """Refused: PermissionsError for exactly this subject; it does not arrive, others do."""
    async with proving(stage) as proof:
        with stage.faults.inject("publish", error(), subjects="orders.secret") as injection:
            with pytest.raises(PermissionsError) as caught:
                await proof.nc.publish("orders.secret", b"no", confirm=True)
            assert (caught.value.operation, caught.value.subject) == ("publish", "orders.secret")
            assert await proof.nc.publish("orders.7", b"yes", confirm=True) is Outcome.SENT
            assert proof.nc.state is State.CONNECTED
            assert injection.hits == 1
        assert await proof.arrived() == [b"yes"]
        assert proof.seen() == (
            {"publish_failures.permission": 1, "confirmed_publish_failures.permission": 1, "server_errors": 1},
            {"NATS_PUBLISH_ERROR": 2},  # the server's refusal, and the call that failed
        )
        assert proof.nc.ledger().failed == 1
        assert await proof.nc.publish("orders.secret", b"now", confirm=True) is Outcome.SENT


async def publish_timeout(stage: Stage) -> None:
    """No answer: OperationTimeoutError, fate unknown, still connected; it had arrived, and is confirmed late."""
    async with proving(stage) as proof:
        with stage.faults.inject("publish", timeout(), subjects="orders.1") as injection:
            began = trio.current_time()
            with pytest.raises(OperationTimeoutError):
                await proof.nc.publish("orders.1", b"unknown", confirm=True)
            assert trio.current_time() - began >= TIMEOUT_SECONDS
            with pytest.raises(OperationTimeoutError):
                await proof.nc.request("orders.1", b"a request")
            assert proof.nc.state is State.CONNECTED
            assert proof.nc.ledger().open == 2
            assert injection.hits == 2
        assert await proof.arrived() == [b"unknown", b"a request"]
        assert proof.seen() == (
            {"publish_failures.timeout": 1, "confirmed_publish_failures.timeout": 1},
            {"NATS_PUBLISH_ERROR": 1},
        )
        assert proof.nc.ledger().open == 0


async def publish_close(stage: Stage) -> None:
    """The link breaks: ConnectionLostError, sent = maybe; the client reconnects, and nothing is sent twice."""
    async with proving(stage) as proof:
        for after in (False, True):
            with stage.faults.inject("publish", close_connection(after=after), subjects="orders.1") as injection:
                with pytest.raises(ConnectionLostError) as caught:
                    await proof.nc.publish("orders.1", b"after" if after else b"before", confirm=True)
                assert caught.value.sent == "maybe"
                await proof.connected()
                assert injection.hits == 1
            assert proof.seen() == (
                {
                    "lost": 1,
                    "restored": 1,
                    "publish_failures.disconnected": 1,
                    "confirmed_publish_failures.disconnected": 1,
                },
                {LOST: 1, RESTORED: 1, "NATS_PUBLISH_ERROR": 1},
            )
        assert await proof.arrived() == [b"after"]
        assert proof.nc.ledger().unknown == 2


async def publish_delay(stage: Stage) -> None:
    """Late, but in time: confirmed as ever, in order; what is too late is a timeout, and arrives all the same."""
    async with proving(stage) as proof:
        with stage.faults.inject("publish", delay(0.3), subjects="orders.1") as injection:
            began = trio.current_time()
            assert await proof.nc.publish("orders.1", b"first", confirm=True) is Outcome.SENT
            assert trio.current_time() - began >= 0.3
            await proof.nc.publish("orders.2", b"second")
            assert injection.hits == 1
        assert await proof.arrived() == [b"first", b"second"]
        assert proof.seen() == ({}, {})
        with stage.faults.inject("publish", delay(TIMEOUT_SECONDS * 2)), pytest.raises(OperationTimeoutError):
            await proof.nc.publish("orders.1", b"too late", confirm=True)
        assert await proof.arrived() == [b"too late"]
        assert proof.seen() == (
            {"publish_failures.timeout": 1, "confirmed_publish_failures.timeout": 1},
            {"NATS_PUBLISH_ERROR": 1},
        )


async def publish_intermittent(stage: Stage) -> None:
    """Some are refused: each of these is told, each of the others has arrived."""
    chance = random.Random(5)
    async with proving(stage) as proof:
        confirmed: list[bytes] = []
        with stage.faults.inject("publish", intermittent(error(), 0.3, random.Random(5))) as injection:
            for number in range(40):
                payload = b"%d" % number
                if chance.random() < 0.3:
                    with pytest.raises(PermissionsError):
                        await proof.nc.publish("orders.1", payload, confirm=True)
                else:
                    await proof.nc.publish("orders.1", payload, confirm=True)
                    confirmed.append(payload)
            refused = 40 - len(confirmed)
            assert injection.hits == refused > 5
        assert await proof.arrived() == confirmed
        assert proof.seen() == (
            {
                "publish_failures.permission": refused,
                "confirmed_publish_failures.permission": refused,
                "server_errors": refused,
            },
            {"NATS_PUBLISH_ERROR": 2 * refused},
        )


# Subscribe


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
        assert proof.seen() == (
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
        assert proof.seen() == ({"subscribe_failures.timeout": 1}, {})


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
        moved, codes = proof.seen()
        assert moved == {"lost": injection.hits, "restored": injection.hits, "subscribe_failures.disconnected": 1}
        assert codes == {LOST: injection.hits, RESTORED: injection.hits}


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
        assert proof.seen() == ({}, {})


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
        assert proof.seen() == (
            {"subscribe_failures.permission": refused, "server_errors": refused},
            {"NATS_SUBSCRIBE_ERROR": refused},
        )


CELLS: tuple[Callable[[Stage], Awaitable[None]], ...] = (
    connect_error,
    connect_timeout,
    connect_close,
    connect_delay,
    connect_intermittent,
    publish_error,
    publish_timeout,
    publish_close,
    publish_delay,
    publish_intermittent,
    subscribe_error,
    subscribe_timeout,
    subscribe_close,
    subscribe_delay,
    subscribe_intermittent,
)

"""The router: routes to handlers, outcomes counted, one bad message or route takes nothing else down."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import InvalidSubjectError, Message, PermissionsError, Router
from beamline_trio.router import Route
from tests._memory import ToyServer, opened


def ended(route: Route) -> dict[str, int]:
    """The outcomes that there were."""
    return {outcome: number for outcome, number in route.counters.outcomes.items() if number}


def prices() -> Router:
    """A router with a request/reply route, a forwarding one and one that raises."""
    router = Router("prices")

    @router.route("price.get", queue_group="prices", concurrency=4)
    async def price(message: Message) -> bytes | None:
        return b"42"

    @router.route("orders.*.created")
    async def created(message: Message) -> bytes | None:
        return None

    @router.route("broken.>", name="always broken")
    async def broken(message: Message) -> bytes | None:
        raise ValueError("a secret")

    return router


async def test_routes_answer_and_are_counted(autojump_clock: MockClock) -> None:
    """A reply, no reply, an error with code 500 and without internals; outcome and duration of each route apart."""
    server = ToyServer()
    router = prices()
    async with opened(server, operation_timeout_seconds=1) as nc, trio.open_nursery() as nursery:
        await nursery.start(router.run, nc)
        assert {interest.pattern for interest in server.interests} == {b"price.get", b"orders.*.created", b"broken.>"}
        assert server.interests[0].queue_group == b"prices"
        for _ in range(3):
            assert (await nc.request("price.get", b"7")).payload == b"42"
        await nc.publish("orders.7.created", b"x", confirm=True)
        reply = await nc.request("broken.down", b"x")
        assert (reply.headers["Nats-Service-Error-Code"], reply.payload) == ("500", b"")
        assert b"secret" not in server.received
        await nc.publish("broken.down", b"x", confirm=True)
        assert (await nc.request("price.get", b"7")).payload == b"42"
        await nc.drain()
    price, created, broken = router.routes.values()
    assert [route.name for route in router.routes.values()] == ["price", "created", "always broken"]
    assert (ended(price), ended(created)) == ({"ok": 4}, {"ok": 1})
    assert ended(broken) == {"error": 2}
    assert [sum(route.counters.duration_counts) for route in router.routes.values()] == [4, 1, 2]


async def test_every_message_is_timed(autojump_clock: MockClock) -> None:
    """A handler's seconds are in the bucket of the first bound they do not exceed, and in the sum."""
    server = ToyServer()
    router = Router()

    @router.route("slow")
    async def slow(message: Message) -> bytes | None:
        await trio.sleep(float(message.payload))
        return b""

    async with opened(server, operation_timeout_seconds=None) as nc, trio.open_nursery() as nursery:
        await nursery.start(router.run, nc)
        for seconds in (b"0.0005", b"0.03", b"0.3", b"20"):
            await nc.request("slow", seconds)
        await nc.drain()
    (route,) = router.routes.values()
    assert route.counters.duration_counts == [1, 0, 0, 1, 0, 1, 0, 0, 0, 1]
    assert route.counters.duration_seconds == pytest.approx(20.3305)


async def test_concurrency_is_of_each_route(autojump_clock: MockClock) -> None:
    """A route whose handlers hang keeps no other route from its messages."""
    server = ToyServer()
    router = Router()
    hanging = 0

    @router.route("hang", concurrency=2)
    async def hang(message: Message) -> bytes | None:
        nonlocal hanging
        hanging += 1
        await trio.sleep_forever()
        return None

    @router.route("quick")
    async def quick(message: Message) -> bytes | None:
        return b"ok"

    async with opened(server, drain_deadline_seconds=5) as nc, trio.open_nursery() as nursery:
        await nursery.start(router.run, nc)
        for _ in range(10):
            await nc.publish("hang", b"x")
        assert (await nc.request("quick", b"x")).payload == b"ok"
        await trio.testing.wait_all_tasks_blocked()
        assert hanging == 2
        nursery.cancel_scope.cancel()
    assert ended(router.routes["hang"]) == {"discarded": 2}


async def test_run_ends_when_the_client_was_drained(autojump_clock: MockClock) -> None:
    """Handlers finish, forwarded messages are confirmed, then run returns; also when a handler drains."""
    for from_handler in (False, True):
        server = ToyServer()
        router = Router()
        async with opened(server) as nc:

            @router.route("in", concurrency=3)
            async def forward(message: Message) -> bytes | None:
                await trio.sleep(0.1)
                await nc.publish("out", message.payload)  # it runs in this turn
                if from_handler and message.payload == b"5":  # noqa: B023
                    await nc.drain()
                return None

            async with trio.open_nursery() as nursery:
                await nursery.start(router.run, nc)
                for number in range(20):
                    server.publish("in", b"%d" % number)
                await trio.testing.wait_all_tasks_blocked()
                if not from_handler:
                    await nc.drain()
            assert ended(router.routes["forward"]) == {"ok": 20}
        assert sorted(server.payloads, key=int) == [b"%d" % number for number in range(20)]
        assert nc.ledger().confirmed == 20


@pytest.mark.parametrize("refused", [b"price.get", b"orders.*.created", b"broken.>"])
async def test_a_refused_route_ends_the_router(refused: bytes, autojump_clock: MockClock) -> None:
    """PermissionsError leaves run bare before started; no other route goes on behind its back."""
    server = ToyServer()
    server.denied_subscribe.add(refused)
    async with opened(server) as nc:
        with pytest.raises(PermissionsError) as caught:
            await prices().run(nc)
        assert caught.value.subject == refused.decode()
        with pytest.RaisesGroup(PermissionsError):
            async with trio.open_nursery() as nursery:
                await nursery.start(prices().run, nc)
        await nc.flush()
        assert server.interests == []


async def test_a_route_refused_later_ends_the_router(autojump_clock: MockClock) -> None:
    """When permissions change under way run ends with that one bare error, and takes its other routes with it."""
    server = ToyServer()
    errors: list[BaseException] = []

    async with opened(server) as nc, trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[None]) -> None:
            try:
                await prices().run(nc, task_status=task_status)
            except BaseException as error:  # noqa: BLE001  # its very type is the law
                errors.append(error)

        await nursery.start(run)
        server.revoke(b"price.get")
        await trio.testing.wait_all_tasks_blocked()
        assert [type(error) for error in errors] == [PermissionsError]
        await nc.flush()
        assert server.interests == []


async def test_cancelling_the_router_leaves_the_client_working(autojump_clock: MockClock) -> None:
    """Its routes are gone from the server."""
    server = ToyServer()
    async with opened(server) as nc:
        async with trio.open_nursery() as nursery:
            await nursery.start(prices().run, nc)
            nursery.cancel_scope.cancel()
        await nc.publish("price.get", b"x", confirm=True)
        assert server.interests == []


def test_routes_are_checked_when_they_are_made() -> None:
    """A bad subject, group, concurrency or a name twice is an error of the decorator, not of run."""
    router = prices()
    for subject, queue_group in (("", None), ("a..b", None), ("a b", None), ("a", "")):
        with pytest.raises(InvalidSubjectError):
            router.route(subject, queue_group=queue_group)
    with pytest.raises(ValueError, match="at least 1"):
        router.route("a", concurrency=0)

    async def price(message: Message) -> bytes | None:
        return None

    with pytest.raises(ValueError, match="'price' exists"):
        router.route("other")(price)
    assert router.route("other", name="other")(price) is price
    assert len(router.routes) == 4


async def test_a_router_without_routes_is_an_error(autojump_clock: MockClock) -> None:
    """It says what to add."""
    server = ToyServer()
    async with opened(server) as nc:
        with pytest.raises(ValueError, match="no route"):
            await Router("empty").run(nc)

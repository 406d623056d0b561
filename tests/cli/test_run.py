"""What `beamline run` does where no server is needed to see it."""

from __future__ import annotations

import signal

import pytest
import trio

from beamline_trio import Client, ClientClosedError, Message, NatsError, Router
from beamline_trio.cli._run import _named, _Program
from beamline_trio.cli._target import Loaded
from beamline_trio.operation import load_options
from tests.metrics._clients import make_client


class LateRouter(Router):
    """A router whose client was closed while it was still confirming its interest."""

    async def run(self, client: Client, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.lowlevel.checkpoint()
        raise ClientClosedError("the client was closed")


@pytest.mark.parametrize("draining", [False, True])
async def test_a_drain_while_the_router_starts_is_no_failure(draining: bool) -> None:
    """The client that a signal has closed may not be told from a broken one, but for the signal."""
    client = make_client()
    client.connection.close()
    said: list[str] = []
    program = _Program(Loaded(LateRouter("late")), load_options(environment={}), said.append)
    if draining:
        program._client = client
        await program._drain(signal.SIGTERM)
        await program._route(client)
        assert said == ["SIGTERM: draining; once more cuts it short"]
    else:
        with pytest.raises(ExceptionGroup) as caught:
            await program._route(client)
        assert caught.group_contains(ClientClosedError)
        assert not program._done.is_set()


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_route_that_stopped_is_told_and_is_a_failure(stopped: bool) -> None:
    """Its router went on without it, and was drained well; the exit code says that not all is."""
    router = Router("orders")

    @router.route("orders.*")
    async def bill(message: Message) -> None:
        return

    said: list[str] = []
    program = _Program(Loaded(router), load_options(environment={}), said.append)
    if stopped:
        router.routes["bill"].failure = NatsError("the consumer 'bill' is gone")
    program._say_account(make_client())
    assert said[1:] == (["the route 'bill' stopped: the consumer 'bill' is gone"] if stopped else [])
    assert program._exit_code() == (1 if stopped else 0)


@pytest.mark.parametrize(
    "host, named",
    [("127.0.0.1", "localhost"), ("0.0.0.0", "localhost"), ("10.0.0.1", "10.0.0.1"), ("fe80::1", "[fe80::1]")],
)
def test_the_url_that_is_printed_works_here(host: str, named: str) -> None:
    """What listens everywhere is reached at localhost; an IPv6 address has its brackets."""
    assert _named(host) == named


async def test_the_cluster_is_watched_where_it_is_asked_for() -> None:
    """The streams of the routes, and the instances of the router's service; without the option nothing is asked."""
    client, router = make_client(), Router("price list")

    @router.route("in.>", stream="ORDERS", name="in")
    async def handle(message: Message) -> None:
        return None

    for environment, groups in (({}, None), ({"NATS_WATCH_CLUSTER": "true"}, {"_meta_", "ORDERS"})):
        program = _Program(Loaded(router), load_options(environment=environment), print)
        watch = program._watch(client)
        assert (watch if watch is None else set(watch.groups)) == groups
        assert watch is None or watch.instances_of == "price-list"

"""The three pages: what they say of a client, and what is said of other paths and methods."""

from __future__ import annotations

import pytest

from beamline_trio import ClusterWatch, Message, Router, State
from beamline_trio.cluster._records import GroupSeen, Sighting
from beamline_trio.metrics import Collector
from beamline_trio.operation import OperationApplication, streams_of
from tests.metrics._clients import make_client


async def test_ready_is_connected() -> None:
    """/readyz is 200 in the state connected alone, and 503 with the state else; /healthz is always 200."""
    client = make_client()
    application = OperationApplication(client, Collector())
    for state in State:
        client.connection.state = state
        ready = application("GET", "/readyz")
        assert ready.status == (200 if state is State.CONNECTED else 503), state
        assert ready.body == f"{state}\n".encode()
        assert application("GET", "/healthz").status == 200


async def test_a_draining_client_is_not_ready() -> None:
    """Whoever sends traffic to ready instances learns of a drain before its end."""
    client = make_client()
    client.connection.state = State.CONNECTED
    client.drainer._requested.set()
    ready = OperationApplication(client, Collector())("GET", "/readyz")
    assert (ready.status, ready.body) == (503, b"draining\n")


async def test_ready_is_consuming_too() -> None:
    """A router that has not begun, or has stopped taking messages, gets none sent: 503, with its name."""
    client, router = make_client(), Router("orders")
    client.connection.state = State.CONNECTED
    application = OperationApplication(client, Collector(), [router])
    ready = application("GET", "/readyz")
    assert (ready.status, ready.body) == (503, b"not consuming: orders\n")


class Taking(Router):
    """A router that takes messages."""

    @property
    def ready(self) -> bool:
        return True


async def test_ready_is_that_the_streams_of_the_routes_can_be_had() -> None:
    """Without a quorum, or in a region that is cut off, nothing comes: 503, and why; other streams do not count.

    What a watch saw last is no reason any more when it has ended.
    """
    client, router = make_client(), Taking("orders")
    client.connection.state = State.CONNECTED
    router.route("in.>", stream="ORDERS", name="in")(handle)
    router.route("more.>", stream="ORDERS", name="more")(handle)
    router.route("core.>", name="core")(handle)
    watch = ClusterWatch(client, streams=["ORDERS", "OTHER"])
    application = OperationApplication(client, Collector(), [router], watch=watch)
    assert streams_of([router]) == ["ORDERS"]

    def look(sightings: list[Sighting], since: float, until: float) -> None:
        """Every two seconds, as a watch does."""
        for half in range(int(since / 2), int(until / 2) + 1):
            watch.state.take(sightings, home="east", now=2.0 * half)

    look([seen("ORDERS", "west", led=True), seen("OTHER", "east", led=True)], 0, 0)
    assert application.ready
    look([seen("ORDERS", "west", led=True), seen("OTHER", "east")], 2, 60)
    assert not watch.groups["OTHER"].quorum
    assert application("GET", "/readyz").status == 200
    look([seen("ORDERS", ""), seen("OTHER", "east")], 62, 74)
    ready = application("GET", "/readyz")
    assert (ready.status, ready.body) == (503, b"region west of stream ORDERS is cut off\n")
    assert not application.ready
    look([seen("ORDERS", "west"), seen("OTHER", "east")], 76, 90)
    assert application("GET", "/readyz").body == b"stream ORDERS has no quorum\n"
    watch.state.end()
    assert application.ready, "a watch that has ended has no word"
    look([seen("ORDERS", "west", led=True)], 92, 92)
    assert application.ready


def seen(stream: str, region: str, *, led: bool = False) -> Sighting:
    return Sighting(groups=(GroupSeen(name=stream, region=region, led=led),))


async def handle(message: Message) -> None:
    return None


async def test_metrics_are_those_of_the_collector() -> None:
    """In Prometheus' text format, with its content type."""
    client, collector = make_client(), Collector()
    collector.add(client)
    metrics = OperationApplication(client, collector)("GET", "/metrics")
    assert metrics.status == 200
    assert metrics.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert metrics.body == collector.render()


@pytest.mark.parametrize("path", ["/", "", "/metrics/", "/METRICS", "*", "http://h/metrics", "/../metrics"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_other_paths_are_404(path: str, method: str) -> None:
    """Whatever the method; the answer names the pages there are."""
    answer = OperationApplication(make_client(), Collector())(method, path)
    assert answer.status == 404
    assert b"/metrics, /healthz, /readyz" in answer.body


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_other_methods_are_405(path: str) -> None:
    """GET and HEAD, and nothing that could change anything."""
    client = make_client()
    client.connection.state = State.CONNECTED
    application = OperationApplication(client, Collector())
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "get"):
        answer = application(method, path)
        assert (answer.status, answer.allow) == (405, "GET, HEAD")
    assert application("HEAD", path).status == 200

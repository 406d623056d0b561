"""The user's callbacks about reconnecting: what they say is done, and what they break breaks nothing."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from beamline_trio import CallbackFailed, ClientOptions, Event, PoolServer, Reconnected, ServerInfo, open_client
from beamline_trio.connection import next_delay
from tests._memory import MemoryDialer, ToyServer, lose_link, opened, wait_connected


async def test_the_users_delays(autojump_clock: MockClock) -> None:
    """reconnect_delay_callback is asked before each pass, with the passes of this outage, and nothing is added."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    asked: list[int] = []

    def delay(passes: int) -> float:
        asked.append(passes)
        return 1.5 * passes

    async with opened(server, dialer=dialer, reconnect_delay_callback=delay) as nc:
        await trio.sleep(10)
        lost_at = trio.current_time()
        await lose_link(server)
        await trio.sleep(10)
        times = [at - lost_at for at, _ in dialer.dialled[1:]]
        assert [round(later - earlier, 3) for earlier, later in pairwise([0, *times])] == [0, 1.5, 3, 4.5]
        server.come_up()
        await wait_connected(nc)
        assert asked == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("option", ["reconnect_delay_callback", "choose_server"])
async def test_no_delay_for_ever_is_no_busy_loop(option: str, autojump_clock: MockClock) -> None:
    """Zero seconds each time: only the first pass comes without a pause."""
    server = ToyServer()
    dialer = MemoryDialer(server)

    def at_once(*args: Any) -> Any:
        return 0 if option == "reconnect_delay_callback" else (args[0][0], 0)

    async with opened(server, dialer=dialer, **{option: at_once}) as nc:
        await lose_link(server)
        await trio.sleep(0.1)
        assert 90 <= len(dialer.dialled) <= 102
        server.come_up()
        await wait_connected(nc)


async def test_a_choice_by_a_url_with_a_password(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """The user's own URL finds its server; one that does not, or stands at the wrong place, is repeated nowhere."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    given = "nats://u:hunter2@two:4222"
    answers: list[Any] = [(given, 0.5), ("nats://u:hunter2@stranger:1", 0), given, [given], (given, "hunter3")]
    dialer = MemoryDialer(one, two)
    caplog.set_level("DEBUG")
    async with (
        open_client(
            one.url,
            given,
            dialer=dialer,
            keep_server_order=True,
            choose_server=lambda pool, info: answers.pop(0) if answers else (None, 0),
        ) as nc,
        nc.events() as events,
    ):
        one.go_down()
        two.refuses = True
        await trio.sleep(5)
        assert nc.stats().callback_errors == 4
        assert [url for _, url in dialer.dialled[1:2]] == [two.url]
        two.come_up()
        await wait_connected(nc)
        told: list[Event] = []
        while not told or not isinstance(told[-1], Reconnected):
            told.append(await events.receive())
    assert "hunter2" not in caplog.text + repr(told)


@pytest.mark.parametrize("answer", [ValueError("broken"), -1, float("nan"), float("inf"), "1", None, True])
async def test_a_delay_that_cannot_be_used(answer: Any, autojump_clock: MockClock) -> None:
    """Whatever the callback raises or gives: the library's delay is used, and it is counted and told."""

    def delay(passes: int) -> float:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    server = ToyServer()
    dialer = MemoryDialer(server)
    options: dict[str, Any] = {"reconnect_jitter": "none", "reconnect_delay_callback": delay}
    async with opened(server, dialer=dialer, **options) as nc, nc.events() as events:
        await trio.sleep(10)
        lost_at = trio.current_time()
        await lose_link(server)
        await trio.sleep(0.35)
        assert [round(at - lost_at, 2) for at, _ in dialer.dialled[1:]] == [0, 0.1, 0.3]
        assert nc.stats().callback_errors == 4
        seen: list[Event] = [await events.receive() for _ in range(2)]
        failed = next(event for event in seen if isinstance(event, CallbackFailed))
        assert failed.subject == "reconnect_delay_callback"
        server.come_up()
        await wait_connected(nc)


async def test_the_user_chooses_the_server(autojump_clock: MockClock) -> None:
    """choose_server gets the pool with its books and the last INFO, and what it says is done after what it says."""
    one, two, three = servers = [ToyServer(f"nats://{name}:4222") for name in ("one", "two", "three")]
    dialer = MemoryDialer(*servers)
    calls: list[tuple[tuple[PoolServer, ...], ServerInfo]] = []

    def choose(pool: tuple[PoolServer, ...], info: ServerInfo) -> tuple[PoolServer | str | None, float]:
        calls.append((pool, info))
        if len(calls) == 1:
            return next(server for server in pool if server.url == three.url), 2.0
        return one.url, 0.5

    async with opened(*servers, dialer=dialer, keep_server_order=True, choose_server=choose) as nc:
        await trio.sleep(10)
        lost_at = trio.current_time()
        three.go_down()
        one.drop()
        await trio.sleep(4)
        assert [(round(at - lost_at, 3), url) for at, url in dialer.dialled[1:]] == [(2, three.url), (2.5, one.url)]
        assert nc.state == "connected"
        pool, info = calls[1]
        tried = next(server for server in pool if server.url == three.url)
        assert (tried.attempts, tried.failures, tried.last_attempt_at) == (1, 1, lost_at + 2)
        assert "refused" in tried.last_error
        assert [server.url for server in pool if server.current] == [one.url]
        assert info.server_id == "TOY"
        assert not two.links


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("broken"),
        ("nats://stranger:4222", 0.0),
        (None, 0.0),
        "nats://one:4222",
        ("nats://one:4222", -1.0),
        ("nats://one:4222",),
        (4222, 1.0),
    ],
)
async def test_a_choice_that_cannot_be_used(answer: Any, autojump_clock: MockClock) -> None:
    """A stranger, nonsense, an exception: the library's own pass and delay; only `None` is no failure."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    dialer = MemoryDialer(one, two)

    def choose(pool: tuple[PoolServer, ...], info: ServerInfo) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    options: dict[str, Any] = {"keep_server_order": True, "reconnect_jitter": "none", "choose_server": choose}
    async with opened(one, two, dialer=dialer, **options) as nc:
        await trio.sleep(10)
        one.go_down()
        two.go_down()
        await trio.sleep(0.05)
        assert [url for _, url in dialer.dialled[1:]] == [two.url, one.url]
        one.come_up()
        await wait_connected(nc)
        assert bool(nc.stats().callback_errors) is (answer != (None, 0.0))


async def test_attempts_chosen_by_the_user_are_counted(autojump_clock: MockClock) -> None:
    """As many attempts as there are servers make a pass of reconnect_attempts; probes are the library's own."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    dialer = MemoryDialer(one, two)

    def choose(pool: tuple[PoolServer, ...], info: ServerInfo) -> tuple[str, float]:
        return one.url, 1.0

    async with opened(one, two, dialer=dialer, reconnect_attempts=2, choose_server=choose) as nc:
        await trio.sleep(10)
        one.go_down()
        two.go_down()
        await trio.sleep(3.5)
        assert nc.state == "reconnecting"
        await trio.sleep(1)
        assert nc.state == "exhausted"
        two.come_up()
        await wait_connected(nc)


async def test_the_chooser_is_asked_when_the_user_reconnects(autojump_clock: MockClock) -> None:
    """A forced reconnect goes where the chooser says, without its delay."""
    one, two, three = servers = [ToyServer(f"nats://{name}:4222") for name in ("one", "two", "three")]
    options: dict[str, Any] = {"keep_server_order": True, "choose_server": lambda pool, info: (three.url, 60.0)}
    async with opened(*servers, dialer=MemoryDialer(one, two, three), **options) as nc:
        before = trio.current_time()
        await nc.reconnect()
        await wait_connected(nc)
        assert trio.current_time() - before < 0.02
        assert str(nc.connection.address) == three.url


def test_tls_may_have_a_jitter_of_its_own() -> None:
    """reconnect_jitter_tls is used where TLS is expected, and only there."""
    options = ClientOptions(reconnect_delay_seconds=2, reconnect_jitter="none", reconnect_jitter_tls="full")
    assert next_delay(1, 60, options, random.Random(1)) == 2
    drawn = [next_delay(1, 60, options, random.Random(seed), tls=True) for seed in range(100)]
    assert min(drawn) < 0.2
    assert max(drawn) > 1.8
    same = ClientOptions(reconnect_delay_seconds=2, reconnect_jitter="none")
    assert next_delay(1, 60, same, random.Random(1), tls=True) == 2


async def test_tls_is_expected_where_the_link_had_it(autojump_clock: MockClock) -> None:
    """A link that a server upgraded by itself counts, and so does a URL that asks for TLS."""
    for url, info in (("nats://a:4222", {"tls_required": True}), ("tls://a:4222", {"tls_available": True})):
        server = ToyServer("nats://a:4222", **info)
        dialer = MemoryDialer(server)
        options: dict[str, Any] = {"reconnect_delay_seconds": 2, "reconnect_jitter_tls": "none"}
        async with opened(dialer=dialer, servers=(url,), reconnect_jitter="full", **options) as nc:
            await trio.sleep(10)
            lost_at = trio.current_time()
            await lose_link(server)
            await trio.sleep(5)
            assert [round(at - lost_at, 3) for at, _ in dialer.dialled[1:]] == [0, 2]
            server.come_up()
            await wait_connected(nc)

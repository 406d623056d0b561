"""What a server allows to whom: its refusals reach the operation they are about, and nothing else."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from beamline_trio import (
    AuthorizationError,
    Disconnected,
    Message,
    Outcome,
    PermissionsError,
    ReconnectFailed,
    Router,
    ServerErrorReceived,
)

from ._server import (
    LIMIT_SECONDS,
    Connect,
    ContractServer,
    Rule,
    ServerConfig,
    User,
    settle,
    take,
    until_event,
)

ALICE = User("alice", "sesame", publish=Rule(deny=("no.>",)), subscribe=Rule(deny=("no.>",)))
WORKER = User("worker", "w", subscribe=Rule(allow=("jobs workers", "free.>", "_INBOX.>")))
MUTE = User("mute", "m", subscribe=Rule(deny=("_INBOX.>",)))
BOSS = User("boss", "b")
CREDENTIALS = {"user": "alice", "password": "sesame"}

pytestmark = pytest.mark.core_server(users=(ALICE, WORKER, MUTE, BOSS))


# -------------------------------------------------------------------------------------------------- publishing


async def test_a_refused_confirmed_publish_raises(connect: Connect) -> None:
    """Only the confirmed publish that the server refuses raises; others under way at the same time are confirmed."""
    async with connect(**CREDENTIALS) as nc, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(partial(nc.publish, f"yes.{number}", b"x", confirm=True))
        with trio.fail_after(LIMIT_SECONDS), pytest.raises(PermissionsError) as caught:
            await nc.publish("no.1", b"x", confirm=True)
        assert (caught.value.operation, caught.value.subject) == ("publish", "no.1")
        assert 'Permissions Violation for Publish to "no.1"' in str(caught.value)
        await nc.flush()
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.confirmed, ledger.failed, ledger.balanced) == (21, 20, 1, True)
        stats = nc.stats()
        assert stats.confirmed_publish_failures["permission"] == 1
        assert (stats.confirmed_publishes, stats.lost) == (20, 0)


async def test_a_refused_publish_is_told_by_event_and_books(connect: Connect) -> None:
    """A plain publish that the server refuses is an event, a counter and a failed one in the ledger; the link stays."""
    async with connect(**CREDENTIALS) as nc, nc.events() as events:
        assert await nc.publish("no.2") is Outcome.SENT
        assert await nc.publish("yes") is Outcome.SENT
        await nc.flush()
        event = await until_event(events, ServerErrorReceived)
        assert isinstance(event, ServerErrorReceived)
        assert isinstance(event.error, PermissionsError)
        assert event.error.subject == "no.2"
        assert nc.stats().publish_failures["permission"] == 1
        assert (nc.ledger().failed, nc.ledger().confirmed, nc.stats().lost) == (1, 1, 0)


async def test_a_refused_request_raises_at_once(connect: Connect) -> None:
    """A request to a refused subject raises PermissionsError, not a timeout, and other requests are not touched."""

    async def answer(message: Message) -> bytes:
        return b"yes"

    async with connect(**CREDENTIALS) as nc, trio.open_nursery() as nursery:
        await nursery.start(nc.serve, "fine", answer)
        with trio.fail_after(2), pytest.raises(PermissionsError, match=r"no\.ask"):
            await nc.request("no.ask")
        assert (await nc.request("fine")).payload == b"yes"
        assert nc.stats().requests_inflight == 0
        nursery.cancel_scope.cancel()


async def test_a_refused_reply_subject_reaches_the_confirmed_publish(connect: Connect) -> None:
    """The server refuses a publish for its reply subject (`_R_.` is its own): the confirmed publish raises."""
    async with connect(**CREDENTIALS) as nc:
        with pytest.raises(PermissionsError, match="Publish with Reply"):
            await nc.publish("yes", b"x", reply="_R_.a.b", confirm=True)
        assert (nc.ledger().failed, nc.ledger().confirmed) == (1, 0)


async def test_a_refused_inbox_fails_the_request(connect: Connect) -> None:
    """Who may not subscribe to an inbox gets PermissionsError from `request`, each time, and not a timeout."""
    async with connect(user="mute", password="m") as nc:
        for _ in range(2):
            with trio.fail_after(2), pytest.raises(PermissionsError) as caught:
                await nc.request("anything")
            assert caught.value.operation == "subscription"
        assert nc.stats().requests_inflight == 0
        await nc.publish("anything", confirm=True)


# ------------------------------------------------------------------------------------------------- subscribing


async def test_a_refused_subscription_raises_where_it_is_used(connect: Connect) -> None:
    """`confirmed`, `receive` and `async for` of a refused subscription raise; another subscription is not touched."""
    async with connect(**CREDENTIALS) as nc, nc.subscribe("no.sub") as refused, nc.subscribe("yes.sub") as allowed:
        with pytest.raises(PermissionsError) as caught:
            await refused.confirmed()
        error = caught.value
        assert (error.operation, error.subject, error.queue_group) == ("subscription", "no.sub", None)
        await allowed.confirmed()
        with trio.fail_after(LIMIT_SECONDS):
            with pytest.raises(PermissionsError):
                await refused.receive()
            with pytest.raises(PermissionsError):
                await refused.receive_batch()
            with pytest.raises(PermissionsError):
                async for _ in refused:
                    pass
        await nc.publish("yes.sub", b"x")
        assert [message.payload for message in await take(allowed, 1)] == [b"x"]
        assert nc.stats().subscribe_failures["permission"] == 1


async def test_a_receiver_that_waits_hears_of_the_refusal(connect: Connect) -> None:
    """A task that waits in `receive` before the server has answered is woken with PermissionsError."""
    async with connect(**CREDENTIALS) as nc, nc.subscribe("no.sub") as sub:
        with trio.fail_after(LIMIT_SECONDS), pytest.raises(PermissionsError):
            await sub.receive()


async def test_a_refused_queue_group_is_told_from_the_others_of_its_subject(connect: Connect) -> None:
    """Of subscriptions to one subject only the one whose queue group is refused ends."""
    async with (
        connect(user="worker", password="w") as worker,
        connect(user="boss", password="b") as boss,
        worker.subscribe("jobs") as plain,
        worker.subscribe("jobs", queue_group="workers") as allowed,
        worker.subscribe("jobs", queue_group="others") as other,
    ):
        await allowed.confirmed()
        with pytest.raises(PermissionsError) as caught:
            await plain.confirmed()
        assert (caught.value.subject, caught.value.queue_group) == ("jobs", None)
        with pytest.raises(PermissionsError) as caught:
            await other.confirmed()
        assert (caught.value.subject, caught.value.queue_group) == ("jobs", "others")
        await boss.publish("jobs", b"work")
        assert [message.payload for message in await take(allowed, 1)] == [b"work"]


async def test_serve_and_router_raise_when_they_are_refused(connect: Connect) -> None:
    """`serve` and `Router.run` do not report started on a refused subject: they raise PermissionsError."""
    router = Router("refused")

    @router.route("free.a")
    async def fine(message: Message) -> None: ...

    @router.route("no.b")
    async def refused(message: Message) -> None: ...

    def permissions_only(group: BaseExceptionGroup[BaseException]) -> bool:
        matched, rest = group.split(PermissionsError)
        return matched is not None and rest is None

    async with connect(**CREDENTIALS) as nc:
        for start in (partial(nc.serve, "no.serve", fine), partial(router.run, nc)):
            with pytest.raises((PermissionsError, ExceptionGroup)) as caught:
                async with trio.open_nursery() as nursery:
                    await nursery.start(start)
            if isinstance(caught.value, BaseExceptionGroup):
                assert permissions_only(caught.value)
        await settle(nc)
        assert nc.stats().subscriptions == 0


@pytest.mark.core_server(users=(), max_subscriptions=2)
async def test_a_subscription_beyond_the_servers_limit_is_not_confirmed(connect: Connect) -> None:
    """`confirmed` returns only when the interest is in force: not when the server takes no more subscriptions."""
    async with connect() as nc, nc.subscribe("a") as a, nc.subscribe("b") as b, nc.subscribe("c") as c:
        with pytest.raises(Exception, match="maximum subscriptions exceeded"):
            await c.confirmed()
        await nc.publish("a", b"x")
        await nc.publish("b", b"x")
        assert [len(await take(sub, 1)) for sub in (a, b)] == [1, 1]


@pytest.mark.parametrize(
    "token", ['a"b', "a\\c", 'a\\"d', "größe", "\x01\x7f", "\u200b\U0010ffff", "'", '"_using_queue_"q']
)
async def test_a_refusal_finds_its_subject_however_it_is_quoted(connect: Connect, token: str) -> None:
    """The server quotes subjects and queue groups in its errors; any of them still reaches what it is about."""
    async with connect(**CREDENTIALS) as nc:
        with trio.fail_after(2), pytest.raises(PermissionsError) as caught:
            await nc.publish(f"no.{token}", confirm=True)
        assert caught.value.subject == f"no.{token}"
        async with nc.subscribe(f"no.{token}", queue_group=token) as sub:
            with trio.fail_after(2), pytest.raises(PermissionsError) as caught:
                await sub.confirmed()
            assert (caught.value.subject, caught.value.queue_group) == (f"no.{token}", token)


# ----------------------------------------------------------------------------------------------------- reload


async def test_permissions_taken_away_end_what_they_are_about(connect: Connect, server: ContractServer) -> None:
    """A reload that denies a subject ends its subscription with PermissionsError; others go on, so do publishes."""
    changed = User("alice", "sesame", publish=Rule(deny=("later.>",)), subscribe=Rule(deny=("later.>",)))
    async with connect(**CREDENTIALS) as nc, nc.subscribe("later.a") as taken, nc.subscribe("kept") as kept:
        await nc.publish("later.b", confirm=True)
        with pytest.raises(PermissionsError):
            await nc.publish("no.b", confirm=True)
        server.reload(ServerConfig(users=(changed, BOSS)))
        with trio.fail_after(LIMIT_SECONDS), pytest.raises(PermissionsError) as caught:
            await taken.receive()
        assert (caught.value.subject, caught.value.sid is not None) == ("later.a", True)
        with pytest.raises(PermissionsError):
            await nc.publish("later.b", confirm=True)
        await nc.publish("no.b", confirm=True)
        await nc.publish("kept", b"x")
        assert [message.payload for message in await take(kept, 1)] == [b"x"]
        assert nc.stats().lost == 0


async def test_of_two_subscriptions_to_a_subject_the_named_one_ends(connect: Connect, server: ContractServer) -> None:
    """After a reload the server names sids: two subscriptions of one subject both end, each by its own error."""
    changed = User("alice", "sesame", subscribe=Rule(deny=("later.a",)))
    async with (
        connect(**CREDENTIALS) as nc,
        nc.subscribe("later.a") as one,
        nc.subscribe("later.a") as two,
        nc.subscribe("later.*") as wide,
    ):
        await settle(nc)
        server.reload(ServerConfig(users=(changed, BOSS)))
        sids = set()
        for sub in (one, two):
            with trio.fail_after(LIMIT_SECONDS), pytest.raises(PermissionsError) as caught:
                await sub.receive()
            sids.add(caught.value.sid)
        assert len(sids) == 2
        await nc.publish("later.z", b"x")
        assert [message.payload for message in await take(wide, 1)] == [b"x"]


async def test_a_user_taken_away_is_told_and_comes_back(connect: Connect, server: ContractServer) -> None:
    """A reload that changes the password drops the client with the reason; changed back, the client returns."""
    changed = User("alice", "other")
    async with (
        connect(**CREDENTIALS, reconnect_delay_max_seconds=0.1) as nc,
        nc.subscribe("a") as sub,
        nc.events() as events,
    ):
        await sub.confirmed()
        server.reload(ServerConfig(users=(changed,)))
        lost = await until_event(events, Disconnected)
        assert isinstance(lost, Disconnected)
        assert lost.reason == "Authorization Violation"
        failed = await until_event(events, ReconnectFailed)
        assert isinstance(failed, ReconnectFailed)
        assert "Authorization Violation" in failed.reason
        assert nc.stats().reconnect_failures["auth"] == 1
        server.reload(ServerConfig(users=(ALICE,)))
        with trio.fail_after(LIMIT_SECONDS):
            await nc.publish("a", b"back", confirm=True)
        assert [message.payload for message in await take(sub, 1)] == [b"back"]


# ------------------------------------------------------------------------------------------------- credentials


async def test_user_and_password(connect: Connect, server: ContractServer) -> None:
    """User and password work as options and in the URL, where they win."""
    host = server.url.removeprefix("nats://")
    async with connect(**CREDENTIALS) as nc:
        await nc.flush()
    async with connect(f"nats://alice:sesame@{host}", user="boss", password="wrong") as nc:
        with pytest.raises(PermissionsError):
            await nc.publish("no.x", confirm=True)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"user": "alice", "password": "Sesame"},
        {"user": "alice", "password": ""},
        {"user": "nobody", "password": "sesame"},
        {"token": "sesame"},
    ],
    ids=["nothing", "wrong password", "empty password", "unknown user", "a token"],
)
async def test_wrong_credentials_are_an_error_of_their_own(
    connect: Connect, server: ContractServer, given: dict[str, str]
) -> None:
    """Who is not let in gets AuthorizationError with the address and the next step, and no secret in the text."""
    with trio.fail_after(LIMIT_SECONDS), pytest.raises(AuthorizationError) as caught:
        async with connect(**given):
            pass
    text = str(caught.value)
    assert caught.value.address == server.url
    assert server.url in text
    assert "Authorization Violation" in text
    assert "check user and password, token" in text
    assert "esame" not in text


@pytest.mark.core_server(users=(), token="s3cr3t:/@ %t")
async def test_a_token(connect: Connect, server: ContractServer) -> None:
    """A token works as an option and, percent-encoded, as the user of the URL; a wrong one is refused."""
    host = server.url.removeprefix("nats://")
    async with connect(token="s3cr3t:/@ %t") as nc:
        await nc.flush()
    async with connect(f"nats://s3cr3t%3A%2F%40%20%25t@{host}") as nc:
        await nc.flush()
    with pytest.raises(AuthorizationError) as caught:
        async with connect(f"nats://s3cr3t@{host}"):
            pass
    assert "s3cr3t" not in str(caught.value)

"""The JetStream API as the client asks it: subjects, prefixes, errors, pages, and what is refused before it is sent."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    APIError,
    ClientClosedError,
    ConsumerConfig,
    ConsumerNotFoundError,
    InvalidSubjectError,
    JetStream,
    JetStreamNotEnabledError,
    NatsError,
    OperationTimeoutError,
    PendingTimeoutError,
    ProtocolError,
    StreamConfig,
    StreamExistsError,
    StreamNotFoundError,
    WrongLastSequenceError,
)
from beamline_trio.jetstream import (
    APILevelError,
    ConsumerExistsError,
    MessageNotFoundError,
    PublishInProcessError,
    WrongLastMessageIdError,
    WrongStreamError,
    statistics_of,
)
from beamline_trio.jetstream._errors import api_error
from tests._memory import ToyServer, lose_link, opened
from tests.jetstream._script import answer, asked, error, headers_to, serve

Call = Callable[[JetStream], Awaitable[Any]]

CALLS: dict[str, tuple[str, Call]] = {
    "account_info": ("INFO", lambda js: js.account_info()),
    "api_level": ("INFO", lambda js: js.api_level()),
    "create_stream": ("STREAM.CREATE.S", lambda js: js.create_stream(StreamConfig(name="S"))),
    "update_stream": ("STREAM.UPDATE.S", lambda js: js.update_stream(StreamConfig(name="S"))),
    "stream_info": ("STREAM.INFO.S", lambda js: js.stream_info("S")),
    "delete_stream": ("STREAM.DELETE.S", lambda js: js.delete_stream("S")),
    "purge_stream": ("STREAM.PURGE.S", lambda js: js.purge_stream("S")),
    "stream_names": ("STREAM.NAMES", lambda js: js.stream_names()),
    "consumer_info": ("CONSUMER.INFO.S.c", lambda js: js.consumer_info("S", "c")),
    "update_consumer": (
        "CONSUMER.CREATE.S.c.a.b",
        lambda js: js.update_consumer("S", ConsumerConfig(durable_name="c", filter_subject="a.b")),
    ),
    "update_consumer with a wildcard": (
        "CONSUMER.CREATE.S.c",
        lambda js: js.update_consumer("S", ConsumerConfig(durable_name="c", filter_subject="a.*")),
    ),
    "delete_consumer": ("CONSUMER.DELETE.S.c", lambda js: js.delete_consumer("S", "c")),
    "consumer_names": ("CONSUMER.NAMES.S", lambda js: js.consumer_names("S")),
    "get_message": ("STREAM.MSG.GET.S", lambda js: js.get_message("S", sequence=1)),
    "delete_message": ("STREAM.MSG.DELETE.S", lambda js: js.delete_message("S", 1)),
}
# What the calls need to be told for a success.
ANSWERS: dict[str, dict[str, Any]] = {
    "STREAM.MSG.GET.S": {"message": {"subject": "S.1", "seq": 1, "time": "2024-01-01T00:00:00Z"}},
    "STREAM.MSG.DELETE.S": {"success": True},
}
calls = pytest.mark.parametrize("operation, call", CALLS.values(), ids=CALLS)


@calls
@pytest.mark.parametrize(
    "place, prefix",
    [
        ({}, "$JS.API"),
        ({"domain": "hub"}, "$JS.hub.API"),
        ({"api_prefix": "acme.js"}, "acme.js"),
    ],
)
async def test_where_a_request_goes(
    operation: str, call: Call, place: dict[str, str], prefix: str, autojump_clock: MockClock
) -> None:
    """Domain and prefix are in the subject of every request; the reply comes below the client's inbox prefix."""
    server = ToyServer()
    answer(server, f"{prefix}.{operation}", ANSWERS.get(operation, {}))
    async with opened(server, inbox_prefix="_IN.me") as nc:
        await call(JetStream(nc, domain=place.get("domain"), api_prefix=place.get("api_prefix")))
        (request,) = server.operations("PUB", "HPUB")
        assert request[1] == f"{prefix}.{operation}"
        assert request[2].startswith("_IN.me.")
        assert [sub[1][:7] for sub in server.operations("SUB")] == ["_IN.me."]


@calls
async def test_the_four_ways_to_be_cancelled(operation: str, call: Call, autojump_clock: MockClock) -> None:
    """A checkpoint on success; cancelled before, nothing is sent; while waiting, nothing stays; closed, it is told."""
    server = ToyServer()
    answer(server, f"$JS.API.{operation}", ANSWERS.get(operation, {}))
    async with opened(server) as nc:
        js = JetStream(nc)
        with trio.testing.assert_checkpoints():
            await call(js)
        sent = len(server.record)
        with trio.CancelScope() as scope:
            scope.cancel()
            await call(js)
        assert scope.cancelled_caught
        await nc.flush()
        assert [one.verb for one in server.record[sent:]] == ["PING"]
        answer(server, f"$JS.API.{operation}", None)
        with trio.move_on_after(1) as scope:
            await call(js)
        assert scope.cancelled_caught
        assert nc.stats().requests_inflight == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_closed_under_it, js, call)
            await trio.testing.wait_all_tasks_blocked()
            nc.connection.close()


async def _closed_under_it(js: JetStream, call: Call) -> None:
    with pytest.raises(ClientClosedError):
        await call(js)


@pytest.mark.parametrize(
    "call",
    [
        lambda js: js.create_stream(StreamConfig()),
        lambda js: js.create_stream(StreamConfig(name="a.b")),
        lambda js: js.create_stream(StreamConfig(name="S", subjects=["a b"])),
        lambda js: js.update_stream(StreamConfig(name="a\r\nPING")),
        lambda js: js.stream_info("*"),
        lambda js: js.delete_stream(">"),
        lambda js: js.purge_stream("x" * 256),
        lambda js: js.purge_stream("S", subject="a..b"),
        lambda js: js.purge_stream("S", before_sequence=1, keep=1),
        lambda js: js.stream_names(subject="a\r\nb"),
        lambda js: js.consumer_info("S", "a/b"),
        lambda js: js.delete_consumer("S", ""),
        lambda js: js.consumer_names("a\\b"),
        lambda js: js.update_consumer("S", ConsumerConfig()),
        lambda js: js.update_consumer("S", ConsumerConfig(name="a", durable_name="b")),
        lambda js: js.update_consumer("S T", ConsumerConfig(name="a")),
        lambda js: js.update_consumer("S", ConsumerConfig(name="a", filter_subject="b\r\nPUB c 0")),
        lambda js: js.update_consumer("S", ConsumerConfig(name="a", filter_subjects=["b c"])),
    ],
)
async def test_what_cannot_be_asked_is_not_sent(call: Call, autojump_clock: MockClock) -> None:
    """A name or subject that breaks the rules is a typed error before a byte leaves."""
    server = ToyServer()
    async with opened(server) as nc:
        with pytest.raises((InvalidSubjectError, ValueError)):
            await call(JetStream(nc))
        await nc.flush()
        assert server.operations("PUB", "HPUB", "SUB") == []


WRONG: Any = {"name": "S"}
NOT_TYPED: list[tuple[Call, str]] = [
    (lambda js: js.create_stream(WRONG), "configuration must be a StreamConfig, not dict"),
    (lambda js: js.create_consumer("S", WRONG), "configuration must be a ConsumerConfig, not dict"),
    (lambda js: js.create_stream(StreamConfig(name="S", subjects="abc")), r"subjects is 'abc'; .* \['abc'\]"),
    (lambda js: js.create_consumer("S", ConsumerConfig(name="c", filter_subjects="abc")), "filter_subjects is 'abc'"),
    (lambda js: js.create_stream(StreamConfig(name="S", max_age_seconds=cast("Any", "1"))), "max_age_seconds is '1'"),
    (lambda js: js.create_consumer("S", ConsumerConfig(name="c", backoff_seconds=cast("Any", [True]))), "backoff_sec"),
    (lambda js: js.publish("a", b"", message_id=cast("Any", 7)), "message_id must be a str, not int"),
    (lambda js: js.publish("a", b"", retry=cast("Any", 3)), "retry must be a PublishRetry, not int"),
]


@pytest.mark.parametrize("call, text", NOT_TYPED)
async def test_what_is_of_a_wrong_type_is_not_sent(call: Call, text: str, autojump_clock: MockClock) -> None:
    """It is a TypeError that names the argument before a byte leaves: a text is no list of subjects."""
    server = ToyServer()
    async with opened(server) as nc:
        with pytest.raises(TypeError, match=text):
            await call(JetStream(nc))
        with pytest.raises(ValueError, match="message_id is empty"):
            await JetStream(nc).publish("a", b"", message_id="")
        for identifier in (" a", "a ", "\ta", " "):
            with pytest.raises(ValueError, match="must not begin or end with white space"):
                await JetStream(nc).publish("a", b"", message_id=identifier)
        await nc.flush()
        assert server.operations("PUB", "HPUB", "SUB") == []
        assert sum(statistics_of(nc).publish_failures.values()) == 0
    with pytest.raises(TypeError, match="a client of open_client"):
        JetStream(WRONG)


@pytest.mark.parametrize("place", [{"domain": "a.b"}, {"domain": ""}, {"api_prefix": "a b"}, {"api_prefix": "a.*"}])
async def test_a_prefix_that_cannot_be(place: dict[str, str], autojump_clock: MockClock) -> None:
    """It is refused when the object is made."""
    async with opened(ToyServer()) as nc:
        with pytest.raises(InvalidSubjectError):
            JetStream(nc, domain=place.get("domain"), api_prefix=place.get("api_prefix"))
        with pytest.raises(ValueError, match="both"):
            JetStream(nc, domain="a", api_prefix="b")


@pytest.mark.parametrize(
    "err_code, kind",
    [
        (10059, StreamNotFoundError),
        (10058, StreamExistsError),
        (10014, ConsumerNotFoundError),
        (10149, ConsumerNotFoundError),
        (10013, ConsumerExistsError),
        (10148, ConsumerExistsError),
        (10071, WrongLastSequenceError),
        (10164, WrongLastSequenceError),
        (10070, WrongLastMessageIdError),
        (10060, WrongStreamError),
        (10039, JetStreamNotEnabledError),
        (10076, JetStreamNotEnabledError),
        (10037, MessageNotFoundError),
        (10043, MessageNotFoundError),
        (10158, PublishInProcessError),
        (10185, APILevelError),
        (10008, APIError),
    ],
)
async def test_errors(err_code: int, kind: type[APIError], autojump_clock: MockClock) -> None:
    """An error of the API is an exception of the class of its number, with the server's fields."""
    server = ToyServer()
    answer(server, "$JS.API.STREAM.INFO.S", error(400, err_code, "because"))
    async with opened(server) as nc:
        with pytest.raises(kind, match="because") as caught:
            await JetStream(nc).stream_info("S")
        assert type(caught.value) is kind
        assert (caught.value.code, caught.value.err_code, caught.value.description) == (400, err_code, "because")


async def test_errors_say_what_was_asked_and_what_to_do(autojump_clock: MockClock) -> None:
    """The text names the request, so that a program with ten streams tells which, and the next step."""
    server = ToyServer()
    answer(server, "$JS.API.STREAM.INFO.S", error(404, 10059, "stream not found"))
    async with opened(server) as nc:
        with pytest.raises(StreamNotFoundError, match="create it with create_stream") as caught:
            await JetStream(nc).stream_info("S")
    assert caught.value.asked == "STREAM.INFO.S"
    assert "STREAM.INFO.S: stream not found" in str(caught.value)


@pytest.mark.parametrize("raw", [None, [], "x", {"code": "400"}, {"description": 3}])
def test_an_error_without_form(raw: object) -> None:
    """Even an error that is no error becomes one."""
    assert isinstance(api_error(raw), APIError)


async def test_nobody_answers(autojump_clock: MockClock) -> None:
    """A 503 from the API says that there is no JetStream."""
    async with opened(ToyServer()) as nc:
        with pytest.raises(JetStreamNotEnabledError, match="nobody answers"):
            await JetStream(nc).account_info()


async def test_a_list_has_all_pages(autojump_clock: MockClock) -> None:
    """Each page is asked for from where the last one ended, and an empty one ends it."""
    server = ToyServer()
    names = [f"S{n}" for n in range(7)]

    def page(asked: Any) -> dict[str, Any]:
        offset = asked["offset"]
        return {"total": 7, "offset": offset, "limit": 3, "streams": names[offset : offset + 3] or None}

    serve(server, "$JS.API.STREAM.NAMES", page)
    answer(server, "$JS.API.CONSUMER.NAMES.S", {"total": 9, "consumers": ["c"]}, {"total": 9, "consumers": []})
    async with opened(server) as nc:
        js = JetStream(nc)
        assert await js.stream_names(subject="a.>") == names
        assert asked(server, "$JS.API.STREAM.NAMES") == [{"subject": "a.>", "offset": n} for n in (0, 3, 6)]
        assert await js.consumer_names("S") == ["c"]


async def test_a_level_that_the_server_has_not(autojump_clock: MockClock) -> None:
    """What an older server would silently leave out is refused: here if INFO says the level, else by the header."""
    config = StreamConfig(name="S", allow_msg_ttl=True)
    old, unsaid = ToyServer(api_lvl=0), ToyServer()
    answer(old, "$JS.API.STREAM.CREATE.S", {})
    answer(unsaid, "$JS.API.STREAM.CREATE.S", {})
    async with opened(old) as nc:
        with pytest.raises(APILevelError):
            await JetStream(nc).create_stream(config)
        await JetStream(nc).create_stream(StreamConfig(name="S"))
    assert headers_to(old, "$JS.API.STREAM.CREATE.S") == [None]
    async with opened(unsaid) as nc:
        await JetStream(nc).create_stream(config)
    assert headers_to(unsaid, "$JS.API.STREAM.CREATE.S") == [b"NATS/1.0\r\nNats-Required-Api-Level: 1\r\n\r\n"]


async def test_it_waits_through_an_outage(autojump_clock: MockClock) -> None:
    """Asked while down, a request goes out with the next link; without one it ends with the pending timeout."""
    server = ToyServer()
    answer(server, "$JS.API.STREAM.INFO.S", {"config": {"name": "S"}})
    async with opened(server, pending_timeout_seconds=30.0) as nc:
        js = JetStream(nc)
        await lose_link(server)
        with pytest.raises(PendingTimeoutError):
            await js.stream_info("S")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(js.stream_info, "S")
            await trio.sleep(5)
            server.come_up()
        answer(server, "$JS.API.STREAM.INFO.S", None)
        with pytest.raises(OperationTimeoutError):
            await js.stream_info("S")


async def test_an_answer_of_something_else(autojump_clock: MockClock) -> None:
    """A reply that is not the API's is an error of the protocol, not of the caller."""
    server = ToyServer()
    server.services[b"$JS.API.INFO"] = lambda _: b"hello"
    async with opened(server) as nc:
        with pytest.raises(NatsError, match="not JSON"):
            await JetStream(nc).account_info()


@pytest.mark.parametrize(
    "message",
    [
        None,
        {},
        {"subject": "S.1"},
        {"subject": 1, "seq": 1},
        {"subject": "S.1", "seq": 1, "data": "%"},
        {"subject": "S.1", "seq": 1, "data": 7},
        {"subject": "S.1", "seq": 1, "hdrs": base64.b64encode(b"no block").decode()},
    ],
)
async def test_what_is_no_stored_message(message: object, autojump_clock: MockClock) -> None:
    """An answer that has not subject, sequence and readable bytes is an error, never half a message."""
    server = ToyServer()
    answer(server, "$JS.API.STREAM.MSG.GET.S", {"message": message})
    async with opened(server) as nc:
        with pytest.raises(ProtocolError):
            await JetStream(nc).get_message("S", sequence=1)


@pytest.mark.parametrize("sequence", [0, -1, True, 1.0, "1", 2**64])
async def test_what_is_no_sequence(sequence: Any, autojump_clock: MockClock) -> None:
    """It is refused before anything is sent; so is asking for no message at all."""
    server = ToyServer()
    async with opened(server) as nc:
        js = JetStream(nc)
        with pytest.raises(ValueError, match="sequence"):
            await js.get_message("S", sequence=sequence)
        with pytest.raises(ValueError, match="sequence"):
            await js.delete_message("S", sequence)
        with pytest.raises(ValueError, match="neither sequence nor subject"):
            await js.get_message("S")
        assert not server.operations("PUB", "HPUB")


async def test_a_delete_without_success(autojump_clock: MockClock) -> None:
    """A server that says neither that it did it nor why not has not done it."""
    server = ToyServer()
    answer(server, "$JS.API.STREAM.MSG.DELETE.S", {"success": False})
    async with opened(server) as nc:
        with pytest.raises(MessageNotFoundError, match="not deleted"):
            await JetStream(nc).delete_message("S", 1)

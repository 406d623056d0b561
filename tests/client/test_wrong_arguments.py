"""Whatever is given for a public option: what is refused is refused by this library, by name, before a byte is sent."""

from __future__ import annotations

import datetime
import inspect
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio.testing
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import beamline_trio
from beamline_trio import (
    Client,
    ClientClosedError,
    ClientOptions,
    ConsumerConfig,
    CredentialsError,
    JetStream,
    NatsError,
    NkeySigner,
    OptionsError,
    StreamConfig,
    TLSFiles,
    TLSFilesNotFoundError,
    UserJWT,
    open_client,
)
from beamline_trio.jetstream import Consumer, ConsumerInfo
from beamline_trio.jetstream._wire import decode_record, encode_json, encode_record
from tests._memory import MemoryDialer, ToyServer, lose_link, opened
from tests.jetstream._script import answer

PACKAGE = str(Path(beamline_trio.__file__).parent)


class Odd:
    """A type of the caller's own."""

    def __repr__(self) -> str:
        return "<Odd>"


ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([
        "1", "", "queue", b"1", 3, -1, 0, 1.5, 2**70, float("nan"), float("inf"), True, [], ["a"], [1], [None], {},
        {"a": 1}, {1: "a"}, ("a", 2), {1, 2}, Odd(), Odd, object(), 1j, "\ud800", [b"a"], ["\ud800"], {"a": None},
        datetime.datetime(2026, 1, 1),  # without a zone
    ]),
    st.text(max_size=3), st.integers(), st.floats(), st.binary(max_size=3),
)  # fmt: skip


def check(error: Exception, name: str) -> None:
    """It is one of this library's own making: raised by a line of its own, and it names the option."""
    assert isinstance(error, (NatsError, TypeError, ValueError)), repr(error)
    assert not isinstance(error, (UnicodeError, OverflowError)), repr(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    assert frame.filename.startswith(PACKAGE), f"{name}: {error!r} comes from {frame.filename}:{frame.lineno}"
    assert (frame.line or "").startswith(("raise", 'f"', ")", "(")), f"{name}: {error!r} at {frame.line}"
    # Of headers it is one header that is refused.
    words = (name.removesuffix("_seconds"), name.removesuffix("s"), "subject", "name", "server")
    assert any(word in str(error) for word in words), str(error)


def refused(name: str, call: Callable[[], object]) -> None:
    """It works, or is refused."""
    try:
        call()
    except Exception as error:  # noqa: BLE001  # that it is none of another kind is what is tested
        check(error, name)


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from([field.name for field in attrs.fields(ClientOptions)]), value=ODD)
@example(name="servers", value=3)
@example(name="name", value="")
def test_options_of_a_client(name: str, value: Any) -> None:
    """An OptionsError or AddressError, whatever the value; nothing is dialled by making a client."""
    refused(name, lambda: open_client(**{name: value}))


@settings(max_examples=600, deadline=None)
@given(
    kind=st.sampled_from([StreamConfig, ConsumerConfig]),
    data=st.data(),
    value=ODD,
)
def test_fields_of_streams_and_consumers(kind: Any, data: st.DataObject, value: Any) -> None:
    """A value that JSON or the server could not take never gets as far as JSON."""
    name = data.draw(st.sampled_from([field.name for field in attrs.fields(kind)]))
    refused(name, lambda: encode_json(encode_record(kind(**{name: value}))))


ENUMS = [
    (StreamConfig(retention="queue"), "retention is 'queue'; it must be one of limits, interest, workqueue"),  # type: ignore[arg-type]
    (StreamConfig(storage="disk"), "storage is 'disk'; it must be one of file, memory"),  # type: ignore[arg-type]
    (ConsumerConfig(name="c", ack_policy="some"), "ack_policy is 'some'; it must be one of none, all, explicit"),  # type: ignore[arg-type]
    (ConsumerConfig(name="c", deliver_policy="first"), "deliver_policy is 'first'; it must be one of all, last"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("config, text", ENUMS, ids=lambda value: value if isinstance(value, str) else "")
async def test_enums(config: StreamConfig | ConsumerConfig, text: str, autojump_clock: MockClock) -> None:
    """A ValueError with the value and all that may stand there; nothing is sent."""
    server = ToyServer()
    async with opened(server) as nc:
        with pytest.raises(ValueError, match=text):
            if isinstance(config, StreamConfig):
                await JetStream(nc).create_stream(attrs.evolve(config, name="S"))
            else:
                await JetStream(nc).create_consumer("S", config)
        await nc.flush()
        assert server.operations("PUB", "HPUB", "SUB") == []


def test_an_enum_of_a_newer_server_goes_back_as_it_came() -> None:
    """Reading does not refuse what this version does not know, and an update does not lose it."""
    config = decode_record(StreamConfig, {"name": "S", "retention": "queue", "storage": "file"})
    assert (config.retention, config.storage, config.extra) == (None, "file", {"retention": "queue"})
    assert encode_record(config) == {"name": "S", "retention": "queue", "storage": "file"}


def arguments_of(call: Callable[..., object], *without: str) -> list[str]:
    """The names of a call's arguments."""
    return [name for name in inspect.signature(call).parameters if name not in {"self", *without}]


def consumer_of(nc: Client) -> Consumer:
    """A consumer, without asking a server."""
    js = JetStream(nc)
    return Consumer(js._attachment, js._api, ConsumerInfo(stream_name="S", name="c", config=ConsumerConfig(name="c")))


CALLS: dict[str, tuple[Callable[..., object], Callable[[Client], Callable[..., object]], dict[str, Any]]] = {
    "publish": (Client.publish, lambda nc: nc.publish, {"subject": "a"}),
    "subscribe": (Client.subscribe, lambda nc: nc.subscribe, {"subject": "a"}),
    "request_many": (Client.request_many, lambda nc: nc.request_many, {"subject": "a"}),
    "js.publish": (JetStream.publish, lambda nc: JetStream(nc).publish, {"subject": "a"}),
    "js.publisher": (JetStream.publisher, lambda nc: JetStream(nc).publisher, {}),
    "js.purge_stream": (JetStream.purge_stream, lambda nc: JetStream(nc).purge_stream, {"name": "S"}),
    "fetch": (Consumer.fetch, lambda nc: consumer_of(nc).fetch, {}),
    "messages": (Consumer.messages, lambda nc: consumer_of(nc).messages, {}),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_arguments_of_calls(call: str, data: st.DataObject) -> None:
    """Each argument of each call, given anything: accepted, or refused by name."""
    function, bound, needed = CALLS[call]
    name = data.draw(st.sampled_from(arguments_of(function)))
    value = data.draw(ODD)

    async def main() -> None:
        async with opened(ToyServer()) as nc:
            try:
                made = bound(nc)(**needed | {name: value})
                if isinstance(made, Awaitable):
                    with trio.move_on_after(0.5):
                        await made
            except Exception as error:  # noqa: BLE001  # as above
                if not isinstance(
                    error, NatsError
                ):  # those are this library's own, and of a server that answers nothing
                    check(error, name)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_publish_that_waits_when_the_client_closes(autojump_clock: MockClock) -> None:
    """Written, its fate is unknown, and the text says what to do; never written, it says that."""
    for write, text in ((True, "may or may not have arrived.*message_id"), (False, "nothing was sent.*next client")):
        server = ToyServer()
        answer(server, "a", None)  # silence
        async with trio.open_nursery() as nursery:

            async def publish(js: JetStream, text: str = text) -> None:
                with pytest.raises(ClientClosedError, match=text):
                    await js.publish("a", b"x")

            with trio.CancelScope() as scope:
                async with opened(server) as nc:
                    if not write:
                        await lose_link(server)
                    nursery.start_soon(publish, JetStream(nc))
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
                    await trio.sleep_forever()


@pytest.mark.parametrize("field", ["ca_file", "cert_file", "key_file"])
def test_a_missing_file_of_tls(field: str, tmp_path: Path) -> None:
    """A FileNotFoundError that names the field and the path, before anything is dialled."""
    there = tmp_path / "there.pem"
    there.touch()
    missing = tmp_path / "missing.pem"
    given: dict[str, Any] = {"cert_file": str(there), field: missing}
    files = TLSFiles(**given)
    with pytest.raises(FileNotFoundError, match=rf"{field} is '.*missing\.pem': [Nn]o such file") as caught:
        open_client("tls://nowhere.invalid", tls=files)
    assert isinstance(caught.value, TLSFilesNotFoundError)
    assert caught.value.filename == str(missing)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"nkey": NkeySigner("U", 3)}, "nkey has NkeySigner whose sign must be a function.*not int"),  # type: ignore[arg-type]
        ({"nkey": NkeySigner(3, bytes)}, "nkey has a public key that is no str, but int"),  # type: ignore[arg-type]
        ({"creds": UserJWT(3)}, "creds has a UserJWT whose jwt must be a str or a callback.*not int"),  # type: ignore[arg-type]
        ({"creds": UserJWT("a.b.c", "x")}, "creds has UserJWT whose sign must be a function.*not str"),  # type: ignore[arg-type]
        ({"servers": 3}, "servers must be a URL, or a list of URLs.*not int"),
        ({"name": ""}, "name is ''; it must be a text of at least one printable character"),
        ({"name": "a\nNATS_LAME_DUCK"}, "name is .*printable"),
    ],
)
def test_what_is_told_of_options(options: Any, text: str) -> None:
    """The option, the value or its type, and what it must be."""
    with pytest.raises(OptionsError, match=text):
        open_client(**options)


def test_a_list_of_servers_is_given_one_by_one() -> None:
    """As other clients take it: what is to be written instead is told."""
    with pytest.raises(OptionsError, match=r"servers has a list in it; .*open_client\(\*urls\)"):
        open_client(["nats://a", "nats://b"])  # type: ignore[arg-type]


@pytest.mark.parametrize("given, told", [(3, "returned int;"), ("x" * 86, "returned str of 86;"), (None, "NoneType;")])
async def test_a_signer_that_gives_something_else(given: Any, told: str, autojump_clock: MockClock) -> None:
    """The error says what came, and what must come, and never shows it."""
    server = ToyServer(nonce="abc")
    with pytest.raises(CredentialsError, match=f"{told} return the raw Ed25519 signature") as caught:
        async with open_client(server.url, dialer=MemoryDialer(server), creds=UserJWT("a.b.c", lambda _: given)):
            raise AssertionError
    assert "xxx" not in str(caught.value)

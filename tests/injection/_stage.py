"""Calls of the public interface with one hostile argument, and what the server read of each.

A call is made as its signature asks, all other arguments being ordinary: awaited, entered, started in a nursery, or
used as a decorator. What it raised does not matter here, only what the server has read.

Must not judge.
"""

from __future__ import annotations

import inspect
import math
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import attrs
import trio
import trio.testing

from beamline_trio import Client, Message, NatsError, Router
from beamline_trio.jetstream import ConsumerConfig, JetStream, JetStreamMessage, StreamInfo
from beamline_trio.jetstream._attachment import attachment_of
from beamline_trio.jetstream._source import Source
from beamline_trio.kv import Bucket, BucketConfig
from beamline_trio.kv._configuration import bucket_status, stream_config
from beamline_trio.router import KVIdempotence
from tests._toy_server import Operation, ToyServer

from ._surface import Place, calls_of, exported, records

# Long enough for whatever a call waits for in virtual time, short enough for its retries not to matter.
PATIENCE_SECONDS: Final = 0.5


async def _handle(message: Message) -> bytes | None:
    return b"answer"


def _stored_message(nc: Client) -> JetStreamMessage:
    """A message as a consumer gives it."""
    source = Source(attachment_of(nc), ConsumerConfig())
    reply = b"$JS.ACK.S.C.1.1.1.1700000000000000000.0"
    return JetStreamMessage(nc, source, trio.current_time(), b"ordinary", b"x", reply, None)


def _bucket(nc: Client) -> Bucket:
    """A bucket as `create_bucket` gives it."""
    config = stream_config(BucketConfig(bucket="ordinary", limit_marker_seconds=1))
    return Bucket(JetStream(nc), bucket_status(StreamInfo(config=config)))


class _HoldsEach(OrderedDict[str, tuple[float, int]]):
    """Claims in which each key that is released is found."""

    def pop(self, key: str, default: object = None) -> Any:
        return math.inf, 1


def _idempotence(nc: Client) -> KVIdempotence:
    """One that has claimed what it is told to release."""
    keys = KVIdempotence(_bucket(nc))
    keys._held = _HoldsEach()
    return keys


ORDINARY: Final[dict[str, Any]] = {
    "subject": "ordinary.subject",
    "reply": "ordinary.reply",
    "queue_group": "ordinary",
    "headers": {"Ordinary": "value"},
    "payload": b"payload",
    "handler": _handle,
    "concurrency": 1,
    "on_outcome": None,
    "name": "ordinary",
    "stream": "ordinary",
    "bucket": "ordinary",
    "key": "ordinary",
    "value": b"value",
    "revision": 1,
    "sequence": 1,
}
# Fields of records for which `ordinary` is none.
ORDINARY_FIELDS: Final = {"version": "1.0.0"}
# What an ordinary call has in a place that does not take any text.
ORDINARY_TEXTS: Final = {"JetStreamMessage.nak.reason": "backoff", "serve_discovery.service.version": "1.0.0"}
# Optional arguments without which a call does not use what it is given.
_OF_A_STREAM: Final = {"stream": "ordinary"}
TOGETHER_WITH: Final[dict[str, dict[str, Any]]] = {
    "JetStream.get_message.stream": {"sequence": 1},
    "Router.route.consumer": _OF_A_STREAM,
    "Router.route.durable": _OF_A_STREAM,
    "Router.route.dead_letter": _OF_A_STREAM,
}
# Where a route says itself what the configuration of its consumer may not.
REFUSED: Final = tuple(
    f"Router.route.consumer.{field}" for field in ("name", "durable_name", "filter_subject", "filter_subjects")
)
# How to get an object of each class that has calls.
OBJECTS: Final[dict[str, Callable[[Client], Any]]] = {
    "Client": lambda nc: nc,
    "Message": lambda nc: Message(nc, b"ordinary", b"x", b"ordinary.reply", None),
    "Router": lambda nc: Router(),
    "JetStream": JetStream,
    "JetStreamMessage": _stored_message,
    "Publisher": lambda nc: JetStream(nc).publisher(),
    "Subscription": lambda nc: nc.subscribe("ordinary"),
    "Replies": lambda nc: nc.request_many("ordinary"),
    "Bucket": _bucket,
    "KVIdempotence": _idempotence,
}
# Objects that are entered before they are called, and what the server reads of entering and leaving alone.
ENTERED: Final = {"Publisher": [("SUB", 2, 0), ("UNSUB", 1, 0)]}
# What an object that was made with hostile text does then.
USES: Final[dict[str, Callable[[Client, Any], Awaitable[object]]]] = {
    "Router": lambda nc, router: _serve_one(nc, router, {"subject": "ordinary"}),
    "JetStream": lambda nc, js: js.publish("ordinary", b"x"),
}
# Functions that open clients, which the options' own test calls.
OPENERS: Final = ("open_client", "run_client")


class NoOrdinaryValueError(Exception):
    """A call needs an argument that nothing is known about: give it one in ORDINARY."""


def hostile_argument(place: Place, text: str) -> Any:
    """What a place is given: the text itself, in a header's name or value, or in a record."""
    if place.field:
        return _record_with(place, text)
    if place.parameter == "headers":
        return {"Name": text} if len(text) % 2 else {text: "value"}
    return text


def _record_with(place: Place, text: str) -> Any:
    annotation = str(inspect.signature(function_of(place)).parameters[place.parameter].annotation)
    record = next(record for name, record in records().items() if re.search(rf"\b{name}\b", annotation))
    value = _of_type(str(getattr(attrs.fields(record), place.field).type), text)
    # A durable name that is given beside another name must be the same, and a route names its consumer itself.
    named = place.field != "durable_name" and place.owner != "Router"
    return attrs.evolve(ordinary_record(record, named=named), **{place.field: value})


def _of_type(annotation: str, text: str) -> Any:
    """Text as a field holds it: alone, in a sequence, or as names and values."""
    if re.search(r"\b(dict|Mapping)\b", annotation):
        return {"name": text} if len(text) % 2 else {text: "value"}
    return (text, "ordinary") if re.search(r"\b(tuple|list|Sequence)\b", annotation) else text


def ordinary_record(record: type, *, named: bool = True) -> Any:
    """A record with an ordinary name, and an ordinary value in each field that must be given."""
    given = {
        field.name: _of_type(str(field.type), ORDINARY_FIELDS.get(field.name, "ordinary"))
        for field in attrs.fields(record)
        if field.default is attrs.NOTHING or (named and field.name == "name")
    }
    return record(**given)


def function_of(place: Place) -> Callable[..., Any]:
    """The function behind a place."""
    if not place.owner:
        function: Callable[..., Any] = exported()[place.call]
        return function
    return calls_of(exported()[place.owner])[place.call]


def arguments_for(nc: Client, place: Place, value: Any) -> dict[str, Any]:
    """All arguments of a call: the one in question, and ordinary ones where there is no default."""
    arguments: dict[str, Any] = dict(TOGETHER_WITH.get(f"{place.owner}.{place.call}.{place.parameter}", {}))
    known = {**ORDINARY, "client": nc, "js": JetStream(nc)}
    for parameter in inspect.signature(function_of(place)).parameters.values():
        if parameter.name in ("self", "task_status"):
            continue
        if parameter.name == place.parameter:
            arguments[parameter.name] = value
        elif parameter.default is inspect.Parameter.empty:
            record = records().get(str(parameter.annotation))
            if parameter.name not in known and record is None:
                raise NoOrdinaryValueError(f"{place}: {parameter.name}: {parameter.annotation}")
            other = known[parameter.name] if record is None else ordinary_record(record)
            wants_bytes = str(parameter.annotation) == "bytes" and isinstance(other, str)
            arguments[parameter.name] = other.encode() if wants_bytes else other
    return arguments


async def call(nc: Client, place: Place, text: str) -> None:
    """Make the call with this text in its place, whatever becomes of it; the record that holds it may refuse it."""
    function = function_of(place)
    arguments = arguments_for(nc, place, hostile_argument(place, text))
    with trio.move_on_after(PATIENCE_SECONDS):
        if place.call == "__init__":
            await USES[place.owner](nc, exported()[place.owner](**arguments))
            return
        owner: Any = OBJECTS[place.owner](nc) if place.owner else None
        bound = partial(function, owner) if place.owner and inspect.isfunction(function) else function
        if place.owner in ENTERED:
            async with owner:
                await bound(**arguments)
        elif "task_status" in inspect.signature(function).parameters:
            await _start(partial(bound, **arguments))
        elif place.owner == "Router":
            await _serve_one(nc, Router(), arguments)
        else:
            await _use(nc, bound(**arguments))


async def _start(start: Callable[..., Awaitable[object]]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(start)
        nursery.cancel_scope.cancel()


async def _serve_one(nc: Client, router: Router, arguments: dict[str, Any]) -> None:
    router.route(**arguments)(_handle)
    await _start(partial(router.run, nc))


async def _use(nc: Client, result: Any) -> None:
    if inspect.isawaitable(result):
        await result
    elif hasattr(result, "__aenter__"):
        async with result:
            await nc.flush()  # what is left before it was written is taken back


def shape(operations: list[Operation]) -> list[tuple[str, int, int]]:
    """Verb, number of arguments and number of header lines of each operation."""
    return [(one.verb, len(one.args), (one.header or b"").count(b"\n")) for one in operations]


async def operations_of(server: ToyServer, nc: Client, place: Place, text: str) -> tuple[list[Operation], bool]:
    """What the server read of a call, but for keep-alives, and whether the call raised."""
    await nc.flush()
    before, raised = len(server.record), False
    try:
        await call(nc, place, text)
    except* (NatsError, OSError, ValueError, TypeError):
        raised = True
    await nc.flush()
    return [one for one in server.record[before:] if one.verb not in ("PING", "PONG")], raised


def was_refused(place: Place, operations: list[Operation]) -> bool:
    """Whether nothing of a call itself was sent."""
    return shape(operations) == ENTERED.get(place.owner, [])


async def ordinary_shape(server: ToyServer, nc: Client, place: Place) -> list[tuple[str, int, int]]:
    """What the server reads of an ordinary call, once what only the first needs is there; of one that is refused
    whatever the text is, nothing.
    """
    text = ORDINARY_TEXTS.get(str(place), "Ordinary")
    await operations_of(server, nc, place, text)
    operations, raised = await operations_of(server, nc, place, text)
    if str(place) in REFUSED:
        assert raised, f"an ordinary call for {place} is not refused"
        assert operations == [], f"a call for {place} is refused when it was sent"
    else:
        assert operations, f"an ordinary call for {place} puts nothing on the wire"
    return shape(operations)

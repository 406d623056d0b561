"""What of the public interface takes text that may reach the wire, found by looking: a new call cannot be forgotten.

A parameter counts when its annotation speaks of text or headers, or of a record that has a field which does.

Must not list calls: what is listed here says only what is no call.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

PACKAGES: Final = tuple(
    name
    for name in (
        "beamline_trio",
        "beamline_trio.client",
        "beamline_trio.router",
        "beamline_trio.jetstream",
        "beamline_trio.kv",
        "beamline_trio.service",
    )
    if importlib.util.find_spec(name) is not None
)
_TEXT: Final = re.compile(r"\bstr\b|\bHeadersInput\b")

# Classes whose methods put nothing on the wire, and why.
NO_WRITERS: Final = {
    "Dialer": "reaches servers; it speaks no NATS",
    "TCPDialer": "reaches servers; it speaks no NATS",
    "WebSocketDialer": "speaks HTTP before NATS: the test of the upgrade gives it its text",
    "Headers": "data, which publish and its like take: they are called with it",
    "Secret": "data of the options",
    "UserJWT": "data of the options",
    "NkeySigner": "data of the options",
    "PublishEncoder": "turns into bytes what publish and its like are called with; it sends nothing",
    "Idempotence": "a protocol; KVIdempotence is what sends",
    "MemoryIdempotence": "keeps keys in memory",
    "RouteCounters": "counts in memory",
    "ClusterWatch": "asks by stream_info and consumer_info, which are called, of a service by a name that is checked",
    "RegionPublisher": "publishes by JetStream.publish and its publisher, which are called",
}
# Classes that users do not make, and where they come from; the text of all other constructors is tried.
NOT_MADE: Final = {
    "Client": "open_client",
    "Message": "a subscription",
    "Subscription": "Client.subscribe",
    "Replies": "Client.request_many",
    "EventStream": "Client.events",
    "Consumer": "JetStream.create_consumer",
    "Messages": "Consumer.messages",
    "Publisher": "JetStream.publisher",
    "JetStreamMessage": "Consumer.fetch",
    "Bucket": "open_bucket",
    "Route": "Router.route",
}
# Methods that are the wiring between stages, or that write nothing; and why.
NO_CALLS: Final = {
    "Client.pending_bounds": "for subscriptions: two numbers",
    "Client.set_server_pool": "takes URLs, of which only credentials are sent: the test of the options gives those",
    "Subscription.skipped": "called by the reader",
    "Messages.skipped": "called by the reader",
    "Route.hold": "keeps the reason in memory",
    "Route.release": "forgets a reason",
    "Consumer.messages": "the configuration of a stream in it goes where that of JetStream.create_stream goes",
    "check_message_id": "returns the id, which `JetStream.publish` is to send",
    "check_stored": "names the subject in an error that it raises",
    "dialer_of": "takes the options of a client, which their own test gives it; makes an object that speaks no NATS",
    "pattern_of": "makes a pattern to compare subjects with",
    "from_anyio": "takes names of files, which are read and not sent",
}


@dataclasses.dataclass(frozen=True)
class Place:
    """A parameter of a call; for a record the field in it."""

    owner: str
    call: str
    parameter: str
    field: str = ""

    def __str__(self) -> str:
        return ".".join(filter(None, (self.owner, self.call, self.parameter, self.field)))


def exported() -> dict[str, Any]:
    """Every public name of the packages that users call."""
    found: dict[str, Any] = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        found.update({name: getattr(module, name) for name in dir(module) if not name.startswith("_")})
    return found


def records() -> dict[str, type]:
    """The exported records: data that calls take, or give."""
    return {name: value for name, value in exported().items() if inspect.isclass(value) and attrs.has(value)}


def owners() -> dict[str, type]:
    """The exported classes whose methods may write: no records, errors, protocols of types, or enumerations."""
    return {
        name: value
        for name, value in exported().items()
        if inspect.isclass(value)
        and not attrs.has(value)
        and not issubclass(value, (BaseException, str, int))
        and name not in NO_WRITERS
    }


def calls_of(owner: type) -> dict[str, Callable[..., Any]]:
    """The public methods of a class, those of the class itself too, and its constructor."""
    return {
        name: method
        for name, method in inspect.getmembers(owner, inspect.isroutine)
        if inspect.isfunction(method) or inspect.ismethod(method)
        if (not name.startswith("_") and f"{owner.__name__}.{name}" not in NO_CALLS)
        or (name == "__init__" and owner.__name__ not in NOT_MADE)
    }


def places() -> list[Place]:
    """Every place of the public interface where text goes in."""
    found: list[Place] = []
    for name, owner in owners().items():
        for call, function in calls_of(owner).items():
            found.extend(_places_of(name, call, function))
    for name, function in exported().items():
        if inspect.isfunction(function) and name not in NO_CALLS:
            found.extend(_places_of("", name, function))
    return sorted(set(found), key=str)


def _places_of(owner: str, call: str, function: Callable[..., Any]) -> Iterator[Place]:
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "task_status":  # it is told something
            continue
        annotation = str(parameter.annotation)
        if _TEXT.search(annotation):
            yield Place(owner, call, parameter.name)
        for name in re.findall(r"\w+", annotation):
            record = records().get(name)
            if record is not None:
                yield from (Place(owner, call, parameter.name, field) for field in text_fields(record))


def text_fields(record: type) -> list[str]:
    """The fields of a record that hold text and that its constructor takes."""
    return [field.name for field in attrs.fields(record) if field.init and _TEXT.search(str(field.type)) is not None]

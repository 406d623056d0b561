"""A file of routes: TOML -> a router whose handlers are mappings.

    [router]                        name, version, grace_seconds
    [[routes]]                      name, subject, and what `Router.route` takes: stream, durable, concurrency, ...
    [[routes.filter]]               conditions, all of which must hold
    [routes.transform]              what the payload becomes
    [routes.target]                 where it goes: subject, or reply = true; headers, keep_headers, confirm

Must not run anything, and must not read the file's texts as anything but constants, paths and templates.
"""

from __future__ import annotations

import os
import tomllib
from typing import Any, Final

import attrs

from ...protocol import Headers, InvalidHeaderError, InvalidSubjectError, encode_subject
from ...router import Retry
from ._conditions import compile_condition
from ._errors import RouteFileError
from ._fields import Table
from ._mapping import Mapping, payload_kind
from ._templates import TextTemplate, compile_template, compile_text

_BYTES_MAX: Final = 1_048_576
_ROUTE_OPTIONS: Final[dict[str, type]] = {
    "queue_group": str,
    "stream": str,
    "durable": str,
    "concurrency": int,
    "queue_messages_max": int,
    "queue_bytes_max": int,
    "dead_letter": str,
    "deadline_seconds": float,
    "rate": float,
    "double_ack": bool,
}
_KINDS: Final = ("json", "text", "bytes")
_CONFIRMS: Final = ("route", "stream", "server", "none")


@attrs.frozen(kw_only=True)
class FileRoute:
    """A route as the file has it.

    Attributes:
        name: its name.
        subject: which messages it takes.
        options: arguments of `Router.route` that the file gives.
        retry: how often and when a message comes again; None = as by default.
        mapping: what is done with a message.
    """

    name: str
    subject: str
    options: dict[str, Any]
    retry: Retry | None
    mapping: Mapping


@attrs.frozen(kw_only=True)
class RouteFile:
    """What stands in a file of routes.

    Attributes:
        name: of the router.
        version: of what it does, for discovery.
        grace_seconds: at a drain, how long handlers may go on; None = as by default.
        routes: the routes, in order.
    """

    name: str
    version: str
    grace_seconds: float | None
    routes: tuple[FileRoute, ...]


def load_route_file(path: str | os.PathLike[str]) -> RouteFile:
    """Read a file of routes.

    Raises:
        RouteFileError: it cannot be read, is no TOML or larger than 1 MiB, or says what cannot be done; `where` tells
            the place.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise RouteFileError("", f"cannot read {name}: {error.strerror}") from None
    if len(data) > _BYTES_MAX:
        raise RouteFileError("", f"{name} has more than {_BYTES_MAX} bytes; that is no file of routes")
    try:
        return read_route_file(data.decode())
    except UnicodeDecodeError:
        raise RouteFileError("", f"{name} is not UTF-8") from None


def read_route_file(text: str) -> RouteFile:
    """Read the text of a file of routes.

    Raises:
        RouteFileError: see `load_route_file`.
    """
    try:
        table = Table(tomllib.loads(text), "")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RouteFileError("", f"it is no TOML: {error}") from None
    router = Table(table.take("router", dict) or {}, "router")
    routes = table.several("routes", _read_route)
    file = RouteFile(
        name=router.take("name", str, "router") or "router",
        version=router.take("version", str, "0.1.0") or "0.1.0",
        grace_seconds=router.take("grace_seconds", float),
        routes=routes,
    )
    router.end()
    table.end()
    if not routes:
        raise RouteFileError("routes", "there is none; add one with [[routes]], a name and a subject")
    return file


def _read_route(raw: Any, where: str) -> FileRoute:
    table = Table(raw, where)
    name, subject = table.need("name", str), table.need("subject", str)
    options = {key: value for key, kind in _ROUTE_OPTIONS.items() if (value := table.take(key, kind)) is not None}
    retry = table.raw("retry", _read_retry)
    mapping = _read_mapping(table, is_stream="stream" in options)
    table.end()
    return FileRoute(name=name, subject=subject, options=options, retry=retry, mapping=mapping)


def _read_retry(raw: Any, where: str) -> Retry:
    table = Table(raw, where)
    given: dict[str, Any] = {
        "jitter": table.take("jitter", float),
        "max_deliver": table.take("max_deliver", int),
        "ack_wait_seconds": table.take("ack_wait_seconds", float),
        "delays_seconds": table.take("delays_seconds", list),
    }
    table.end()
    try:
        return Retry(**{key: value for key, value in given.items() if value is not None})
    except (TypeError, ValueError) as error:
        raise RouteFileError(where, str(error)) from None


def _read_mapping(route: Table, *, is_stream: bool) -> Mapping:
    kind: Any = route.one_of("payload", ("", *_KINDS), "")
    conditions = route.several("filter", compile_condition)
    transform = route.raw("transform", compile_template)
    target = Table(route.need("target", dict), route.place("target"))
    mapping = attrs.evolve(_read_target(target, is_stream=is_stream), filter=conditions, transform=transform)
    wanted = payload_kind(mapping)
    for path in mapping.paths:
        if (kind == "text" and path.is_within_payload) or (kind == "bytes" and path.root == "payload"):
            raise RouteFileError(
                route.place("payload"), f'it is {kind!r}, and {path.text} looks into it; write payload = "json"'
            )
    return attrs.evolve(mapping, payload=kind or wanted)


def _read_target(table: Table, *, is_stream: bool) -> Mapping:
    subject = table.raw("subject", _read_subject)
    reply = table.take("reply", bool, False)
    if (subject is None) is not reply:
        raise RouteFileError(table.place("subject"), "a target has a subject, or reply = true, and not both")
    if reply and is_stream:
        raise RouteFileError(
            table.place("reply"), "the messages of a stream have no sender that waits for a reply; give a subject"
        )
    headers = table.raw("headers", _read_headers) or ()
    keep = table.take("keep_headers", bool, False)
    confirm: Any = table.one_of("confirm", _CONFIRMS, "route")
    table.end()
    return Mapping(subject=subject, headers=headers, keep_headers=bool(keep), confirm=confirm)


def _read_subject(raw: Any, where: str) -> TextTemplate:
    template = compile_text(raw, where)
    for slot in template.slots:
        if slot.optional:
            raise RouteFileError(where, f"{slot.path.text}? may be missing, and a subject has no empty token")
    try:
        encode_subject("".join(piece if isinstance(piece, str) else "x" for piece in template.pieces))
    except InvalidSubjectError as error:
        raise RouteFileError(where, str(error)) from None
    return template


def _read_headers(raw: Any, where: str) -> tuple[tuple[str, TextTemplate], ...]:
    table = Table(raw, where)
    headers = []
    for name in raw:
        place = table.place(name)
        if name.lower().startswith(("nats-msg-id", "beamline-")):
            raise RouteFileError(place, "the router writes this header itself; take another name")
        template = compile_text(raw[name], place)
        try:
            Headers([(name, "".join(piece for piece in template.pieces if isinstance(piece, str)))])
        except InvalidHeaderError as error:
            raise RouteFileError(place, str(error)) from None
        headers.append((name, template))
    return tuple(headers)

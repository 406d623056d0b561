r"""A conversation of raw clients with a server, as data: what is sent, what is waited for, what happens to the server.

A script is a list of steps and the configuration of its server. It says nothing of what the server answers: that is
what `_transcript` records, on the real server and on the simulated one, and the two records are compared.

The functions in lower case are for the tables of cases: `hello("b")`, `send(b"PUB a 1\r\nx\r\n")`, `sync()`. Where
no client is named it is "a".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import attrs

from ._server import ServerConfig

# What a client of today says; a case names only what it changes.
CONNECT: dict[str, Any] = {
    "verbose": False,
    "pedantic": False,
    "tls_required": False,
    "name": "raw",
    "lang": "bytes",
    "version": "1",
    "protocol": 1,
    "echo": True,
    "headers": True,
    "no_responders": True,
}


@attrs.frozen
class Open:
    """Dial a server; whether it was refused is part of the record. What the server says first is not waited for."""

    client: str
    server: int = 0


@attrs.frozen
class Send:
    """Send bytes, cut at `cuts`: the server reads the pieces one by one. A link that is gone swallows them."""

    client: str
    data: bytes
    cuts: tuple[int, ...] = ()


@attrs.frozen
class Expect:
    """Wait until a frame that has `mark` in it has come; the next step of this kind looks behind that frame."""

    client: str
    mark: bytes


@attrs.frozen
class Sync:
    """Send PING and wait for its PONG: all that was said before is done. Or for the link's end."""

    client: str


@attrs.frozen
class Ended:
    """Wait until the server has ended the link."""

    client: str


@attrs.frozen
class Quiet:
    """Record what comes within some seconds: for links that answer no PING, and for what must not come."""

    client: str
    seconds: float


@attrs.frozen
class Wait:
    """Let time pass; nobody reads."""

    seconds: float


@attrs.frozen
class Close:
    """Hang up."""

    client: str


@attrs.frozen
class HalfClose:
    """Send no more, and read to the end."""

    client: str


@attrs.frozen
class Reload:
    """Another configuration is in force when this is done."""

    config: ServerConfig


@attrs.frozen
class Act:
    """What happens to a server: lame_duck, kill, start, pause or resume."""

    what: str
    server: int = 0


Step: TypeAlias = Open | Send | Expect | Sync | Ended | Quiet | Wait | Close | HalfClose | Reload | Act
# What a record must have: for client "a", or for one that is named.
Shown: TypeAlias = bytes | tuple[str, bytes]
Steps: TypeAlias = Step | Iterable["Steps"]


@attrs.frozen
class Script:
    """The steps, the server's configuration, and the sids whose deliveries are a queue group's choice.

    Attributes:
        steps: in this order, one after another.
        config: of the server.
        queue_sids: deliveries to these sids (of any client) are compared as one heap, since a queue group chooses
            by chance whom it gives a message.
        private: nobody else may use the server: the script changes it, or counts its connections.
        servers: how many there are; several are a cluster, and have the default configuration.
    """

    steps: tuple[Step, ...]
    config: ServerConfig = attrs.field(factory=ServerConfig)
    queue_sids: frozenset[bytes] = frozenset()
    private: bool = False
    servers: int = 1


@attrs.frozen
class Case:
    """A named script, and what the real server's record must show, so that it cannot agree by being empty.

    Attributes:
        name: unique; the law in a few words.
        script: what is played on both servers.
        shows: bytes that the real server sends to client "a", or to the client that is named, in this order.
        lacks: bytes that it sends to nobody.
        ends: how the links end on the real server, of those clients that are named: open, fin, reset, refused.
    """

    name: str
    script: Script
    shows: tuple[tuple[str, bytes], ...]
    lacks: tuple[bytes, ...] = ()
    ends: tuple[tuple[str, str], ...] = ()


def case(
    name: str,
    *steps: Steps,
    shows: Shown | Sequence[Shown],
    lacks: bytes | Sequence[bytes] = (),
    ends: str | dict[str, str] = "",
    config: ServerConfig | None = None,
    queue_sids: Iterable[bytes] = (),
    private: bool = False,
    servers: int = 1,
) -> Case:
    """A case from the shorthand of the tables; `ends="fin"` is about client "a"."""
    flat = tuple(_flatten(steps))
    private = private or servers > 1 or any(isinstance(step, Reload | Act) for step in flat)
    script = Script(flat, config or ServerConfig(), frozenset(queue_sids), private, servers)
    lacking = (lacks,) if isinstance(lacks, bytes) else tuple(lacks)
    if isinstance(ends, str):
        ends = {"a": ends} if ends else {}
    return Case(name, script, tuple(_shown(shows)), lacking, tuple(ends.items()))


def _shown(shows: Shown | Sequence[Shown]) -> Iterable[tuple[str, bytes]]:
    """Fragments with their clients; a single one may stand alone."""
    match shows:
        case bytes():
            yield "a", shows
        case (str() as client, bytes() as fragment):
            yield client, fragment
        case _:
            for one in shows:
                assert not isinstance(one, str | int)
                yield from _shown(one)


def _flatten(steps: Iterable[Steps]) -> Iterable[Step]:
    for step in steps:
        if isinstance(step, Iterable):
            yield from _flatten(step)
        else:
            yield step


def connect_line(**fields: Any) -> bytes:
    """CONNECT as a client of today says it, with some fields changed; a field that is None is left out."""
    merged = {**CONNECT, **{name.removesuffix("_"): value for name, value in fields.items()}}
    present = {name: value for name, value in merged.items() if value is not None}
    return b"CONNECT " + json.dumps(present, separators=(",", ":")).encode() + b"\r\n"


def hello(client: str = "a", server: int = 0, **fields: Any) -> list[Step]:
    """Dial, CONNECT, PING, and wait for PONG and what comes behind it."""
    steps: list[Step] = [
        Open(client, server),
        Expect(client, b"INFO "),
        Send(client, connect_line(**fields) + b"PING\r\n"),
        Expect(client, b"PONG\r\n"),
    ]
    if fields.get("protocol", 1) == 1:
        steps.append(Expect(client, b'"connect_info":true'))
    return steps


def opened(client: str = "a") -> list[Step]:
    """Dial and wait for INFO; nothing is said yet."""
    return [Open(client), Expect(client, b"INFO ")]


def send(data: bytes, client: str = "a", cuts: Iterable[int] = ()) -> Step:
    """Send bytes."""
    return Send(client, data, tuple(cuts))


def sync(*clients: str) -> list[Step]:
    """PING and PONG with each of these clients, one after another."""
    return [Sync(client) for client in clients or ("a",)]


def expect(mark: bytes, client: str = "a") -> Step:
    """Wait for a frame."""
    return Expect(client, mark)


def ended(*clients: str) -> list[Step]:
    """Wait for the end of these links."""
    return [Ended(client) for client in clients or ("a",)]


def quiet(seconds: float = 0.06, client: str = "a") -> Step:
    """Record what comes within some seconds."""
    return Quiet(client, seconds)


def pub(subject: bytes, payload: bytes = b"", reply: bytes = b"") -> bytes:
    """A well-formed PUB."""
    fields = [b"PUB", subject, *([reply] if reply else []), b"%d" % len(payload)]
    return b" ".join(fields) + b"\r\n" + payload + b"\r\n"


def hpub(subject: bytes, block: bytes, payload: bytes = b"", reply: bytes = b"") -> bytes:
    """A well-formed HPUB with whatever header block."""
    sizes = [b"%d" % len(block), b"%d" % (len(block) + len(payload))]
    fields = [b"HPUB", subject, *([reply] if reply else []), *sizes]
    return b" ".join(fields) + b"\r\n" + block + payload + b"\r\n"

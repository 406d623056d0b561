"""Shorthand for scripts about JetStream: requests to its API, publishing, pulling, acknowledging.

Each waits for its answer, since JetStream answers beside the connection and a PONG may come first.
"""

from __future__ import annotations

import json
from typing import Any

from ._script import Step, expect, hpub, pub, send
from ._server import ServerConfig

JETSTREAM = ServerConfig(jetstream=True)
API = b"$JS.API."
SECOND = 1_000_000_000
MILLISECOND = 1_000_000


def inbox(client: str = "a") -> Step:
    """Replies come to `<client>.<anything>` with sid 1."""
    return send(b"SUB %b.> 1\r\n" % client.encode(), client)


def block(**fields: object) -> bytes:
    """A header block; underscores in names stand for dashes."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()]
    return ("NATS/1.0\r\n" + "".join(lines) + "\r\n").encode()


def ask(
    what: str, body: Any = b"", client: str = "a", prefix: bytes = API, tag: str = "q", **fields: object
) -> list[Step]:
    """A request to the API, and its reply."""
    return request(prefix + what.encode(), body, client, tag, **fields)


def request(subject: bytes, body: Any = b"", client: str = "a", tag: str = "q", **fields: object) -> list[Step]:
    """Any request, and its reply; `fields` are headers."""
    return [post(subject, body, client, tag, **fields), expect(b"%b.%b " % (client.encode(), tag.encode()), client)]


def post(subject: bytes, body: Any = b"", client: str = "a", tag: str = "q", **fields: object) -> Step:
    """A request whose reply is not waited for; an empty tag = without a reply subject."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = b"%b.%b" % (client.encode(), tag.encode()) if tag else b""
    return send(hpub(subject, block(**fields), data, reply) if fields else pub(subject, data, reply), client)


def stream(name: str, client: str = "a", **config: Any) -> list[Step]:
    """Make a stream with the subjects `<name>.>`."""
    return ask(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], **config}, client)


def store(name: str, count: int, first: int = 1) -> list[Step]:
    """Publish some messages, each on a subject of its own."""
    return [
        step
        for number in range(first, first + count)
        for step in request(b"%b.%d" % (name.encode(), number), b"m%d" % number)
    ]


def consumer(stream_name: str, name: str, *, durable: bool = True, **config: Any) -> list[Step]:
    """Make a consumer that acknowledges explicitly."""
    fields = {"name": name, "ack_policy": "explicit", **({"durable_name": name} if durable else {}), **config}
    return ask(f"CONSUMER.CREATE.{stream_name}.{name}", {"stream_name": stream_name, "config": fields})


def pull(stream_name: str, name: str, tag: str = "p", client: str = "a", **fields: Any) -> Step:
    """Ask for messages, which are not waited for."""
    return post(API + f"CONSUMER.MSG.NEXT.{stream_name}.{name}".encode(), fields or b"", client, tag)


def ack(
    stream_name: str, name: str, deliveries: int, stream_sequence: int, consumer_sequence: int, body: bytes = b"+ACK"
) -> list[Step]:
    """Say something of a delivery, and wait for the answer to that."""
    subject = f"$JS.ACK.{stream_name}.{name}.{deliveries}.{stream_sequence}.{consumer_sequence}.1.0"
    return request(subject.encode(), body, tag="k")


def info(stream_name: str, name: str) -> list[Step]:
    """Ask about a consumer."""
    return ask(f"CONSUMER.INFO.{stream_name}.{name}")

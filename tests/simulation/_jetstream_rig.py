"""A simulated server with JetStream on the fake network, and a client of a few bytes that asks it things."""

from __future__ import annotations

import json
from typing import Any

from beamline_trio.simulation._server import ServerConfig, StreamView

from ._server_rig import FakeLink, Rig

# Longer than JetStream takes to answer.
_ANSWER_SECONDS = 0.001


class JetStreamRig(Rig):
    """A rig with one client, whose replies come to `r.<anything>`.

    Attributes:
        link: of that client; another one after `again`.
    """

    def __init__(self, **fields: Any) -> None:
        super().__init__(ServerConfig(jetstream=True, **fields))
        self.link = self._listen()

    def _listen(self) -> FakeLink:
        link = self.connect()
        link.talk(b"SUB r.> 1\r\n")
        return link

    def again(self) -> None:
        """Start the server again, and connect."""
        self.server.start()
        self.link = self._listen()

    def ask(self, what: str, body: object = None) -> dict[str, Any]:
        """A request to the API and its reply."""
        return self.request(f"$JS.API.{what}", b"" if body is None else json.dumps(body).encode())

    def request(self, subject: str, payload: bytes = b"", header: bytes = b"") -> dict[str, Any]:
        """A request and its reply; {} when it is empty or does not come."""
        for frame in self.frames(subject, payload, header):
            _, _, body = frame.partition(b"\r\n")
            if frame.startswith(b"MSG r.q "):
                reply: dict[str, Any] = json.loads(body or b"{}")
                return reply
        return {}

    def frames(self, subject: str, payload: bytes = b"", header: bytes = b"", reply: str = "r.q") -> list[bytes]:
        """Publish something, and all messages that come of it at once."""
        self.publish(subject, payload, header, reply)
        return self.come(_ANSWER_SECONDS)

    def publish(self, subject: str, payload: bytes = b"", header: bytes = b"", reply: str = "") -> None:
        """Publish something."""
        size = len(payload)
        if header:
            line = f"HPUB {subject} {reply} {len(header)} {len(header) + size}\r\n"
        else:
            line = f"PUB {subject} {reply} {size}\r\n"
        self.link.send(line.encode() + header + payload + b"\r\n")

    def come(self, seconds: float) -> list[bytes]:
        """The messages that come within some seconds, without the line's end behind them."""
        self.events.advance(seconds)
        data, found = self.link.take(), []
        while data:
            line, _, rest = data.partition(b"\r\n")
            size = int(line.split()[-1]) + 2 if line.startswith((b"MSG", b"HMSG")) else 0
            if size:
                found.append(line + b"\r\n" + rest[: size - 2])
            data = rest[size:]
        return found

    def stream(self, name: str, **config: object) -> None:
        """Make a stream with the subjects `<name>.>`."""
        reply = self.ask(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], **config})
        assert "error" not in reply, reply

    def consumer(self, stream: str, name: str, **config: object) -> None:
        """Make a durable consumer that acknowledges explicitly."""
        fields = {"name": name, "durable_name": name, "ack_policy": "explicit", **config}
        reply = self.ask(f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": fields})
        assert "error" not in reply, reply

    def store(self, stream: str, count: int) -> None:
        """Publish some messages; each is acknowledged."""
        for number in range(count):
            assert "seq" in self.request(f"{stream}.{number}", b"m%d" % number)

    def pull(self, stream: str, consumer: str, **fields: object) -> list[bytes]:
        """Ask for messages; what comes at once."""
        return self.frames(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", json.dumps(fields).encode())

    def view(self, name: str) -> StreamView:
        """A stream as tests see it."""
        return next(stream for stream in self.server.streams if stream.name == name)


def reply_of(frame: bytes) -> str:
    """The reply subject of a delivery."""
    return frame.split(b" ")[3].decode()

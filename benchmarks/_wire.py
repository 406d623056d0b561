"""A blocking NATS connection on a plain socket, for the feeder, the responder, the outage probe and the
ceiling.

It knows just enough of the protocol for these four (INFO, CONNECT, PING/PONG, MSG without headers) and shares
no code with the clients that are measured. It must not become a client: no reconnect, no headers, no
validation.
"""

import select
import socket
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"lang":"raw","version":"0","protocol":1,"headers":false}\r\n'


class Frame(NamedTuple):
    """A received MSG."""

    subject: bytes
    reply: bytes
    payload: bytes


class RawConnection:
    """A connected socket that has been greeted; `receive()` answers the server's PINGs."""

    def __init__(self, url: str, timeout_seconds: float = 10.0) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=timeout_seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._pongs = 0

    def greet(self) -> None:
        """Exchange INFO and CONNECT; returns when the server has answered."""
        self.socket.sendall(CONNECT)
        self.flush()

    def flush(self) -> None:
        """Return when the server has taken everything sent so far (messages that arrive meanwhile are
        lost).
        """
        expected = self._pongs + 1
        self.socket.sendall(b"PING\r\n")
        while self._pongs < expected:
            for _ in self.receive():
                pass

    def subscribe(self, *subjects: str) -> None:
        self.socket.sendall(b"".join(b"SUB %b %d\r\n" % (s.encode(), i) for i, s in enumerate(subjects, 1)))
        self.flush()

    def readable(self, timeout_seconds: float | None, *others: int) -> bool:
        """Wait for the socket or one of the file descriptors `others`; True when the socket can be read."""
        watched: list[socket.socket | int] = [self.socket, *others]
        ready, _, _ = select.select(watched, [], [], timeout_seconds)
        return self.socket in ready

    def receive(self) -> Iterator[Frame]:
        """Read once (blocking) and yield the complete messages so far.

        Raises:
            ConnectionError: the server closed the connection or reported an error.
        """
        chunk = self.socket.recv(1 << 18)
        if not chunk:
            raise ConnectionError("nats-server closed a raw connection of the benchmark")
        data = self._buffer + chunk
        position = 0
        while (end := data.find(b"\r\n", position)) >= 0:
            line = data[position:end]
            if line.startswith(b"MSG "):
                fields = line.split()
                stop = end + 2 + int(fields[-1])
                if len(data) < stop + 2:
                    break
                reply = fields[3] if len(fields) == 5 else b""
                yield Frame(fields[1], reply, data[end + 2 : stop])
                position = stop + 2
                continue
            self._control(line)
            position = end + 2
        self._buffer = data[position:]

    def _control(self, line: bytes) -> None:
        if line == b"PING":
            self.socket.sendall(b"PONG\r\n")
        elif line == b"PONG":
            self._pongs += 1
        elif not line.startswith((b"INFO ", b"+OK")):
            raise ConnectionError(f"nats-server sent {line!r} to a raw connection of the benchmark")

    def close(self) -> None:
        self.socket.close()

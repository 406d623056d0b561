"""The stream of the JetStream rows: made for each measurement, filled where it is consumed, and counted afterwards.

It is kept in memory, so that no disk is measured. All is said over a raw socket, with none of the clients.

Must not measure.
"""

import json
import time
from typing import Any, Final

from ._protocol import CONSUMER, STREAM, STREAM_SUBJECT
from ._wire import RawConnection

_INBOX: Final = "bench.stream.answer"
_DEADLINE_SECONDS: Final = 30.0
_BATCH: Final = 1000


class StreamError(RuntimeError):
    """The server refused a request, or what it counted is not what a contender said."""


class BenchStream:
    """The stream; use as a context manager, which makes it and deletes it.

    Args:
        url: of the server.
        messages: how many it holds at first; with any, it has a durable pull consumer.
        payload_bytes: of each.
    """

    def __init__(self, url: str, messages: int, payload_bytes: int) -> None:
        self._messages = messages
        self._payload = b"x" * payload_bytes
        self._connection = RawConnection(url)
        self._connection.greet()
        self._connection.subscribe(_INBOX)

    def __enter__(self) -> "BenchStream":
        self._delete()
        self._ask(
            f"STREAM.CREATE.{STREAM}", {"name": STREAM, "subjects": [STREAM_SUBJECT], "storage": "memory", "max_age": 0}
        )
        if self._messages:
            self._fill()
            config = {"durable_name": CONSUMER, "ack_policy": "explicit", "max_ack_pending": -1}
            self._ask(f"CONSUMER.CREATE.{STREAM}.{CONSUMER}", {"stream_name": STREAM, "config": config})
        return self

    def __exit__(self, *exc: object) -> None:
        self._delete()
        self._connection.close()

    def stored(self) -> int:
        """How many messages it holds."""
        return int(self._ask(f"STREAM.INFO.{STREAM}", {})["state"]["messages"])

    def acknowledged(self) -> int:
        """How many messages were acknowledged, from the first on; waits a moment for acks that are on their way."""
        deadline = time.monotonic() + 1.0
        while True:
            info = self._ask(f"CONSUMER.INFO.{STREAM}.{CONSUMER}", {})
            floor = int(info["ack_floor"]["stream_seq"])
            if floor == self._messages or time.monotonic() > deadline:
                return floor
            time.sleep(0.01)

    def _fill(self) -> None:
        frame = b"PUB %b %d\r\n%b\r\n" % (STREAM_SUBJECT.encode(), len(self._payload), self._payload)
        for start in range(0, self._messages, _BATCH):
            self._connection.socket.sendall(frame * min(_BATCH, self._messages - start))
            self._connection.flush()
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while self.stored() < self._messages:
            if time.monotonic() > deadline:
                raise StreamError(f"the stream holds {self.stored()} of {self._messages} messages")
            time.sleep(0.01)

    def _delete(self) -> None:
        answer = self._request(f"STREAM.DELETE.{STREAM}", {})
        if "error" in answer and answer["error"].get("err_code") != 10059:
            raise StreamError(str(answer["error"]))

    def _ask(self, call: str, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._request(call, request)
        if "error" in answer:
            raise StreamError(f"{call}: {answer['error']}")
        return answer

    def _request(self, call: str, request: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(request).encode()
        self._connection.socket.sendall(
            b"PUB $JS.API.%b %b %d\r\n%b\r\n" % (call.encode(), _INBOX.encode(), len(body), body)
        )
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while time.monotonic() < deadline:
            for frame in self._connection.receive():
                return dict(json.loads(frame.payload))
        raise StreamError(f"no answer to {call}")

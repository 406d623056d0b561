"""A small NATS server for tests: interests, queue groups, 503, permissions, and every way to misbehave.

It acts inside the client's own `send_all` (see `_memory`), so it has no task, clock or thread: what the client wrote is
answered in the same step, unless the test holds the answer back. It reads the wire with code of its own, and complains
(`complaints`) about what a real server would not take.

Must not import the client's parser or serializer: it would share their mistakes.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import trio
import trio.testing

_CRLF: Final = b"\r\n"


def matches(pattern: bytes, subject: bytes) -> bool:
    """Whether a subject is in a pattern with `*` and `>`."""
    wanted, tokens = pattern.split(b"."), subject.split(b".")
    for index, token in enumerate(wanted):
        if token == b">":
            return len(tokens) > index
        if index >= len(tokens) or token not in (b"*", tokens[index]):
            return False
    return len(wanted) == len(tokens)


@attrs.frozen
class Operation:
    """One operation of a client as the server read it: `PUB a b 3` is the verb PUB with the args a, b, 3."""

    verb: str
    args: tuple[bytes, ...]
    header: bytes | None
    payload: bytes
    link: int
    at: float


@attrs.define(eq=False)
class Interest:
    """One SUB of one link."""

    link: ServerLink
    sid: bytes
    pattern: bytes
    queue_group: bytes | None
    maximum: int | None = None
    delivered: int = 0


class ServerLink:
    """The server's end of a link: reads operations, sends bytes."""

    def __init__(self, server: ToyServer, number: int) -> None:
        self.server = server
        self.number = number
        self.outgoing = trio.testing.MemoryReceiveStream()
        self.alive = True
        self.was_reset = False
        self.about: dict[str, Any] = {}
        self.pongs_owed = 0
        self._pinged = False
        self._chunks: deque[bytes] = deque()
        self._endless = b""
        self._unread = b""

    def send(self, data: bytes) -> None:
        """Send bytes as they are, behind chunks that were not fetched yet."""
        if self._chunks:
            self._chunks.append(data)
        elif self.alive and data:
            self.outgoing.put_data(data)

    def send_in_chunks(self, data: bytes, count: int) -> None:
        """Send bytes in so many parts, each of which takes a `receive_some` of its own."""
        size = max(1, -(-len(data) // count))
        self._chunks.extend(data[start : start + size] for start in range(0, len(data), size))

    def send_for_ever(self, chunk: bytes) -> None:
        """Behind what was sent, every `receive_some` finds this chunk."""
        self._endless = chunk
        if not self._chunks:
            self.fetch_chunk()

    def fetch_chunk(self) -> None:
        """The client is about to receive."""
        if self._chunks and self.alive:
            self.outgoing.put_data(self._chunks.popleft())
        elif self._endless and self.alive:
            self.outgoing.put_data(self._endless)

    def hang_up(self, *, reset: bool = False) -> None:
        """End the link: the client reads what was sent, then the end of the stream (or, at once, an error)."""
        if self.alive:
            while self._chunks:
                self.fetch_chunk()
            self.was_reset = reset
            self.outgoing.put_eof()
            self.end()

    def end(self) -> None:
        """The link is gone, and its interests with it."""
        self.alive = False
        self.server.interests = [interest for interest in self.server.interests if interest.link is not self]
        self.server.turn()

    def refuse(self, text: str) -> None:
        """`-ERR`, and hang up."""
        self.send(b"-ERR '%b'\r\n" % text.encode())
        self.hang_up()

    def received(self, data: bytes) -> None:
        """Bytes of the client: act on every operation that is complete."""
        self.server.received += data
        self._unread += data
        if self.server.deaf:
            return
        for operation in self._operations():
            self.server.record.append(operation)
            if self.alive:
                self._act(operation)

    def _operations(self) -> Iterator[Operation]:
        data, start = self._unread, 0
        while (end := data.find(_CRLF, start)) >= 0:
            # As nats-server does: at blanks and tabs, and at no other white space.
            verb, *args = [field for field in data[start:end].replace(b"\t", b" ").split(b" ") if field] or [b""]
            header, payload, after = None, b"", end + 2
            if verb in (b"PUB", b"HPUB"):
                after += int(args[-1]) + 2
                if len(data) < after:
                    break
                payload = data[end + 2 : after - 2]
                self.server.demand(data[after - 2 : after] == _CRLF, f"no CRLF behind the payload of {args}")
            if verb == b"HPUB":
                header, payload = payload[: int(args[-2])], payload[int(args[-2]) :]
            start = after
            yield Operation(verb.decode(), tuple(args), header, payload, self.number, trio.current_time())
        self._unread = data[start:]

    def _act(self, operation: Operation) -> None:
        server = self.server
        match operation.verb, operation.args:
            case "CONNECT", _:
                self._connect(b" ".join(operation.args))
            case "PING", ():
                self.pongs_owed += 1
                if not server.pongs_held:
                    self.pay_pongs()
            case "PONG", ():
                server.pongs += 1
            case "SUB", (pattern, sid):
                server.subscribe(Interest(self, sid, pattern, None))
            case "SUB", (pattern, queue_group, sid):
                server.subscribe(Interest(self, sid, pattern, queue_group))
            case "UNSUB", (sid, *maximum):
                server.unsubscribe(self, sid, int(maximum[0]) if maximum else None)
            case "PUB", (subject, *reply, _size):
                server.published(self, subject, reply[0] if reply else None, operation)
            case "HPUB", (subject, *reply, _header, _size):
                server.published(self, subject, reply[0] if reply else None, operation)
            case _:
                server.demand(False, f"unknown operation {operation}")
                self.refuse("Unknown Protocol Operation")

    def pay_pongs(self, most: int = 1_000_000) -> None:
        """Send PONGs that are owed; behind the first of a link comes a second INFO, as from nats-server."""
        for _ in range(min(most, self.pongs_owed)):
            self.pongs_owed -= 1
            self.send(b"PONG\r\n")
            if not self._pinged and self.server.says_more:
                self._pinged = True
                self.send(self.server.info(connect_info=True))
        if self.server.leaves_after_pong:
            self.hang_up()

    def _connect(self, text: bytes) -> None:
        self.about = about = json.loads(text)
        server = self.server
        server.demand(about["protocol"] == 1 and about["headers"] and about["no_responders"], f"CONNECT {about}")
        server.demand(not self._pinged, "CONNECT behind PING")
        if server.password is not None and (about.get("user"), about.get("pass")) != server.password:
            self.refuse("Authorization Violation")
        elif server.hangs_up:
            self.hang_up()


class ToyServer:
    """A NATS server: interests with wildcards, queue groups and maxima, 503, permissions, and ways to misbehave.

    Attributes:
        refuses: dialling fails. silent: it accepts and says nothing. hangs_up: it closes instead of answering CONNECT.
        leaves_after_pong: it closes right behind the PONG of a handshake.
        greeting: what it sends instead of INFO; endless_greeting: what comes behind that, over and over;
            greets_and_hangs_up: it closes behind the greeting.
        says_more: an INFO follows the first PONG, as from nats-server.
        info_chunks: how many parts INFO comes in.
        stalled: it reads nothing (see `stall`); deaf: it reads everything and does nothing.
        pongs_held: it owes the PONGs (see `release_pongs`).
        password: user and password it wants.
        denied_publish, denied_subscribe: patterns that no client may use.
        services: subject -> what answers requests there; None is no answer.
        record: every operation of every link; received: every byte; pongs: PONGs that came.
        complaints: what a real server would not have taken.
    """

    def __init__(self, url: str = "nats://toy:4222", *, seed: int = 1, **info: Any) -> None:
        self.url = url
        self.random = random.Random(seed)
        self.refuses = self.silent = self.hangs_up = self.stalled = self.deaf = self.pongs_held = False
        self.leaves_after_pong = False
        self.greeting: bytes | None = None
        self.endless_greeting = b""
        self.greets_and_hangs_up = False
        self.says_more = True
        self.info_chunks = 1
        self.password: tuple[str, str] | None = None
        self.denied_publish: set[bytes] = set()
        self.denied_subscribe: set[bytes] = set()
        self.services: dict[bytes, Callable[[bytes], bytes | None]] = {}
        self.links: list[ServerLink] = []
        self.interests: list[Interest] = []
        self.record: list[Operation] = []
        self.received = bytearray()
        self.pongs = 0
        self.complaints: list[str] = []
        self.turned = trio.Event()
        self._info: dict[str, Any] = {
            "server_id": "TOY",
            "version": "2.15.1",
            "proto": 1,
            "headers": True,
            "max_payload": 1_048_576,
            **info,
        }

    # What tests read

    @property
    def link(self) -> ServerLink:
        """The last link."""
        return self.links[-1]

    @property
    def payloads(self) -> list[bytes]:
        """The payloads of all publishes, in order."""
        return [operation.payload for operation in self.record if operation.verb in ("PUB", "HPUB")]

    def operations(self, *verbs: str, link: int | None = None) -> list[tuple[str, ...]]:
        """The operations of some verbs as text, of all links or of one."""
        return [
            (operation.verb, *(arg.decode() for arg in operation.args))
            for operation in self.record
            if operation.verb in verbs and link in (None, operation.link)
        ]

    # What tests do

    def send(self, data: bytes) -> None:
        """Send bytes as they are on every link."""
        for link in self.links:
            link.send(data)

    def send_info(self, **fields: Any) -> None:
        """Send a later INFO."""
        self._info.update(fields)
        self.send(self.info())

    def publish(
        self, subject: str | bytes, payload: bytes = b"", reply: bytes | None = None, header: bytes | None = None
    ) -> int:
        """A message from nowhere; returns how many interests got it."""
        subject = subject if isinstance(subject, bytes) else subject.encode()
        return self._route(None, subject, reply, header, payload)

    def revoke(self, pattern: bytes) -> None:
        """Deny a subscription pattern from now on, also to those that have it, as after a reload."""
        self.denied_subscribe.add(pattern)
        for interest in [one for one in self.interests if one.pattern == pattern]:
            self.interests.remove(interest)
            text = b'Permissions Violation for Subscription to "%b" (sid "%b")' % (pattern, interest.sid)
            interest.link.send(b"-ERR '%b'\r\n" % text)

    def drop(self, *, reset: bool = False) -> None:
        """Drop every link."""
        for link in list(self.links):
            link.hang_up(reset=reset)

    def go_down(self, *, reset: bool = False) -> None:
        """Drop every link and refuse new ones."""
        self.refuses = True
        self.drop(reset=reset)

    def come_up(self) -> None:
        """Take links again."""
        self.refuses = False

    def stall(self) -> None:
        """Stop reading: `send_all` blocks."""
        self.stalled = True

    def resume(self) -> None:
        """Read again."""
        self.stalled = False
        self.turn()

    def release_pongs(self, most: int = 1_000_000) -> None:
        """Send PONGs that were held; with no limit, hold no more."""
        self.pongs_held = most < 1_000_000
        for link in self.links:
            link.pay_pongs(most)

    # The server

    def turn(self) -> None:
        """Wake whoever is blocked by a stall."""
        turned, self.turned = self.turned, trio.Event()
        turned.set()

    def demand(self, right: bool, complaint: str) -> None:
        """Note a complaint unless it is right."""
        if not right:
            self.complaints.append(complaint)

    def info(self, **fields: Any) -> bytes:
        """INFO."""
        return b"INFO %b\r\n" % json.dumps({**self._info, **fields}).encode()

    def accept(self) -> ServerLink:
        """A new link; what INFO comes in waits to be received."""
        link = ServerLink(self, len(self.links))
        self.links.append(link)
        if not self.silent:
            link.send_in_chunks(self.greeting if self.greeting is not None else self.info(), self.info_chunks)
            if self.endless_greeting:
                link.send_for_ever(self.endless_greeting)
        if self.greets_and_hangs_up:
            link.hang_up()
        return link

    def subscribe(self, interest: Interest) -> None:
        """SUB."""
        if any(matches(denied, interest.pattern) for denied in self.denied_subscribe):
            queue = f' using queue "{interest.queue_group.decode()}"' if interest.queue_group else ""
            text = f'Permissions Violation for Subscription to "{interest.pattern.decode()}"{queue}'
            interest.link.send(b"-ERR '%b'\r\n" % text.encode())
            return
        self.interests.append(interest)

    def unsubscribe(self, link: ServerLink, sid: bytes, maximum: int | None) -> None:
        """UNSUB; the maximum counts from SUB."""
        for interest in [one for one in self.interests if one.link is link and one.sid == sid]:
            interest.maximum = maximum
            if maximum is None or interest.delivered >= maximum:
                self.interests.remove(interest)

    def published(self, link: ServerLink, subject: bytes, reply: bytes | None, operation: Operation) -> None:
        """PUB or HPUB of a client."""
        size = int(operation.args[-1])
        self.demand(b"*" not in subject.split(b".") and b">" not in subject.split(b"."), f"publish to {subject!r}")
        self.demand(b"" not in subject.split(b"."), f"publish to {subject!r}")
        if size > self._info["max_payload"]:
            self.demand(False, f"payload of {size}")
            link.refuse("Maximum Payload Violation")
        elif any(matches(denied, subject) for denied in self.denied_publish):
            link.send(b"-ERR 'Permissions Violation for Publish to \"%b\"'\r\n" % subject)
        elif reply is not None and subject in self.services:
            answer = self.services[subject](operation.payload)
            if answer is not None:
                self._route(None, reply, None, None, answer)
        elif not self._route(link, subject, reply, operation.header, operation.payload) and reply is not None:
            status = b"NATS/1.0 503\r\nNats-Subject: %b\r\n\r\n" % subject
            self._route(None, reply, None, status, b"")

    def _route(
        self, origin: ServerLink | None, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes
    ) -> int:
        groups: dict[tuple[bytes, bytes], list[Interest]] = {}
        receivers: list[Interest] = []
        for interest in self.interests:
            own = origin is not None and interest.link is origin and not origin.about["echo"]
            if own or not matches(interest.pattern, subject):
                continue
            if interest.queue_group is None:
                receivers.append(interest)
            else:
                groups.setdefault((interest.pattern, interest.queue_group), []).append(interest)
        receivers.extend(self.random.choice(members) for members in groups.values())
        for interest in receivers:
            interest.link.send(message_frame(subject, interest.sid, payload, reply, header))
            interest.delivered += 1
            if interest.maximum is not None and interest.delivered >= interest.maximum:
                self.interests.remove(interest)
        return len(receivers)


def message_frame(
    subject: bytes, sid: bytes, payload: bytes, reply: bytes | None = None, header: bytes | None = None
) -> bytes:
    """MSG or HMSG."""
    target = b"%b %b" % (subject, sid) + (b" " + reply if reply is not None else b"")
    if header is None:
        return b"MSG %b %d\r\n%b\r\n" % (target, len(payload), payload)
    return b"HMSG %b %d %d\r\n%b%b\r\n" % (target, len(header), len(header) + len(payload), header, payload)

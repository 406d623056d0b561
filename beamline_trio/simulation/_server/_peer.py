r"""One end of a link to another server: its life, its framing, and the lines that routes and gateways have in common.

The lines are close to those of nats-server, so that traffic between servers weighs what it does there:

    INFO {...}    RS+ subject [queue weight]    RS- subject [queue]    PING    PONG
    RMSG subject [reply] size, HMSG subject [reply] header-size size; with queue groups: | q1 q2 or + reply q1 q2
    DRMSG to ..., DHMSG to ...: the same for those who listen to another subject than the message's own
    TO receiver sender size: a message of one server to another one, which may be behind the next

Must not know what a route or a gateway does with what comes (`_route`, `_gateway_link`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from . import _texts as texts
from ._liveness import Liveness
from ._outbound import Outbound

if TYPE_CHECKING:
    from ._delivery import MessageParts
    from ._process import Process
    from ._surroundings import Link

_FIRST_PING_SECONDS: Final = 1.0
_NO_REPLY: Final = b"|"
_WITH_REPLY: Final = b"+"
_WITH_DATA: Final = (b"RMSG", b"HMSG", b"DRMSG", b"DHMSG")
_TO: Final = b"TO "


class PeerConnection(ABC):
    """One end of a link between two servers: a `LinkHandler`.

    Args:
        process: of this server.
        link: to the other one.
        dialled: this server has dialled.

    Attributes:
        number: of the link.
        peer: the other server's name, once it has said it.
        peer_id: its id.
        closed: this end is done with it.
        started: when it came, in seconds of virtual time.
        in_messages: that came over it. `in_bytes`, `out_messages` and `out_bytes` likewise.
    """

    # How the trace names its end.
    closing_note: ClassVar[str]
    # At least how often it is pinged.
    ping_seconds_max: ClassVar[float]

    def __init__(self, process: Process, link: Link, *, dialled: bool) -> None:
        self.process = process
        self._link = link
        self._buffer = b""
        self.liveness = Liveness(
            process,
            self._send_ping,
            self._stale,
            interval_max=self.ping_seconds_max,
            first_seconds=_FIRST_PING_SECONDS,
        )
        self.outbound = Outbound(process, link, self._too_slow, limited=False)
        self.number = link.number
        self.address = link.remote_address
        self.started = process.now()
        self.dialled = dialled
        self.peer = self.peer_id = ""
        self.closed = False
        self.in_messages = self.in_bytes = self.out_messages = self.out_bytes = 0

    # -------------------------------------------------------------------------------------------------- sending

    def start(self, info: bytes) -> None:
        """Say who this server is."""
        self.outbound.add(info)
        self.liveness.connected()

    def send_interest(self, subject: bytes, queue: bytes | None, count: int) -> None:
        """Tell how many clients want a subject."""
        if count == 0:
            self.outbound.add(b"RS- %b%b\r\n" % (subject, b"" if queue is None else b" " + queue))
        elif queue is None:
            self.outbound.add(b"RS+ %b\r\n" % subject)
        else:
            self.outbound.add(b"RS+ %b %b %d\r\n" % (subject, queue, count))

    def send_message(self, to: bytes, message: MessageParts, queues: list[bytes]) -> None:
        """Send a message.

        Args:
            to: the subject that it goes to; those who listen see the message's own.
            message: for plain subscriptions there.
            queues: it is for one member of each of these queue groups too.
        """
        subject, reply, header_size, header_text, size_text, data = message
        verb = b"HMSG" if header_size else b"RMSG"
        fields = [verb, subject] if to == subject else [b"D" + verb, to, subject]
        if queues:
            fields += [_WITH_REPLY, reply, *queues] if reply else [_NO_REPLY, *queues]
        elif reply:
            fields.append(reply)
        if header_size:
            fields.append(header_text)
        fields.append(size_text)
        self.out_messages += 1
        self.out_bytes += len(data) - 2
        self.outbound.add(b"%b\r\n%b" % (b" ".join(fields), data))

    def send_to(self, receiver: str, sender: str, data: bytes) -> None:
        """Send one server's message to another one, by their names."""
        self.outbound.add(b"TO %b %b %d\r\n%b\r\n" % (receiver.encode(), sender.encode(), len(data), data))

    def close(self, reason: str) -> None:
        """End the link."""
        if self.closed:
            return
        self._over(reason)
        self.outbound.close(flush=True)

    def forget(self) -> None:
        """The process is killed: only the kernel says goodbye."""
        self.closed = True
        self.outbound.close(flush=False)

    # -------------------------------------------------------------------------------------------------- the link

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        self.process.run(self._received, data)

    def ended(self) -> None:
        """The other server has closed it."""
        self.process.run(self.close, texts.CLIENT_CLOSED)

    def broken(self, reason: str) -> None:
        """The link is gone."""
        self.outbound.abandon()
        self.process.run(self._over, texts.READ_ERROR)

    def writable(self) -> None:
        """The link takes more."""
        self.process.run(self.outbound.flush)

    def pause_reading(self) -> None:
        """The process is paused."""
        self._link.pause_reading()

    def resume_reading(self) -> None:
        """The process goes on."""
        if not self.closed:
            self._link.resume_reading()

    def _over(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self.liveness.stop()
        self.drop_interest()
        self.process.note(self.closing_note, link=self.number, peer=self.peer, reason=reason)
        self.gone()

    def _too_slow(self, reason: str) -> None:
        if not self.closed:
            self._over(reason)
            self.outbound.close(flush=False)

    def _stale(self) -> None:
        self.close(texts.STALE)

    def _send_ping(self) -> None:
        self.outbound.add(b"PING\r\n")

    # -------------------------------------------------------------------------------------------------- reading

    def _received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at = 0
        while not self.closed:
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            if data.startswith(_TO, at):  # most of what the servers of a cluster tell each other
                _, receiver, sender, size_text = data[at:end].split(b" ")
                stop = end + 4 + int(size_text)
                if len(data) < stop:
                    break
                at = stop
                self.process.server_message(receiver.decode(), sender.decode(), data[end + 2 : stop - 2])
                continue
            verb, _, rest = data[at:end].partition(b" ")
            if verb in _WITH_DATA:
                size = int(rest[rest.rfind(b" ") + 1 :]) + 2
                if len(data) < end + 2 + size:
                    break
                at = end + 2 + size
                self._message(verb, rest.split(b" "), data[end + 2 : at])
            else:
                at = end + 2
                self._line(verb, rest)
        self._buffer = data[at:] if at < len(data) else b""

    def _line(self, verb: bytes, rest: bytes) -> None:
        if verb == b"RS+":
            fields = rest.split(b" ")
            queue = fields[1] if len(fields) == 3 else None
            self.wants(fields[0], queue, 1 if queue is None else int(fields[2]))
        elif verb == b"RS-":
            fields = rest.split(b" ")
            self.wants_no_more(fields[0], fields[1] if len(fields) == 2 else None)
        elif verb == b"PING":
            self.outbound.add(b"PONG\r\n")
        elif verb == b"PONG":
            self.liveness.pong()
        else:
            self.told(verb, json.loads(rest))

    def _message(self, verb: bytes, fields: list[bytes], data: bytes) -> None:
        self.in_messages += 1
        self.in_bytes += len(data) - 2
        to = fields[0]
        if verb[:1] == b"D":
            fields = fields[1:]
        subject, size_text = fields[0], fields[-1]
        header_text = fields[-2] if verb.endswith(b"HMSG") else b""
        between = fields[1:-2] if header_text else fields[1:-1]
        reply, queues = b"", between
        if between and between[0] == _NO_REPLY:
            queues = between[1:]
        elif between and between[0] == _WITH_REPLY:
            reply, queues = between[1], between[2:]
        elif between:
            reply, queues = between[0], []
        header_size = int(header_text) if header_text else 0
        self.message(to, (subject, reply, header_size, header_text, size_text, data), queues)

    # --------------------------------------------------------------------------------- what a kind of link does

    @abstractmethod
    def told(self, verb: bytes, fields: dict[str, Any]) -> None:
        """The other server tells something: INFO of itself, for the first time or anew."""

    @abstractmethod
    def wants(self, subject: bytes, queue: bytes | None, count: int) -> None:
        """So many clients there want a subject."""

    @abstractmethod
    def wants_no_more(self, subject: bytes, queue: bytes | None) -> None:
        """No client there wants a subject."""

    @abstractmethod
    def message(self, to: bytes, message: MessageParts, queues: list[bytes]) -> None:
        """A message has come for those who listen to `to`, for these queue groups too."""

    @abstractmethod
    def drop_interest(self) -> None:
        """Nobody there is in reach any more."""

    @abstractmethod
    def gone(self) -> None:
        """It is over: whoever counts on it is to know."""


def encode_line(verb: bytes, fields: dict[str, Any]) -> bytes:
    """A line that tells something."""
    return b"%b %b\r\n" % (verb, json.dumps(fields, separators=(",", ":")).encode())

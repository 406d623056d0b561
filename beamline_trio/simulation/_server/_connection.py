"""One client's connection: its link, its beginning and its end, what it is subscribed to.

The reading is `_wire`'s, the writing `_outbound`'s, and `_operations` has what the operations do. The server reads in
pieces of a size that adapts to what comes, and some of its answers depend on where one ends, so they are modelled.

Must not reach into another connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import _texts as texts
from ._accounts import SYSTEM, USERS, as_seen
from ._connect import ConnectOptions
from ._info import encode_info
from ._interest import Subscription
from ._liveness import Liveness
from ._operations import ClientOperations
from ._outbound import Outbound
from ._wire import OperationReader, ProtocolViolation

if TYPE_CHECKING:
    from ._permissions import Permissions
    from ._process import Process
    from ._surroundings import Link, Timer

_READ_BYTES_FIRST: Final = 512
_READ_BYTES_MIN: Final = 64
_READ_BYTES_MAX: Final = 65_536
_SHORT_READS_MAX: Final = 2
# How long a client waits for each message to one that does not read, and for all of them in one piece.
_STALL_SECONDS: Final = 0.002
_STALL_SECONDS_MAX: Final = 0.010


class ClientConnection:
    """The server's side of one client: a `LinkHandler`.

    Attributes:
        number: of the link.
        client_id: the server's number for it.
        options: what it said in CONNECT.
        permissions: what it may do; None = everything.
        account: the prefix of its account's subjects.
        headers: whether it understands headers.
        connected: it has sent CONNECT, or was taken for somebody without.
        greeted: its first PING after that was answered, so it may be told news.
        max_payload: the limit that holds for it.
        subscriptions: by sid.
        address: where it is.
        started: when it came, in seconds of virtual time.
        active: there were messages or changes of interest since this was last looked at.
        closed: the server is done with it.
    """

    def __init__(self, process: Process, link: Link) -> None:
        self._process = process
        self._link = link
        self._reader = OperationReader(ClientOperations(process, self), process.config.max_control_line)
        self._read_bytes = _READ_BYTES_FIRST
        self._short_reads = 0
        self._unread = False  # more has come than was looked at, so that a close is a reset
        self._stalled = 0.0  # seconds that this client has to wait
        self._stalled_by_piece = 0.0
        self._auth_timer: Timer | None = None
        self.liveness = Liveness(process, self._send_ping, self._stale)
        self.number = link.number
        self.host = link.remote_host
        self.address = link.remote_address
        self.started = process.now()
        self.client_id = process.next_client_id()
        self.outbound = Outbound(process, link, self._too_slow)
        self.options = ConnectOptions()
        self.permissions: Permissions | None = None
        self.account = USERS
        self.headers = False
        self.connected = False
        self.greeted = False
        self.active = False
        self.max_payload = process.config.max_payload
        self.subscriptions: dict[bytes, Subscription] = {}
        self.closed = False
        self.in_messages = self.in_bytes = self.out_messages = self.out_bytes = 0

    # ------------------------------------------------------------------------------------------ beginning and end

    def welcome(self) -> None:
        """Send INFO, and close at once if there are too many clients."""
        process = self._process
        self.outbound.add(self.info(first=True))
        limit = process.config.max_connections
        if limit and len(process.clients) >= limit:
            self.close(texts.CONNECTIONS_EXCEEDED, texts.MAXIMUM_CONNECTIONS)
            return
        process.clients[self.client_id] = self
        if process.config.auth_required:
            self._reader.guarded = True
            self._auth_timer = process.call_later(process.config.auth_timeout_seconds, self._too_late)
        self.liveness.start()

    def close(self, reason: str, text: bytes | None = None, *, flush: bool = True) -> None:
        """End the connection.

        Args:
            reason: for the trace.
            text: of the -ERR to send before.
            flush: whether what waits is written first.
        """
        if self.closed:
            return
        if text is not None:
            self.send_error(text)
        self.closed = True
        self._cancel_auth_timer()
        self.liveness.stop()
        self._process.clients.pop(self.client_id, None)
        self.drop_subscriptions()
        self._process.traffic[self.account].end(self, slow=reason in _SLOW)
        self._process.note("close", cid=self.client_id, reason=reason)
        self.outbound.close(flush=flush, reset=self._unread)

    def forget(self) -> None:
        """The process is killed: only the kernel says goodbye."""
        self.closed = True
        self.outbound.close(flush=False)

    def set_limits(self, *, max_payload: int, max_control_line: int) -> None:
        """Put other limits in force; nobody is told."""
        self.max_payload = max_payload
        self._reader.control_line_max = max_control_line

    def identified(self) -> None:
        """CONNECT has come, or something else from a client that needs none: the time for it is over."""
        self.connected = True
        self._reader.guarded = False
        self._cancel_auth_timer()

    def send_error(self, text: bytes) -> None:
        """Send -ERR, without closing."""
        self._process.note("err", cid=self.client_id, text=text.decode("utf-8", "backslashreplace"))
        self.outbound.add(b"-ERR '%b'\r\n" % text)

    def send_info(self, *, lame_duck: bool = False) -> None:
        """Tell a client that wants to know that the cluster has changed, or that the server will end."""
        if self.greeted and self.options.protocol >= 1:
            self.outbound.add(self.info(lame_duck=lame_duck))

    def stall(self) -> None:
        """It sends to somebody who reads too slowly, and has to wait a little."""
        seconds = min(_STALL_SECONDS, _STALL_SECONDS_MAX - self._stalled_by_piece)
        self._stalled_by_piece += seconds
        self._stalled += seconds

    # -------------------------------------------------------------------------------------------------- the link

    def received(self, data: bytes) -> None:
        """Bytes have come: read them in the server's pieces."""
        self._process.run(self._received, data)

    def ended(self) -> None:
        """The client sends no more; the server takes that for its end."""
        self._process.run(self.close, texts.CLIENT_CLOSED)

    def broken(self, reason: str) -> None:
        """The link is gone."""
        self.outbound.abandon()
        self._process.run(self._broken)

    def writable(self) -> None:
        """The link takes more."""
        self._process.run(self.outbound.flush)

    def pause_reading(self) -> None:
        """The process is paused."""
        self._link.pause_reading()

    def resume_reading(self) -> None:
        """The process goes on."""
        if not self.closed:
            self._link.resume_reading()

    def _received(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end:
            piece = data[at : at + self._read_bytes]
            at += len(piece)
            try:
                self._reader.read(piece)
            except ProtocolViolation as violation:
                self._unread = at < end
                self._violated(violation)
                break
            self._adapt(len(piece))
            self._stalled_by_piece = 0.0
        if self.active:
            self.active = False
            self.liveness.heard = self._process.now()
        if self._stalled and not self.closed:
            seconds, self._stalled = self._stalled, 0.0
            self._link.pause_reading()
            self._process.call_later(seconds, self.resume_reading)

    def _violated(self, violation: ProtocolViolation) -> None:
        reason = texts.CONTROL_LINE_EXCEEDED if violation.control_line else _REASONS.get(violation.text or b"")
        self.close(reason or texts.PROTOCOL_VIOLATION, violation.text)

    def _adapt(self, size: int) -> None:
        """The next piece is larger when this one was full, and smaller after several that were nearly empty."""
        room = self._read_bytes
        if size >= room:
            self._short_reads = 0
            self._read_bytes = min(room * 2, _READ_BYTES_MAX)
            return
        if size < room // 2:
            self._short_reads += 1
        if room > _READ_BYTES_MIN and self._short_reads > _SHORT_READS_MAX:
            self._read_bytes = room // 2

    def _broken(self) -> None:
        self.close(texts.READ_ERROR, flush=False)

    def _too_slow(self, reason: str) -> None:
        self.close(reason, flush=False)

    def _too_late(self) -> None:
        self._auth_timer = None
        self.close(texts.CLOSED_AUTHENTICATION_TIMEOUT, texts.AUTHENTICATION_TIMEOUT)

    def _stale(self) -> None:
        self.close(texts.STALE, texts.STALE_CONNECTION)

    def _send_ping(self) -> None:
        self.outbound.add(b"PING\r\n")

    def _cancel_auth_timer(self) -> None:
        if self._auth_timer is not None:
            self._auth_timer.cancel()
            self._auth_timer = None

    def info(self, *, first: bool = False, lame_duck: bool = False, connect_info: bool = False) -> bytes:
        """What INFO says to this client.

        Args:
            first: before anything else, when a client that may do without credentials is not asked for them.
            lame_duck: the server will end.
            connect_info: behind the first PONG.
        """
        process = self._process
        config = process.config
        return encode_info(
            process.identity,
            auth_required=config.auth_required and not (first and config.no_auth_user is not None),
            max_payload=self.max_payload,
            client_id=self.client_id,
            client_ip=self._link.remote_address,
            connect_urls=process.connect_urls(),
            lame_duck=lame_duck,
            connect_info=connect_info,
            system=self.account == SYSTEM,
        )

    # --------------------------------------------------------------------------------------------- subscriptions

    def end_subscription(self, sub: Subscription) -> None:
        """Take out one of its subscriptions."""
        if sub.closed:
            return
        self._process.note("unsub", cid=self.client_id, sid=_text(sub.sid))
        self.subscriptions.pop(sub.sid, None)
        self._remove(sub)

    def add_subscription(self, sub: Subscription) -> bool:
        """Add one; False when its subject is none."""
        if not self._process.interest.insert(sub):
            return False
        self.subscriptions[sub.sid] = sub
        queue = None if sub.queue is None else _text(sub.queue)
        subject = _text(as_seen(sub.subject))
        self._process.note("sub", cid=self.client_id, sid=_text(sub.sid), subject=subject, queue=queue)
        self._process.subscribed(sub)
        return True

    def drop_subscriptions(self) -> None:
        """End all its subscriptions."""
        subs, self.subscriptions = self.subscriptions, {}
        for sub in subs.values():
            self._remove(sub)

    def _remove(self, sub: Subscription) -> None:
        sub.closed = True
        self._process.interest.remove(sub)
        self._process.unsubscribed(sub)


_SLOW: Final = (texts.SLOW_CONSUMER_PENDING, texts.SLOW_CONSUMER_DEADLINE)
_REASONS: Final = {
    texts.AUTHORIZATION_VIOLATION: texts.AUTHENTICATION_FAILURE,
    texts.MAXIMUM_PAYLOAD_VIOLATION: texts.PAYLOAD_EXCEEDED,
    texts.INVALID_CLIENT_PROTOCOL: texts.BAD_CLIENT_PROTOCOL,
    texts.NO_RESPONDERS_WITHOUT_HEADERS: texts.NO_RESPONDERS_REQUIRES_HEADERS,
}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")

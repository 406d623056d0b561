"""What each operation of a client does, in which order the server answers, and what it answers not at all.

The order of the checks is nats-server's, since it decides which error a client gets that deserves several.

Must not know the link: the connection closes, and `_delivery` delivers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import _texts as texts
from ._authentication import authorize
from ._connect import is_json_object
from ._delivery import publish
from ._interest import Subscription
from ._subjects import is_literal
from ._wire import ProtocolViolation, parse_size, split_publish, split_words

if TYPE_CHECKING:
    from ._connection import ClientConnection
    from ._process import Process

_PROTOCOL_MAX: Final = 1
# Subjects that are the server's own.
_GATEWAY_PREFIXES: Final = (b"_GR_.", b"$GR.")
_ACK_PREFIX: Final = b"$JS.ACK."
# These two count also when nothing follows them.
_RAFT_PREFIX: Final = b"$NRG."
_SERVICE_REPLY_PREFIX: Final = b"_R_."
_RESERVED_STARTS: Final = (b"_", b"$")
_SYSTEM_GROUP: Final = b"_sys_"


class ClientOperations:
    """The `Operations` of one client's reader."""

    def __init__(self, process: Process, client: ClientConnection) -> None:
        self._process = process
        self._client = client
        # Of the message whose payload is being read.
        self._subject = self._reply = self._header_text = self._size_text = b""
        self._header_size = -1
        self._line = b""

    def begin(self) -> None:
        """Something else than CONNECT comes first: only for a server that knows as whom to take the client."""
        client = self._client
        if self._process.config.no_auth_user is not None:
            client.identified()
            if authorize(client, self._process.config):
                return
        raise ProtocolViolation(texts.AUTHORIZATION_VIOLATION)

    def connect(self, argument: bytes) -> None:
        """CONNECT, which may come again and then starts over."""
        client = self._client
        if client.closed:
            return
        options = client.options
        client.liveness.connected()
        first = not client.connected
        client.identified()
        try:
            options.update(argument)
        except ValueError:
            raise ProtocolViolation from None
        client.headers = options.headers
        if not first:
            client.drop_subscriptions()
        if not authorize(client, self._process.config) or options.account or options.new_account:
            raise ProtocolViolation(texts.AUTHORIZATION_VIOLATION)
        if not 0 <= options.protocol <= _PROTOCOL_MAX:
            raise ProtocolViolation(texts.INVALID_CLIENT_PROTOCOL)
        if options.no_responders and not client.headers:
            raise ProtocolViolation(texts.NO_RESPONDERS_WITHOUT_HEADERS)
        self._send_ok()

    def info(self, argument: bytes) -> None:
        """INFO from a client has no effect, if it can be read."""
        if not is_json_object(argument):
            raise ProtocolViolation

    def error(self) -> None:
        """-ERR from a client ends the connection; what has come with it is still carried out."""
        self._client.close(texts.PARSE_ERROR)

    def ping(self) -> None:
        """PING: PONG, and after the first one INFO for those who understand it."""
        if self._client.closed:
            return
        self._client.outbound.add(b"PONG\r\n")
        self._client.liveness.heard = self._process.now()
        if not self._client.connected or self._client.greeted:
            return
        self._client.greeted = True
        if self._client.options.protocol >= 1:
            self._client.outbound.add(self._client.info(connect_info=True))

    def pong(self) -> None:
        """PONG."""
        self._client.liveness.pong()

    def subscribe(self, argument: bytes) -> None:
        """SUB subject [queue group] sid."""
        fields = split_words(argument)
        if len(fields) not in (2, 3):
            raise ProtocolViolation
        self._client.active = True
        if self._client.closed:
            return
        subject, sid = fields[0], fields[-1]
        queue = fields[1] if len(fields) == 3 else None
        allowed = self._client.permissions is None or self._client.permissions.may_subscribe(subject, queue)
        if not allowed or queue == _SYSTEM_GROUP:
            self._client.send_error(texts.subscription_violation(subject, queue))
            return
        limit = self._process.config.max_subscriptions
        if limit and len(self._client.subscriptions) >= limit:
            self._client.send_error(texts.MAXIMUM_SUBSCRIPTIONS)
            return
        if sid not in self._client.subscriptions and not self._client.add_subscription(
            Subscription(self._client.account + subject, queue, sid, self._client)
        ):
            self._client.send_error(texts.INVALID_SUBJECT)
            return
        self._send_ok()

    def unsubscribe(self, argument: bytes) -> None:
        """UNSUB sid [max]; what is no number counts as none."""
        fields = split_words(argument)
        if len(fields) not in (1, 2):
            raise ProtocolViolation
        self._client.active = True
        most = parse_size(fields[1]) if len(fields) == 2 else -1
        sub = self._client.subscriptions.get(fields[0])
        self._send_ok()
        if sub is None:
            return
        if most > sub.delivered:
            sub.most = most
        else:
            self._client.end_subscription(sub)

    def publish(self, argument: bytes) -> int:
        """PUB subject [reply] size."""
        fields = split_publish(argument)
        if len(fields) == 2:
            self._subject, self._size_text = fields
            self._reply = b""
        elif len(fields) == 3:
            self._subject, self._reply, self._size_text = fields
        else:
            raise ProtocolViolation
        self._header_size = -1
        self._line = argument
        return self._check_size(self._size_text)

    def publish_with_headers(self, argument: bytes) -> int:
        """HPUB subject [reply] header-size total-size."""
        if not self._client.headers:
            raise ProtocolViolation
        fields = split_publish(argument)
        if len(fields) not in (3, 4):
            raise ProtocolViolation
        self._subject, self._header_text, self._size_text = fields[0], fields[-2], fields[-1]
        self._reply = fields[1] if len(fields) == 4 else b""
        self._header_size = parse_size(self._header_text)
        self._line = argument
        if not 0 <= self._header_size <= parse_size(self._size_text):
            raise ProtocolViolation
        return self._check_size(self._size_text)

    def message_line(self) -> int:
        """HMSG is for routes; from a client its line is not looked at."""
        self._subject = self._reply = b""
        self._header_size = 0
        self._size_text = b""
        self._line = b""
        return 0

    def interrupted(self) -> None:
        """The server goes through the line again, and complains again."""
        try:
            if self._header_size < 0:
                self.publish(self._line)
            else:
                self.publish_with_headers(self._line)
        except ProtocolViolation:
            raise ProtocolViolation(texts.UNKNOWN_OPERATION) from None

    def message(self, data: bytes) -> None:
        """A whole message: check who may publish it, and deliver it."""
        client, process = self._client, self._process
        client.active = True
        client.in_messages += 1
        client.in_bytes += len(data) - 2
        subject, reply = self._subject, self._reply
        if self._refuses(subject, reply):
            return
        if client.options.verbose:
            client.outbound.add(b"+OK\r\n")
        size = max(self._header_size, 0)
        if process.observer is not None:
            process.observer.published(process.host, client.number, subject, data[:size] or None)
        parts = (subject, reply, size, self._header_text, self._size_text, data)
        if not publish(process, client, parts) and reply and client.options.no_responders:
            self._send_no_responders(subject, reply)

    def _send_ok(self) -> None:
        if self._client.options.verbose:
            self._client.outbound.add(b"+OK\r\n")

    def _check_size(self, text: bytes) -> int:
        size = parse_size(text)
        if size < 0:
            raise ProtocolViolation
        if size > self._client.max_payload:
            raise ProtocolViolation(texts.MAXIMUM_PAYLOAD_VIOLATION)
        if self._client.options.pedantic and not is_literal(self._subject):
            self._client.send_error(texts.INVALID_PUBLISH_SUBJECT)
        return size

    def _refuses(self, subject: bytes, reply: bytes) -> bool:
        permissions = self._client.permissions
        if permissions is None and subject[:1] not in _RESERVED_STARTS and reply[:1] not in _RESERVED_STARTS:
            return False
        refused = (
            (subject.startswith(_GATEWAY_PREFIXES) and subject not in _GATEWAY_PREFIXES)
            or (permissions is not None and not permissions.may_publish(subject))
            or subject.startswith(_RAFT_PREFIX)
        )
        if refused:
            self._client.send_error(texts.publish_violation(subject))
            return True
        if _is_reserved(reply):
            self._client.send_error(texts.reply_violation(reply))
            return True
        return False

    def _send_no_responders(self, subject: bytes, reply: bytes) -> None:
        listening = self._process.interest.match(self._client.account + reply).plain
        own = next((sub for sub in listening if sub.connection is self._client), None)
        if own is not None:
            block = b"NATS/1.0 503\r\nNats-Subject: %b\r\n\r\n" % subject
            size = len(block)
            self._client.outbound.add(b"HMSG %b %b %d %d\r\n%b\r\n" % (reply, own.sid, size, size, block))


def _is_reserved(reply: bytes) -> bool:
    if reply.startswith(_GATEWAY_PREFIXES):
        return reply not in _GATEWAY_PREFIXES
    return reply.startswith(_SERVICE_REPLY_PREFIX) or (reply.startswith(_ACK_PREFIX) and reply != _ACK_PREFIX)

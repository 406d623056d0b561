"""A message that a consumer gave: what came, and what can be answered. It is settled once: acked, naked, terminated.

Must not know pulls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ..client import Client, Message
from ..connection import failure_reason
from ..protocol import check_number, check_text, decode_subject
from ._api import is_no_responders, send_request
from ._errors import AckNotTakenError, MessageSettledError
from ._fields import SECONDS_MAX
from ._metadata import Metadata, read_metadata, read_position
from ._statistics import NAK_REASONS
from ._wire import encode_json, nanoseconds

if TYPE_CHECKING:
    from ._source import Source

_ACK: Final = b"+ACK"


class JetStreamMessage(Message):
    """A message of a stream, as a consumer delivered it.

    `ack`, `nak`, `term` settle it, once; unsettled after the consumer's ack wait it is delivered again. For a consumer
    without acks (`ack_policy="none"`) they do nothing. They are amortised checkpoints, as `Client.publish` is.
    """

    __slots__ = ("_received_at", "_settled", "_source")

    def __init__(
        self,
        client: Client,
        source: Source,
        received_at: float,
        subject: bytes,
        payload: bytes,
        reply: bytes,
        header: bytes | None,
    ) -> None:
        self._client = client
        self.subject_bytes = subject
        self.payload = payload
        self.reply_bytes: bytes | None = reply
        self.header_block = header
        self._source = source
        self._received_at = received_at
        self._settled = source.no_ack

    @property
    def metadata(self) -> Metadata:
        """Stream, consumer, sequences, deliveries; read from the ack subject at each call.

        Raises:
            ProtocolError: the server gave an ack subject that this version does not know.
        """
        return read_metadata(self._ack_subject)

    @property
    def position(self) -> tuple[str, int]:
        """The stream and the sequence in it: what of `metadata` tells a message from all others.

        Raises:
            ProtocolError: the server gave an ack subject that this version does not know.
        """
        return read_position(self._ack_subject)

    @property
    def settled(self) -> bool:
        """Whether it was acked, naked or terminated, or needs no ack."""
        return self._settled

    async def ack(self) -> None:
        """It is done. Sent with the next write, and known to have left only by `ack_sync`.

        An ack whose connection is lost is sent again by the next one, until the message's ack wait is over. Cancelled,
        nothing was sent.

        Raises:
            MessageSettledError: it was settled before.
            AcksPendingError: `acks_pending_max` acks wait already.
            ClientClosedError: the client is closed; it will be delivered again.
        """
        if not await self._admitted():
            return
        self._source.acks.put(self._ack_subject, _ACK, self._received_at + self._source.ack_wait_seconds)

    async def nak(self, delay_seconds: float | None = None, *, reason: str | None = None) -> None:
        """It could not be done: deliver it again, at once or after a delay.

        Without a connection the nak is dropped, counted and logged, and the message comes again after its ack wait.

        Args:
            delay_seconds: how long it stays away; None = it comes at once.
            reason: under which of NAK_REASONS the redelivery is counted; None = `backoff` with a delay, and
                `handler_error` without.

        Raises:
            TypeError: the delay is no number.
            ValueError: the delay is negative, or more than the server can count; or the reason is none of those.
            MessageSettledError, AcksPendingError, ClientClosedError: see `ack`.
        """
        check_number("delay_seconds", delay_seconds, least=0, most=SECONDS_MAX, note="292 years")
        if reason is not None and reason not in NAK_REASONS:
            raise ValueError(f"reason is {reason!r}; it must be one of {', '.join(NAK_REASONS)}")
        if not await self._admitted():
            return
        delay = encode_json({"delay": nanoseconds(delay_seconds)}) if delay_seconds else b""
        self._source.nak(self._ack_subject, b"-NAK " + delay if delay else b"-NAK", self._received_at)
        self._source.count_redelivery(reason or ("backoff" if delay else "handler_error"), self._ack_subject)

    async def term(self, reason: str | None = None) -> None:
        """It can never be done: do not deliver it again. The reason is in the server's advisory.

        Raises:
            TypeError: the reason is no str.
            ValueError: the reason has a line break.
            MessageSettledError, AcksPendingError, ClientClosedError: see `ack`.
        """
        check_text("reason", reason)
        if reason is not None and ("\r" in reason or "\n" in reason):
            raise ValueError("the reason has a line break; it must be one line")
        if not await self._admitted():
            return
        body = b"+TERM " + reason.encode("utf-8", "replace") if reason else b"+TERM"
        self._source.acks.put(self._ack_subject, body, self._received_at + self._source.ack_wait_seconds)

    async def in_progress(self) -> None:
        """It takes longer: the ack wait begins anew. Without a connection it does nothing.

        Raises:
            MessageSettledError, AcksPendingError, ClientClosedError: see `ack`.
        """
        if self._settled:
            await self._settled_before()
            return
        await self._source.acks.admit()
        if not self._settled and self._source.acks.put_progress(self._ack_subject):
            self._received_at = trio.current_time()

    def ack_nowait(self) -> None:
        """`ack` without a checkpoint, and without regard to `acks_pending_max`; never raises. For one now and then."""
        if not self._settled:
            self._settled = True
            self._source.acks.put(self._ack_subject, _ACK, self._received_at + self._source.ack_wait_seconds)

    def give_back(self) -> None:
        """Nobody here will do it: somebody else should have it at once. A nak without a checkpoint; never raises."""
        if not self._settled:
            self._settled = True
            self._source.give_back([self._ack_subject])

    def extend(self, older_than_seconds: float = 0.0) -> bool:
        """`in_progress` without a checkpoint, where so much of the ack wait is over; whether it was sent.

        Never raises: what is settled, or has no link, is left as it is.
        """
        now = trio.current_time()
        if self._settled or now < self._received_at + older_than_seconds:
            return False
        if not self._source.acks.put_progress(self._ack_subject):
            return False
        self._received_at = now
        return True

    async def ack_sync(self) -> None:
        """It is done, and the server has said that it knows (the double ack). Waits for a connection as a request does.

        Cancelled, or failed after the write, whether the server knows is unknown: it can be called again.

        Raises:
            MessageSettledError: it was settled before.
            AckNotTakenError: the consumer is gone.
            OperationTimeoutError, ConnectionLostError, PendingTimeoutError, PermissionsError: see `Client.request`.
        """
        if self._settled:
            await self._settled_before()
            return
        self._source.attachment.counters.acks += 1
        try:
            reply = await send_request(self._source.attachment, self._ack_subject, _ACK)
            if is_no_responders(reply):
                raise AckNotTakenError(f"nobody took the ack {decode_subject(self._ack_subject)}; the consumer is gone")
        except Exception as error:
            reason = "no_responders" if isinstance(error, AckNotTakenError) else failure_reason(error)
            self._source.tell_ack_error(self._ack_subject, reason)
            raise
        self._settled = True

    @property
    def _ack_subject(self) -> bytes:
        return self.reply_bytes if self.reply_bytes is not None else b""

    async def _admitted(self) -> bool:
        """Settle it; False when it needs none. Another task may have done it while this one waited for room."""
        if not self._settled:
            await self._source.acks.admit()
        if self._settled:
            await self._settled_before()
            return False
        self._settled = True
        return True

    async def _settled_before(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._source.no_ack:
            raise MessageSettledError(
                f"the message {decode_subject(self._ack_subject)} was settled before; ack, nak or term it once"
            )

"""A message as its receiver holds it. Subject and headers are decoded when they are asked for, payload is bytes.

Must not buffer, and must not know which subscription it came by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..protocol import Headers, HeadersInput, NatsError, decode_headers, decode_subject

if TYPE_CHECKING:
    from ..connection import Outcome
    from ._client import Client


_NO_RESPONDERS: Final = b"NATS/1.0 503"


def says_no_responders(header: bytes | None, payload: bytes) -> bool:
    """Whether a reply is the server's word that nobody is subscribed: status 503 without a payload."""
    return header is not None and not payload and header.startswith(_NO_RESPONDERS)


class NoReplySubjectError(NatsError):
    """`respond` was called on a message whose sender wants no reply."""


class Message:
    """A message that was received.

    Attributes:
        payload: the bytes of the message.
        subject_bytes: the subject as it came.
        reply_bytes: the reply subject as it came, or None.
        header_block: the header block as it came, or None.
    """

    __slots__ = ("_client", "_headers", "header_block", "payload", "reply_bytes", "subject_bytes")

    def __init__(
        self, client: Client, subject: bytes, payload: bytes, reply: bytes | None, header: bytes | None
    ) -> None:
        self._client = client
        self.subject_bytes = subject
        self.payload = payload
        self.reply_bytes = reply
        self.header_block = header

    @property
    def subject(self) -> str:
        """The subject; bytes that are not UTF-8 appear as surrogate escapes."""
        return decode_subject(self.subject_bytes)

    @property
    def reply(self) -> str | None:
        """The subject to respond to, or None."""
        return None if self.reply_bytes is None else decode_subject(self.reply_bytes)

    @property
    def headers(self) -> Headers:
        """The headers, empty if there are none. The same object each time."""
        try:
            return self._headers
        except AttributeError:
            self._headers: Headers = Headers() if self.header_block is None else decode_headers(self.header_block)
            return self._headers

    @property
    def size(self) -> int:
        """Bytes of headers and payload."""
        return len(self.payload) + (len(self.header_block) if self.header_block is not None else 0)

    async def respond(self, payload: bytes = b"", *, headers: HeadersInput | None = None) -> Outcome:
        """Publish to the reply subject; checkpoints and errors are those of `Client.publish`.

        Raises:
            NoReplySubjectError: the message has no reply subject.
        """
        if self.reply_bytes is None:
            raise NoReplySubjectError(f"the message on {self.subject!r} has no reply subject; check msg.reply first")
        return await self._client.respond_to(self.reply_bytes, payload, headers)

    def __repr__(self) -> str:
        reply = f", reply={self.reply!r}" if self.reply_bytes is not None else ""
        return f"<Message subject={self.subject!r}{reply} payload={len(self.payload)} bytes>"

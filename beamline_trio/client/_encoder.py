"""What a user publishes -> a frame: everything is checked here, before a byte is queued.

Subjects that were published to before are remembered with their prefix, which is what the hot path of `Client.publish`
looks up.

Must not queue or send.
"""

from __future__ import annotations

from typing import Final

from ..connection import Connection
from ..protocol import (
    HeadersInput,
    InvalidHeaderError,
    InvalidSubjectError,
    PayloadTooLargeError,
    control_line_size,
    decode_subject,
    encode_headers,
    encode_publish,
    encode_subject,
    publish_prefix,
)

# A program that publishes to more subjects than this pays for checking them again.
SUBJECTS_CACHED_MAX: Final = 4_096
# The blank and the size behind a prefix on the hot path.
_SIZE_BYTES: Final = 12


class PublishEncoder:
    """The encoder of one client.

    Attributes:
        prefixes: subject -> what comes before the size of a plain publish, of subjects that were checked.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.prefixes: dict[str, bytes] = {}

    def encode(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview,
        reply: str | None,
        headers: HeadersInput | None,
    ) -> bytes:
        """The frame of a publish, checked; raises before anything is queued."""
        target = self.target(subject)
        answer = encode_subject(reply) if reply is not None else None
        header = encode_headers(headers) if headers is not None else None
        return self.frame(target, payload, answer, header)

    def request(
        self, subject: str, payload: bytes | bytearray | memoryview, headers: HeadersInput | None
    ) -> tuple[bytes, bytes, bytes]:
        """The subject of a request in bytes, a new token for its replies, and its frame; checked as a publish is."""
        target = self.target(subject)
        header = encode_headers(headers) if headers is not None else None
        inbox = self._connection.inbox
        token = inbox.new_token()
        return target, token, self.frame(target, payload, inbox.prefix + token, header)

    def frame(
        self,
        target: bytes,
        payload: bytes | bytearray | memoryview,
        reply: bytes | None,
        header: bytes | None,
    ) -> bytes:
        """The frame of a publish whose subjects and headers are encoded already.

        Raises:
            TypeError: the payload is not bytes, bytearray or memoryview.
            PayloadTooLargeError: headers and payload exceed the server's max_payload.
            InvalidHeaderError: the server takes no headers.
            InvalidSubjectError: subject and reply make too long a line.
        """
        if not isinstance(payload, (bytes, bytearray, memoryview)):
            hint = "; encode it first" if isinstance(payload, str) else ""
            raise TypeError(f"payload must be bytes-like, not {type(payload).__name__}{hint}")
        body = bytes(payload)
        size = len(body) + (len(header) if header is not None else 0)
        limit = self._connection.info.max_payload
        if size > limit:
            raise PayloadTooLargeError(size, limit)
        if header is not None and self._connection.info.version and not self._connection.info.headers:
            raise InvalidHeaderError("this server does not support headers; send the message without them")
        frame = encode_publish(target, body, reply, header)
        self.check_line(control_line_size(frame), target)
        return frame

    def check_line(self, size: int, subject: bytes) -> None:
        """Raise InvalidSubjectError when a control line of `size` bytes is more than the server takes."""
        limit = self._connection.options.control_line_bytes_max
        if size > limit:
            raise InvalidSubjectError(
                f"subject {decode_subject(subject)[:40]!r}... makes a line of {size} bytes, the server takes {limit} "
                "(max_control_line, option control_line_bytes_max); shorten subject, reply or queue group"
            )

    def target(self, subject: str) -> bytes:
        """A subject to publish to, checked once: its prefix is remembered.

        Raises:
            TypeError: it is not a str.
            InvalidSubjectError: it cannot be published to.
        """
        prefix = self.prefixes.get(subject) if isinstance(subject, str) else None
        if prefix is not None:
            return prefix[4:-1]
        target = encode_subject(subject)
        self.check_line(len(target) + _SIZE_BYTES, target)
        if len(self.prefixes) >= SUBJECTS_CACHED_MAX:
            self.prefixes.clear()
        self.prefixes[subject] = publish_prefix(target)
        return target

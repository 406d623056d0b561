"""Operations of the client -> frames. Arguments are bytes that `_subjects` and `_headers` have checked.

The plain publish of the hot path is formatted by its caller behind `publish_prefix`; its shape is here all the same,
so that one module knows the grammar of what we send.

Must not check, buffer or send.
"""

from __future__ import annotations

PING = b"PING\r\n"
PONG = b"PONG\r\n"

# What a caller with a cached prefix formats: PUBLISH_FRAME % (prefix, len(payload), payload).
PUBLISH_FRAME = b"%b%d\r\n%b\r\n"


def publish_prefix(subject: bytes) -> bytes:
    """What comes before the size of a publish without reply and headers."""
    return b"PUB %b " % subject


def encode_publish(subject: bytes, payload: bytes, reply: bytes | None = None, header: bytes | None = None) -> bytes:
    """PUB, or HPUB when there is a header block."""
    target = subject if reply is None else b"%b %b" % (subject, reply)
    if header is None:
        return b"PUB %b %d\r\n%b\r\n" % (target, len(payload), payload)
    size = len(header)
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (target, size, size + len(payload), header, payload)


def encode_subscribe(subject: bytes, sid: bytes, queue_group: bytes | None = None) -> bytes:
    """SUB."""
    if queue_group is None:
        return b"SUB %b %b\r\n" % (subject, sid)
    return b"SUB %b %b %b\r\n" % (subject, queue_group, sid)


def encode_unsubscribe(sid: bytes, after: int | None = None) -> bytes:
    """UNSUB; `after` counts the messages delivered since SUB."""
    if after is None:
        return b"UNSUB %b\r\n" % sid
    return b"UNSUB %b %d\r\n" % (sid, after)


def control_line_size(frame: bytes) -> int:
    """The length of a frame's first line, which the server bounds by its max_control_line."""
    return frame.index(b"\r\n")


def payload_size(frame: bytes) -> int:
    """The bytes of headers and payload of a PUB or HPUB frame, which the server bounds by its max_payload."""
    return int(frame[: frame.index(b"\r\n")].rpartition(b" ")[2])

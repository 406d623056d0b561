"""A second reading of the server's stream, for comparison: whole and legal streams only, nothing clever.

It shares no code with the package. One operation after the other: a line up to CRLF, its fields by a regular
expression, and for a message so many bytes behind it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container

from ._recorder import Event

_STATUS_LINE = re.compile(rb"NATS/1\.0([ \t]*|[ \t]+[0-9]{3}([ \t].*)?)")


def reference_events(stream: bytes, sids: Container[bytes] = (b"1", b"2", b"37")) -> list[Event]:
    """What a legal stream means."""
    events: list[Event] = []
    while stream:
        line, stream = stream.split(b"\r\n", 1)
        verb = re.split(rb"[ \t]", line, maxsplit=1)[0]
        rest = line[len(verb) :].strip(b" \t")
        match verb.upper():
            case b"PING":
                events.append(("ping",))
            case b"PONG":
                events.append(("pong",))
            case b"+OK":
                pass
            case b"INFO":
                events.append(("info", json.loads(rest)))
            case b"-ERR":
                events.append(("error", rest.decode("utf-8", "replace")))
            case b"MSG" | b"HMSG" as kind:
                subject, sid, *reply, size = re.split(rb"[ \t]+", rest)
                header_size = int(reply.pop()) if kind == b"HMSG" else None
                message, end, stream = stream[: int(size)], stream[int(size) :][:2], stream[int(size) + 2 :]
                assert (len(message), end) == (int(size), b"\r\n"), "the stream is not legal"
                header = None if header_size is None else message[:header_size]
                if header is not None and not well_formed(header):
                    events.append(("malformed", sid, subject))
                elif sid not in sids:
                    events.append(("unroutable", sid))
                else:
                    events.append(
                        ("message", sid, subject, reply[0] if reply else None, header, message[header_size or 0 :])
                    )
            case _:
                raise AssertionError(f"the stream is not legal: {line!r}")
    return events


def well_formed(block: bytes) -> bool:
    """Whether a header block is a status line, lines with a name and a colon, and an empty line."""
    if not block.endswith(b"\r\n\r\n"):
        return False
    first, *lines = block[:-4].split(b"\r\n")
    if any(b"\r" in line or b"\n" in line for line in (first, *lines)):
        return False
    return _STATUS_LINE.fullmatch(first) is not None and all(line.find(b":") > 0 for line in lines)

"""The state of a stream or a consumer as bytes, for a member that lacks too much of the log.

A stream has a hundred thousand ids and more: they are packed as arrays, which need no object an id in between.

Must not change what it packs.
"""

from __future__ import annotations

import json
from array import array
from itertools import accumulate, pairwise
from struct import Struct
from typing import Any, Final

from .._consumer_state import ConsumerState
from .._duplicates import Duplicates
from .._messages import Messages, StoredMessage
from .._stream_config import StreamConfig
from ._assignments import pack, unpack

# Of a message: sequence, time, expiry, size, lengths of subject, header, payload. Of an id: time, sequence, length.
_MESSAGE: Final = Struct("=7q")
_ID: Final = Struct("=3q")


def pack_stream(config: StreamConfig, messages: Messages, duplicates: Duplicates) -> bytes:
    """A stream: a line of JSON, and behind it the numbers and then the bytes of its messages and of its ids."""
    numbers = array("q")
    blobs: list[bytes] = []
    for message in messages:
        parts = (message.subject, message.header, message.payload)
        numbers.extend((message.sequence, message.time, message.expires, message.size, *map(len, parts)))
        blobs += parts
    ids = list(duplicates)
    for time, identity, sequence in ids:
        numbers.extend((time, sequence, len(identity)))
        blobs.append(identity)
    head = {
        "config": pack(config),
        "place": messages.place(),
        "messages": len(messages),
        "ids": len(ids),
        "last_id": duplicates.last_id.hex(),
    }
    return b"".join([json.dumps(head, separators=(",", ":")).encode(), b"\n", numbers.tobytes(), *blobs])


def unpack_stream(data: bytes) -> tuple[StreamConfig, Messages, Duplicates]:
    """What `pack_stream` made."""
    end = data.index(b"\n") + 1
    head = json.loads(data[:end])
    ids_at = end + head["messages"] * _MESSAGE.size
    at = ids_at + head["ids"] * _ID.size
    found = []
    for sequence, time, expires, size, *lengths in _MESSAGE.iter_unpack(data[end:ids_at]):
        ends = [*accumulate(lengths, initial=at)]
        parts = [data[one:other] for one, other in pairwise(ends)]
        found.append(StoredMessage(sequence, parts[0], parts[1], parts[2], time, expires, size))
        at = ends[-1]
    duplicates = Duplicates()
    for time, sequence, length in _ID.iter_unpack(data[ids_at : ids_at + head["ids"] * _ID.size]):
        duplicates.recall(data[at : at + length], sequence, time)
        at += length
    duplicates.last_id = bytes.fromhex(head["last_id"])
    config = unpack(StreamConfig, head["config"])
    return config, Messages.restored(config, found, head["place"]), duplicates


def pack_books(books: ConsumerState) -> dict[str, Any]:
    """A consumer's books, for JSON."""
    return {
        "next": [books.next_stream, books.next_consumer],
        "last": books.last_stream,
        "floor": [books.floor_stream, books.floor_consumer],
        "kept": [books.kept_stream, books.kept_consumer],
        "pending": [[sequence, *one] for sequence, one in books.pending.items()],
        "redelivered": list(books.redelivered.items()),
    }


def unpack_books(packed: dict[str, Any]) -> ConsumerState:
    """What `pack_books` made."""
    books = ConsumerState(1)
    books.next_stream, books.next_consumer = packed["next"]
    books.last_stream = packed["last"]
    books.floor_stream, books.floor_consumer = packed["floor"]
    books.kept_stream, books.kept_consumer = packed["kept"]
    books.pending = {sequence: [number, at] for sequence, number, at in packed["pending"]}
    books.redelivered = {sequence: count for sequence, count in packed["redelivered"]}
    return books

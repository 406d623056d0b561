"""The state of a stream or a consumer as bytes, for a member that lacks too much of the log.

Must not change what it packs.
"""

from __future__ import annotations

import json
from typing import Any

from .._consumer_state import ConsumerState
from .._duplicates import Duplicates
from .._messages import Messages, StoredMessage
from .._stream_config import StreamConfig
from ._assignments import pack, unpack


def pack_stream(config: StreamConfig, messages: Messages, duplicates: Duplicates) -> bytes:
    """A stream: a line of JSON, and the bytes of its messages behind it."""
    records: list[list[int]] = []
    blobs: list[bytes] = []
    for message in messages:
        parts = (message.subject, message.header, message.payload)
        records.append([message.sequence, message.time, message.expires, message.size, *map(len, parts)])
        blobs += parts
    head = {
        "config": pack(config),
        "place": messages.place(),
        "records": records,
        "ids": [[time, identity.hex(), sequence] for time, identity, sequence in duplicates],
        "last_id": duplicates.last_id.hex(),
    }
    return b"\n".join([json.dumps(head, separators=(",", ":")).encode(), b"".join(blobs)])


def unpack_stream(data: bytes) -> tuple[StreamConfig, Messages, Duplicates]:
    """What `pack_stream` made."""
    line, _, blob = data.partition(b"\n")
    head = json.loads(line)
    config = unpack(StreamConfig, head["config"])
    found, at = [], 0
    for sequence, time, expires, size, *lengths in head["records"]:
        parts = []
        for length in lengths:
            parts.append(blob[at : at + length])
            at += length
        found.append(StoredMessage(sequence, parts[0], parts[1], parts[2], time, expires, size))
    duplicates = Duplicates()
    ids = [(time, bytes.fromhex(identity), sequence) for time, identity, sequence in head["ids"]]
    duplicates.remember_all(ids, bytes.fromhex(head["last_id"]))
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

"""What clients say to consumers, and which PubAcks reach them: read off the wire, as the bytes leave and arrive.

An ack that leaves before the PubAck of what it stands for has arrived is a broken promise, though no server can tell.

Must not judge; that is `_laws`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ._facts import PubAcked, Said

_SAID: Final = re.compile(
    rb"PUB \$JS\.ACK\.(?P<stream>[^.\s]+)\.(?P<consumer>[^.\s]+)\.(?P<deliveries>\d+)\.(?P<sequence>\d+)"
    rb"\.\d+\.\d+\.\d+ [^\r\n]*\r\n(?:(?P<body>[+-][A-Z]+)[\r ]|\r\n)"
)
_PUBACK: Final = re.compile(rb'\{"stream":"(?P<stream>[^"]+)"(?:,"domain":"[^"]*")?,"seq":(?P<sequence>\d+)[,}]')
_KINDS: Final = {b"+ACK": "ack", None: "ack", b"-NAK": "nak", b"+TERM": "term", b"+NXT": "ack"}
# Longer than what is looked for: two writes, or two packets, may cut it.
_OVERLAP_BYTES: Final = 256


class Settlements:
    """The acknowledgements and the PubAcks of a run.

    Attributes:
        said: what left, in order. Progress (`+WPI`) is not among it.
        pubacked: what arrived, in order.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._sent: dict[int, bytes] = {}
        self._came: dict[int, bytes] = {}
        self.said: list[Said] = []
        self.pubacked: list[PubAcked] = []

    def sent(self, link: int, data: bytes) -> None:
        """Bytes that a client handed to the network."""
        cut = self._sent.pop(link, b"")
        joined = cut + data
        if b"$JS.ACK." in joined:
            for found in _SAID.finditer(joined):
                if found.end() > len(cut):
                    self._note(link, found)
        self._sent[link] = joined[-_OVERLAP_BYTES:]

    def arrived(self, link: int, data: bytes) -> None:
        """Bytes that have come to the host of a client."""
        cut = self._came.pop(link, b"")
        joined = cut + data
        if b'"seq":' in joined:
            for found in _PUBACK.finditer(joined):
                if found.end() > len(cut):
                    stream, sequence = found["stream"].decode(), int(found["sequence"])
                    self.pubacked.append(PubAcked(link, stream, sequence, self._now()))
        self._came[link] = joined[-_OVERLAP_BYTES:]

    def _note(self, link: int, found: re.Match[bytes]) -> None:
        kind = _KINDS.get(found["body"])
        if kind is None:
            return
        stream, consumer = found["stream"].decode(), found["consumer"].decode()
        sequence, deliveries = int(found["sequence"]), int(found["deliveries"])
        self.said.append(Said(link, stream, consumer, sequence, deliveries, kind, self._now()))

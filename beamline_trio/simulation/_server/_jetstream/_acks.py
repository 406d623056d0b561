"""Acknowledgements on the wire: the subject that stands in for a delivery, and what a client says on it.

    v1  $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ns>.<pending>
    v2  $JS.ACK.<domain or _>.<account's hash>.<stream>.<consumer>. ... with at least 11 tokens

Must not know what a consumer does with them.
"""

from __future__ import annotations

from typing import Final

import attrs

from ._golang import GoError, decode, parse_duration

# Of the account $G, the only one there is.
ACCOUNT_HASH: Final = "szMpdrwD"
_V1_TOKENS: Final = 9
_V2_TOKENS_MIN: Final = 11
_NAK_SHAPE: Final = {"delay": "duration"}


@attrs.frozen
class AckSubjects:
    """Where a consumer is acknowledged.

    Attributes:
        listened: what the server subscribes to for it.
        prefix: how the reply subject of a delivery begins.
    """

    listened: tuple[bytes, ...]
    prefix: str

    @classmethod
    def of(cls, stream: str, consumer: str, domain: str, *, v2: bool) -> AckSubjects:
        """Those of a consumer; `v2` = its deliveries have the long form."""
        short = f"$JS.ACK.{stream}.{consumer}."
        long = f"$JS.ACK.{domain or '_'}.{ACCOUNT_HASH}.{stream}.{consumer}."
        listened = (f"{short}*.*.*.*.*".encode(), f"{long}*.*.*.*.>".encode())
        return cls(listened, long if v2 else short)


@attrs.frozen
class Delivered:
    """The delivery that an acknowledgement is about."""

    deliveries: int
    stream_sequence: int
    consumer_sequence: int


def read_subject(subject: bytes) -> Delivered:
    """The delivery that a subject stands for; what is no number counts as none."""
    tokens = subject.split(b".")
    if len(tokens) == _V1_TOKENS:
        at = 4
    elif len(tokens) >= _V2_TOKENS_MIN:
        at = 6
    else:
        return Delivered(0, 0, 0)
    numbers = [int(token) if token.isdigit() else 0 for token in tokens[at : at + 3]]
    return Delivered(*numbers)


def nak_delay(argument: bytes) -> int | None:
    """How many nanoseconds a NAK asks to wait; None = it does not ask, or cannot be understood."""
    text = argument.strip()
    if not text:
        return None
    try:
        if text.startswith(b"{"):
            return int(decode(text, _NAK_SHAPE, "ConsumerNakOptions").get("delay", 0))
        return parse_duration(text.decode("utf-8", "replace"))
    except GoError:
        return None

"""The trace that a message belongs to: W3C Trace Context (levels 1 and 2) in its headers, in and out.

A delivery whose message has a `traceparent` is a span of that trace: its effects carry the same trace with the delivery
as their parent. A message without one starts none. A batch may have messages of several traces, so it is the root of a
trace of its own, linked to theirs; where none of its messages has one, it starts none either. What is malformed is
ignored and counted, never an error, and what is kept of a `tracestate` is bounded: hostile senders cost neither
messages nor memory.

Must not know tracing libraries.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

from ..client import Message
from ..protocol import Headers, frozen

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
STATE_MEMBERS_MAX: Final = 32
STATE_CHARACTERS_MAX: Final = 512
# 32 members of 256 characters of key and of value, with what parts them: longer is no tracestate.
_STATE_READ_MAX: Final = 32 * (256 + 1 + 256 + 8)
_LONG_MEMBER: Final = 128  # the text has those go first
_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_MEMBER: Final = re.compile(r"([a-z0-9][a-z0-9_\-*/@]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_FLAGS_KNOWN: Final = 0x03  # sampled, and (level 2) random


@frozen(kw_only=True)
class TraceContext:
    """Where in a trace a delivery stands.

    Attributes:
        trace_id: 32 lowercase hexadecimal digits.
        span_id: 16 of them: the delivery itself.
        parent_id: 16 of them: the sender's span; empty where the trace begins here, as that of a batch does.
        sampled: whether the sender may have recorded the trace; of a batch, whether one of the senders may have.
        flags: all flags that are known, `sampled` among them.
        state: the tracestate to hand on; empty if there is none.
    """

    trace_id: str
    span_id: str
    parent_id: str
    flags: int = 0
    state: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the sender may have recorded the trace."""
        return bool(self.flags & 1)

    @property
    def traceparent(self) -> str:
        """The header of what the delivery publishes."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def inject(self, headers: Headers | None) -> Headers:
        """The headers with the trace; headers that have a traceparent of their own stay as they are."""
        if headers is not None and TRACEPARENT in headers:
            return headers
        traced = Headers() if headers is None else Headers(headers)
        traced[TRACEPARENT] = self.traceparent
        if self.state:
            traced[TRACESTATE] = self.state
        elif TRACESTATE in traced:
            del traced[TRACESTATE]
        return traced


class TraceReader:
    """Reads the trace of messages, and counts what it had to ignore.

    Attributes:
        parents_ignored: messages whose traceparent is malformed, or there more than once.
        states_ignored: messages whose tracestate is malformed; the trace itself went on.
        states_cut: messages whose tracestate was longer than 512 characters; whole members are left out.
    """

    __slots__ = ("_random", "parents_ignored", "states_cut", "states_ignored")

    def __init__(self, chance: random.Random) -> None:
        self._random = chance
        self.parents_ignored = 0
        self.states_ignored = 0
        self.states_cut = 0

    def read(self, message: Message) -> TraceContext | None:
        """The delivery's place in its message's trace, as a new span; None if the message has none that can be read."""
        block = message.header_block
        if block is None or b"traceparent" not in block.lower():
            return None
        parents = message.headers.get_all(TRACEPARENT)
        if not parents:
            return None
        parent = parse_traceparent(parents[0]) if len(parents) == 1 else None
        if parent is None:
            self.parents_ignored += 1
            return None
        trace_id, parent_id, flags = parent
        span_id = f"{self._random.getrandbits(64) or 1:016x}"
        state = self._state(message.headers.get_all(TRACESTATE))
        return TraceContext(trace_id=trace_id, span_id=span_id, parent_id=parent_id, flags=flags, state=state)

    def join(self, links: Sequence[TraceContext]) -> TraceContext | None:
        """The place of a batch: the beginning of a new trace; None if none of its messages has one."""
        if not links:
            return None
        trace_id = f"{self._random.getrandbits(128) or 1:032x}"
        span_id = f"{self._random.getrandbits(64) or 1:016x}"
        sampled = any(link.sampled for link in links)
        return TraceContext(trace_id=trace_id, span_id=span_id, parent_id="", flags=int(sampled))

    def _state(self, values: list[str]) -> str:
        if not values:
            return ""
        members = parse_tracestate(values)
        if members is None:
            self.states_ignored += 1
            return ""
        kept = cut_tracestate(members)
        self.states_cut += len(kept) < len(members)
        return ",".join(kept)


def parse_traceparent(text: str) -> tuple[str, str, int] | None:
    """Trace id, the sender's span id and the known flags; None if it is malformed.

    Of a later version what this one knows is read, as the text has it; version ff and ids of zeros are malformed.
    """
    match = _PARENT.fullmatch(text)
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return trace_id, parent_id, int(flags, 16) & _FLAGS_KNOWN


def parse_tracestate(values: list[str]) -> list[str] | None:
    """The members of all headers together, in order; None if one is malformed or twice, or there are more than 32."""
    if sum(map(len, values)) > _STATE_READ_MAX:
        return None
    members = [member for value in values for one in value.split(",") if (member := one.strip(" \t"))]
    if len(members) > STATE_MEMBERS_MAX:
        return None
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {match[1] for match in matches if match is not None}
    return members if len(keys) == len(members) else None


def cut_tracestate(members: list[str]) -> list[str]:
    """What fits into 512 characters: members of more than 128 go first, then those at the end."""
    kept = list(members)
    for long_only in (True, False):
        for index in range(len(kept) - 1, -1, -1):
            if sum(map(len, kept)) + len(kept) - 1 <= STATE_CHARACTERS_MAX:
                return kept
            if not long_only or len(kept[index]) > _LONG_MEMBER:
                del kept[index]
    return kept

"""Which subscriptions a client has on one link: whom an answer to a subject would reach.

Must not know what is answered.
"""

from __future__ import annotations

from typing import Final

from ._operations import covers
from ._splitter import Frame

# Of subscriptions that end by themselves it is not known when; so many are remembered.
ENDING_MAX: Final = 1_024


class Interests:
    """The subscriptions of one link, as SUB and UNSUB tell them."""

    def __init__(self) -> None:
        self._patterns: dict[bytes, tuple[list[bytes], bytes | None]] = {}
        self._ending: dict[bytes, None] = {}

    def passed(self, frame: Frame) -> None:
        """A frame of the client that goes to the server."""
        fields = frame.fields
        if frame.verb == b"SUB":
            self._patterns.setdefault(fields[-1], (fields[0].split(b"."), fields[1] if len(fields) == 3 else None))
        elif frame.verb == b"UNSUB" and len(fields) == 1:
            self._forget(fields[0])
        elif frame.verb == b"UNSUB" and fields[0] in self._patterns:
            self._ending[fields[0]] = None
            if len(self._ending) > ENDING_MAX:
                self._forget(next(iter(self._ending)))

    def _forget(self, sid: bytes) -> None:
        self._patterns.pop(sid, None)
        self._ending.pop(sid, None)

    def of(self, subject: bytes) -> list[bytes]:
        """The sids that a message to this subject goes to; of a queue group it is the oldest one."""
        tokens = subject.split(b".")
        sids: list[bytes] = []
        groups: set[bytes] = set()
        for sid, (pattern, group) in self._patterns.items():
            if group in groups or not covers(pattern, tokens):
                continue
            if group is not None:
                groups.add(group)
            sids.append(sid)
        return sids

"""How long the stream of a subject remembers message ids: asked of the server once a stream, for all its subjects.

A stream is asked for with its subjects, and every subject that these take has its window. What a stream takes in
another way (a mapping of the account, say) is known by the subject itself. A PubAck of another stream than was thought
makes the client forget what it knew.

Must not guess: what the server does not tell is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..protocol import NatsError, frozen
from ._api import API
from ._management import stream_info, stream_names

# A program that publishes to more streams, or to more subjects that are in no stream's list, asks again.
STREAMS_CACHED_MAX: Final = 256
SUBJECTS_CACHED_MAX: Final = 4_096


@frozen
class Window:
    """What is known of a stream: its name, its duplicate window, and the subjects that it takes."""

    stream: str
    seconds: float
    takes: re.Pattern[str]


class DuplicateWindows:
    """The windows that one JetStream object knows.

    Args:
        api: where streams are asked for.
    """

    def __init__(self, api: API) -> None:
        self._api = api
        self._streams: dict[str, Window] = {}
        self._subjects: dict[str, str] = {}

    def find(self, subject: str, stream: str | None) -> Window | None:
        """What is known; by the stream where it is given. None = ask for it."""
        name = stream or self._subjects.get(subject)
        if name is not None:
            return self._streams.get(name)
        for window in self._streams.values():
            if window.takes.fullmatch(subject):
                return window
        return None

    async def ask(self, subject: str, stream: str | None) -> Window | None:
        """Ask the server, and remember; None where it does not tell. Cancelled: nothing is remembered."""
        try:
            names = [stream] if stream else await stream_names(self._api, subject)
            info = await stream_info(self._api, names[0]) if names else None
        except NatsError:  # it may not ask, say; that is no reason not to publish
            return None
        seconds = info.config.duplicate_window_seconds if info is not None else None
        if info is None or seconds is None:
            return None
        window = Window(names[0], seconds, pattern_of(info.config.subjects or ()))
        if len(self._streams) >= STREAMS_CACHED_MAX:
            self._streams.clear()
        self._streams[window.stream] = window
        if stream is None and window.takes.fullmatch(subject) is None:
            if len(self._subjects) >= SUBJECTS_CACHED_MAX:
                self._subjects.clear()
            self._subjects[subject] = window.stream
        return window

    def heard(self, subject: str, stream: str) -> None:
        """This stream has stored a message of this subject."""
        known = self.find(subject, None)
        if known is not None and known.stream != stream:
            self._subjects.pop(subject, None)
            del self._streams[known.stream]


def pattern_of(subjects: Iterable[str]) -> re.Pattern[str]:
    """Matches in full the subjects that a stream of these takes."""
    tokens = {"*": r"[^.]+", ">": r".+"}
    each = (r"\.".join(tokens.get(token) or re.escape(token) for token in one.split(".")) for one in subjects)
    return re.compile("|".join(each) or r"(?!)", re.DOTALL)

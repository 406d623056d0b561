"""Which servers are there, as one of them knows it: by what the others say now and then, and when they shut down.

One that is gone without a word is there until it has said nothing for 150 s, which is looked at each 90 s: nobody takes
the end of a route for the end of a server (nats-server 2.15.1, seen: a region that was killed was offline after 177 s;
one that was stopped, within 2 s).

Must not know what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._hub import Hub

_HERE: Final = "_here_"
_GONE: Final = "_gone_"
# From a server's start on twice as long each time, up to the last.
_FIRST_SECONDS: Final = 0.25
_EVERY_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 90.0
_SILENT_SECONDS: Final = 150.0


class Presence:
    """What one server knows of the others.

    Args:
        hub: its way to them.
        servers: all of them, it may be among them.
    """

    def __init__(self, hub: Hub, servers: Sequence[str]) -> None:
        self._hub = hub
        self._others = [server for server in servers if server != hub.host]
        self._heard: dict[str, float] = {}
        self._gone: set[str] = set()
        self._looked_at = hub.now()
        self._ended = False
        hub.call_later(_FIRST_SECONDS, self._say, _FIRST_SECONDS)

    def is_there(self, server: str) -> bool:
        """Whether a server is; one that was never heard is while it can be reached."""
        if server == self._hub.host or server in self._heard:
            return True
        return server not in self._gone and self._hub.reaches(server)

    def told(self, peer: str, group: str) -> bool:
        """Whether what another server says is of this kind."""
        if group == _HERE:
            self._heard[peer] = self._hub.now()
        elif group == _GONE:
            self._forget(peer)
        return group in (_HERE, _GONE)

    def end(self) -> None:
        """This server shuts down in order: the others are told."""
        self._ended = True
        for server in self._others:
            self._hub.tell(server, _GONE, b"")

    def _say(self, waited: float) -> None:
        if self._ended:
            return
        for server in self._others:
            self._hub.tell(server, _HERE, b"")
        if self._hub.now() - self._looked_at >= _LOOK_SECONDS:
            self._look()
        wait = min(2 * waited, _EVERY_SECONDS)
        self._hub.call_later(wait, self._say, wait)

    def _look(self) -> None:
        now = self._looked_at = self._hub.now()
        for server in [one for one, at in self._heard.items() if now - at > _SILENT_SECONDS]:
            self._forget(server)

    def _forget(self, server: str) -> None:
        self._heard.pop(server, None)
        self._gone.add(server)

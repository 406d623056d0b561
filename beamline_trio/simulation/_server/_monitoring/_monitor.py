"""The documents by name, for one running server, and what about them may be asked.

Must not know how they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from .._info import VERSION
from .._jetstream._golang import SECOND, timestamp
from . import _connections, _general, _jetstream

if TYPE_CHECKING:
    from .._process import Process

Options = Mapping[str, Any]
_FLAGS: Final = 7
# As the server has them unless it is configured otherwise.
FEATURES: Final = {
    "js_ack_fc_v2": False,
    "js_api_reply_v2": False,
    "js_raft_delete_range": True,
    "js_snapshot_sources": False,
}


class Monitor:
    """What can be told of a process.

    Args:
        process: of the server.
        epoch: seconds since 1970 at virtual time 0.

    Attributes:
        started: when the process began, in seconds of virtual time.
    """

    def __init__(self, process: Process, epoch: float) -> None:
        self.process = process
        self._epoch = round(epoch * SECOND)
        self._sequence = 0
        self.started = process.now()
        self._documents: dict[str, Callable[[Monitor, Options], dict[str, Any]]] = {
            "VARZ": _general.varz,
            "CONNZ": _connections.connz,
            "ROUTEZ": _connections.routez,
            "GATEWAYZ": _connections.gatewayz,
            "JSZ": _jetstream.jsz,
            "HEALTHZ": _jetstream.healthz,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Of the documents."""
        return tuple(self._documents)

    def document(self, name: str, options: Options) -> dict[str, Any]:
        """One of them, as it is now."""
        return self._documents[name](self, options)

    def statsz(self) -> dict[str, Any]:
        """The statistics that a server tells of itself when it is pinged."""
        return _general.statsz(self)

    def identity(self) -> dict[str, Any]:
        """Who it is."""
        identity = self.process.identity
        return {"name": identity.server_name, "host": identity.host, "id": identity.server_id}

    def server(self) -> dict[str, Any]:
        """Who it is, as it stands at the head of each answer by a message."""
        process, self._sequence = self.process, self._sequence + 1
        fields = self.identity()
        if process.identity.cluster:
            fields["cluster"] = process.identity.cluster
        if process.identity.domain:
            fields["domain"] = process.identity.domain
        return fields | {
            "ver": VERSION,
            "feature_flags": FEATURES,
            "jetstream": process.identity.jetstream,
            "flags": _FLAGS if process.identity.jetstream else 0,
            "seq": self._sequence,
            "time": self.text_now(),
        }

    def text_at(self, seconds: float) -> str:
        """A moment of virtual time."""
        return timestamp(self._epoch + round(seconds * SECOND))

    def text_now(self) -> str:
        """This moment."""
        return self.text_at(self.process.now())

    def for_how_long(self, since: float) -> str:
        """The time since a moment, as the server writes it: whole seconds, and larger units before them."""
        rest = int(self.process.now() - since)
        text = ""
        for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
            count, rest = divmod(rest, size)
            if count or text:
                text += f"{count}{unit}"
        return f"{text}{rest}s"

"""Requests of users of the system account: pings that all servers answer, and questions to one of them.

    $SYS.REQ.SERVER.PING[.STATSZ|VARZ|JSZ|HEALTHZ|ROUTEZ|GATEWAYZ|CONNZ|IDZ]      $SYS.REQ.SERVER.<id>.<the same>
    $SYS.REQ.ACCOUNT.PING.STATZ                                                   $SYS.REQ.ACCOUNT.$G.JSZ

A request may name the servers that are to answer, by name, host, cluster or domain. Must not know the documents.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .._accounts import SYSTEM
from .._delivery import publish_from_server
from .._interest import Subscription
from .._jetstream._golang import GoError, load
from ._account import statz
from ._jetstream import account_jsz

if TYPE_CHECKING:
    from .._connection import ClientConnection
    from .._delivery import MessageParts
    from ._monitor import Monitor

Answer: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
_PREFIX: Final = "$SYS.REQ.SERVER"
# Field of a request -> of the server.
_FILTERS: Final = {"server_name": "name", "host": "host", "cluster": "cluster", "domain": "domain"}


class SystemRequests:
    """Answers the requests at one server.

    Args:
        monitor: has the documents.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._process = monitor.process
        server_id = self._process.identity.server_id
        self._serve(f"{_PREFIX}.PING", self._statistics)
        for place in ("PING", server_id):
            self._serve(f"{_PREFIX}.{place}.STATSZ", self._statistics)
            self._serve(f"{_PREFIX}.{place}.IDZ", lambda options: monitor.identity())
            for name in monitor.names:
                self._serve(f"{_PREFIX}.{place}.{name}", self._document(partial(monitor.document, name)))
        self._serve("$SYS.REQ.ACCOUNT.PING.STATZ", self._document(partial(statz, monitor)))
        self._serve("$SYS.REQ.ACCOUNT.$G.JSZ", self._document(partial(account_jsz, monitor)))

    def _document(self, document: Answer) -> Answer:
        return lambda options: {"server": self._monitor.server(), "data": document(options)}

    def _statistics(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"server": self._monitor.server(), "statsz": self._monitor.statsz()}

    def _serve(self, subject: str, answer: Answer) -> None:
        def take(message: MessageParts, source: ClientConnection | None) -> bool:
            _, reply, size, _, _, data = message
            body = data[size:-2].strip()
            if reply:
                self._process.call_later(0.0, self._answer, reply, body, answer)
            return True

        sub = Subscription(SYSTEM + subject.encode(), service=take)
        self._process.interest.insert(sub)
        self._process.subscribed(sub)

    def _answer(self, reply: bytes, body: bytes, answer: Answer) -> None:
        try:
            asked = load(body) if body else {}
        except GoError as error:
            self._send(reply, {"server": self._monitor.server(), "error": {"code": 400, "description": str(error)}})
            return
        options = asked if isinstance(asked, dict) else {}
        if self._is_meant(options):
            self._send(reply, answer(options))

    def _is_meant(self, options: dict[str, Any]) -> bool:
        identity = self._process.identity
        own = {
            "name": identity.server_name,
            "host": identity.host,
            "cluster": identity.cluster,
            "domain": identity.domain,
        }
        for field, name in _FILTERS.items():
            wanted = str(options.get(field) or "")
            exactly = options.get("exact_match") is True or name == "domain"
            if wanted and not (own[name] == wanted if exactly else wanted in own[name]):
                return False
        return True

    def _send(self, reply: bytes, fields: dict[str, Any]) -> None:
        payload = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
        size = b"%d" % len(payload)
        publish_from_server(self._process, SYSTEM + reply, (reply, b"", 0, b"", size, payload + b"\r\n"))

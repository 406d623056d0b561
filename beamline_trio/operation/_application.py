"""What the HTTP server serves: /metrics, /healthz and /readyz of one client.

Must not wait for anything: answers are made of what is in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..client import Client
from ..cluster import ClusterWatch
from ..connection import State
from ..metrics import CONTENT_TYPE, Collector
from ..router import Router
from ._http import Response

_METHODS = ("GET", "HEAD")


class OperationApplication:
    """The application of `serve_http` for a program with a client.

    - `/metrics`: the collector's series, for Prometheus.
    - `/healthz`: 200 while the process lives. A lost connection is no reason to restart it.
    - `/readyz`: 200 while the client is connected, not draining, the routers take messages, and the streams of their
      routes can be had, if they are watched; else 503 and why not.

    Args:
        client: whose state `/readyz` tells.
        collector: what `/metrics` shows.
        routers: that run on the client.
        watch: whose word counts for the streams of their routes: without a quorum, or in a region that is cut off,
            nothing comes from them. While it does not look it has no word, and readiness is that of no watch.
    """

    def __init__(
        self,
        client: Client,
        collector: Collector,
        routers: Sequence[Router] = (),
        *,
        watch: ClusterWatch | None = None,
    ) -> None:
        self._client = client
        self._collector = collector
        self._routers = tuple(routers)
        self._watch = watch
        self._pages = {"/metrics": self._metrics, "/healthz": self._health, "/readyz": self._readiness}

    def __call__(self, method: str, path: str) -> Response:
        """Answer a request: 404 for any other path, 405 for any other method than GET and HEAD."""
        page = self._pages.get(path)
        if page is None:
            return Response(404, f"not found; there are {', '.join(self._pages)}\n".encode())
        if method not in _METHODS:
            return Response(405, b"use GET\n", allow=", ".join(_METHODS))
        return page()

    @property
    def ready(self) -> bool:
        """Whether `/readyz` answers with 200."""
        return not self._lacks()

    def _metrics(self) -> Response:
        return Response(200, self._collector.render(), CONTENT_TYPE)

    def _health(self) -> Response:
        return Response(200, b"ok\n")

    def _readiness(self) -> Response:
        why_not = self._lacks()
        return Response(503, f"{why_not}\n".encode()) if why_not else Response(200, b"connected\n")

    def _lacks(self) -> str:
        """Why it is not ready; empty when it is."""
        state = self._client.state
        if state is not State.CONNECTED:
            return str(state)
        if self._client.drainer.requested:
            return "draining"
        waiting = [router.name for router in self._routers if not router.ready]
        if waiting:
            return f"not consuming: {', '.join(waiting)}"
        return "" if self._watch is None else ", ".join(self._watch.lacking(streams_of(self._routers)))


def streams_of(routers: Sequence[Router]) -> list[str]:
    """The streams that routes of some routers take messages from, each once."""
    streams = (route.options.stream for router in routers for route in router.routes.values())
    return list(dict.fromkeys(stream for stream in streams if stream is not None))

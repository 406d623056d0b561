"""Where the metrics of a run are to be seen: /metrics, /healthz and /readyz of `operation`, from the very start.

The port is taken before anything else is started, so that a run whose port is in use ends before it began. Until the
clients are there it answers 503.

Must not know what is measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import trio

from ...client import Client
from ...metrics import Collector
from ...operation import OperationApplication, Response, serve_http
from ...router import Router


class Metrics:
    """The HTTP server of a run."""

    def __init__(self) -> None:
        self._application: OperationApplication | None = None

    async def start(self, nursery: trio.Nursery, port: int) -> str:
        """Serve from now on; returns the URL of the metrics.

        Args:
            nursery: where the server runs.
            port: 0 = any free one.

        Raises:
            PortInUseError: somebody else listens there.
            ListenError: the port is not to be had.
        """
        port = await nursery.start(partial(serve_http, self._answer, port))
        return f"http://localhost:{port}/metrics"

    def show(self, clients: Iterable[Client], router: Router, router_client: Client) -> None:
        """Show these from now on; the router's client is the one whose readiness counts."""
        collector = Collector()
        for client in clients:
            collector.add(client)
        collector.add_router(router, router_client)
        self._application = OperationApplication(router_client, collector)

    def _answer(self, method: str, path: str) -> Response:
        if self._application is None:
            return Response(503, b"starting\n")
        return self._application(method, path)

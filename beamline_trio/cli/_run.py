"""`beamline run`: a user's router with a client, metrics, health, and an orderly end.

One nursery holds the signals, the router and the HTTP server. The first signal drains the client, which ends the
router; then everything is left in order. A second signal cancels it all.

Must not know typer or its options.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import trio

from ..client import Client, UndeliveredError, open_client
from ..cluster import ClusterWatch
from ..connection import ClientClosedError, ClientOptions
from ..metrics import Collector, Instance
from ..operation import (
    Configuration,
    OperationApplication,
    Stop,
    serve_http,
    service_of,
    stop_on_signals,
    streams_of,
)
from ..protocol import PermissionsError
from ..router import Router
from ..server_process import open_server
from ..service import serve_discovery
from ._exit_codes import FAILED
from ._fault_plan import FaultPlan, wrapped
from ._target import Loaded

_EVERYWHERE: Final = ("127.0.0.1", "0.0.0.0", "::", "::1", "localhost")
_BY_SIGNAL: Final = 128


async def run_router(
    loaded: Loaded, configuration: Configuration, say: Callable[[str], None], faults: FaultPlan | None = None
) -> int:
    """Run a router until it was drained; returns the exit code.

    Without servers in the configuration it runs a nats-server of its own.

    Args:
        loaded: what to run.
        configuration: of the client and the HTTP server.
        say: takes the lines for the terminal.
        faults: what happens to the client's operations meanwhile.

    Returns:
        0 after a drain; 1 when handlers were still running at its deadline, publishes could not be delivered, or the
        fate of acks is unknown;
        128 + n when a second signal, number n being the first, cut it short.

    Raises:
        NatsError: no server could be reached, or it refused a route.
        PortInUseError: the port for metrics is taken.
        ServerProcessError: there is no nats-server, or it does not start.
    """
    return await _Program(loaded, configuration, say, faults).run()


@attrs.define(eq=False)
class _Program:
    loaded: Loaded
    configuration: Configuration
    say: Callable[[str], None]
    faults: FaultPlan | None = None
    _client: Client | None = attrs.field(default=None, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _done: trio.Event = attrs.field(factory=trio.Event, init=False)
    _draining: bool = attrs.field(default=False, init=False)
    _undelivered: UndeliveredError | None = attrs.field(default=None, init=False)
    _stop: Stop | None = attrs.field(default=None, init=False)

    @property
    def router(self) -> Router:
        """What runs."""
        return self.loaded.router

    async def run(self) -> int:
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._watch_signals)
                async with contextlib.AsyncExitStack() as stack:
                    options = self.configuration.client
                    if not self.configuration.servers_given:
                        options = await self._start_server(stack, options)
                    try:
                        dialer = None
                        if self.faults is not None:
                            dialer = await nursery.start(self.faults.run, options, self.say)
                            options = wrapped(options)
                        async with open_client(options=options, dialer=dialer) as client:
                            await self._serve(client)
                    except UndeliveredError as error:
                        self._undelivered = error
                nursery.cancel_scope.cancel()
        if self._client is not None:
            self._say_account(self._client)
        return self._exit_code()

    async def _start_server(self, stack: contextlib.AsyncExitStack, options: ClientOptions) -> ClientOptions:
        server = await stack.enter_async_context(open_server())
        self.say(f"no --nats and no NATS_URL: started a nats-server of its own at {server.url}")
        return attrs.evolve(options, servers=(server.url,))

    async def _serve(self, client: Client) -> None:
        """Everything that needs a client, until it is drained."""
        self._client = client
        collector = Collector()
        collector.add_router(self.router, client)
        watch = self._watch(client)
        application = OperationApplication(client, collector, [self.router], watch=watch)
        configuration = self.configuration
        collector.add_instance(
            Instance(
                configuration.instance or client.name,
                client,
                lambda: application.ready,
                region=configuration.region,
                routers=[self.router],
            )
        )
        host = configuration.metrics_host
        async with trio.open_nursery() as nursery:
            if watch is not None:
                collector.add_watch(watch)
                await nursery.start(watch.run)
            port = await nursery.start(partial(serve_http, application, configuration.metrics_port, host=host))
            self.say(f"metrics at http://{_named(host)}:{port}/metrics")
            nursery.start_soon(self._route, client)
            await self._done.wait()
            nursery.cancel_scope.cancel()

    def _watch(self, client: Client) -> ClusterWatch | None:
        """Over the servers that carry the streams of the routes, and over the other instances."""
        if not self.configuration.watch_cluster:
            return None
        streams = streams_of([self.router])
        return ClusterWatch(client, streams=streams, instances_of=service_of(self.router).name)

    async def _route(self, client: Client) -> None:
        """Run the router. Its end without a signal is a drain that a handler asked for."""
        try:
            async with trio.open_nursery() as around:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.router.run, client)
                    await around.start(self._discover, client)
                    self.say(
                        f"router {self.router.name!r} runs on {client.connection.address} "
                        f"(routes: {len(self.router.routes)}); SIGTERM or Ctrl-C drains"
                    )
                around.cancel_scope.cancel()
        except* ClientClosedError:
            if not self._draining:
                raise
        if not self._draining:
            self._done.set()

    async def _discover(self, client: Client, task_status: trio.TaskStatus[str]) -> None:
        """Be found by `$SRV`. A user who may not is no reason to stop a router."""
        try:
            await serve_discovery(client, service_of(self.router), task_status=task_status)
        except PermissionsError as error:
            self.say(f"not found by $SRV: {error}")
            task_status.started("")

    async def _watch_signals(self, task_status: trio.TaskStatus[None]) -> None:
        self._stop = await stop_on_signals(self._drain, task_status=task_status)
        if self._stop.cut_short or self._client is None:
            self._scope.cancel()
        self._done.set()

    async def _drain(self, first: signal.Signals) -> None:
        self._draining = True
        client = self._client
        if client is None:  # still starting: there is nothing to drain
            return
        self.say(f"{first.name}: draining; once more cuts it short")
        try:
            await client.drain()
        except UndeliveredError as error:
            self._undelivered = error

    def _say_account(self, client: Client) -> None:
        counters = [route.counters for route in self.router.routes.values()]
        handled = sum(one.ended - one.outcomes["discarded"] - one.outcomes["returned"] for one in counters)
        errors = sum(one.failures for one in counters)
        how = "cut short" if self._stop is not None and self._stop.cut_short else "drained"
        self.say(
            f"{how}: {handled} messages handled, {errors} with an error, {self.router.report.unfinished} unfinished; "
            f"{client.ledger().unknown} publishes of unknown fate"
        )
        unknown = self.router.report.unknown
        if unknown:
            self.say(f"{unknown} acks of unknown fate: their messages may come again")
        for name, handler in self.loaded.handlers.items():
            if handler.left_out:
                self.say(f"the filter of {name!r} has left out {handler.left_out} messages")
        for route in self.router.routes.values():
            if route.failure is not None:
                self.say(f"the route {route.name!r} stopped: {route.failure}")
        if self._undelivered is not None:
            self.say(str(self._undelivered))

    def _exit_code(self) -> int:
        if self._stop is not None and self._stop.cut_short:
            return _BY_SIGNAL + self._stop.signal
        report = self.router.report
        stopped = any(route.failure is not None for route in self.router.routes.values())
        return FAILED if report.unfinished or report.unknown or stopped or self._undelivered is not None else 0


def _named(host: str) -> str:
    """The host of a URL that works on this machine."""
    if host in _EVERYWHERE:
        return "localhost"
    return f"[{host}]" if ":" in host else host

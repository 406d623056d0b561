"""The real nats-server behind the names of `_server`: its configuration as text, signals, and TCP.

Must not know what is tested with it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from beamline_trio.server_process import Server, open_server
from beamline_trio.server_process._ports import choose_port
from beamline_trio.transport import Dialer, TCPDialer

from ._server import LIMIT_SECONDS, Rule, ServerConfig, User

_POLL_SECONDS = 0.002
_ROUTES_SECONDS = 0.3
_SETTINGS = {
    "max_payload": "max_payload",
    "max_control_line": "max_control_line",
    "max_connections": "max_connections",
    "max_subscriptions": "max_subscriptions",
    "unanswered_pings_max": "ping_max",
    "max_pending_bytes": "max_pending",
}
_DURATIONS = {
    "ping_interval_seconds": "ping_interval",
    "write_deadline_seconds": "write_deadline",
    "lame_duck_grace_seconds": "lame_duck_grace_period",
    "lame_duck_duration_seconds": "lame_duck_duration",
}


class RealServer:
    """A `ContractServer` over a process of nats-server."""

    def __init__(self, process: Server) -> None:
        self._process = process
        self._dialer = TCPDialer()
        self._reloads = 0

    @property
    def url(self) -> str:
        return self._process.url

    @property
    def dialer(self) -> Dialer:
        return self._dialer

    def kill(self) -> None:
        self._process.kill()

    async def start(self, config: ServerConfig | None = None) -> None:
        await self._process.wait_exit()
        if config is not None:
            self._process.write_config(config_text(config))
        await self._process.start()

    def pause(self) -> None:
        self._process.pause()

    def resume(self) -> None:
        self._process.resume()

    def lame_duck(self) -> None:
        self._process.lame_duck()

    def reload(self, config: ServerConfig) -> None:
        self._process.write_config(config_text(config))
        self._reloads = self._reloads_logged()
        self._process.reload()

    async def wait_reloaded(self) -> None:
        with trio.fail_after(LIMIT_SECONDS):
            while self._reloads_logged() <= self._reloads:  # noqa: ASYNC110 - another process does it
                await trio.sleep(_POLL_SECONDS)

    def _reloads_logged(self) -> int:
        return self._process.log_path.read_bytes().count(b"Reloaded server configuration")


@asynccontextmanager
async def open_real_server(config: ServerConfig, executable: Path) -> AsyncGenerator[RealServer]:
    """A fresh nats-server on a free loopback port, gone when the block ends."""
    settings = f"domain: {json.dumps(config.jetstream_domain)}" if config.jetstream_domain else ""
    async with open_server(
        config=config_text(config), executable=executable, jetstream=config.jetstream, jetstream_settings=settings
    ) as process:
        yield RealServer(process)


@asynccontextmanager
async def open_real_cluster(names: Sequence[str], executable: Path) -> AsyncGenerator[list[RealServer]]:
    """Fresh servers joined by routes to the first of them; they have found each other."""
    port = choose_port("127.0.0.1")
    async with AsyncExitStack() as stack:
        servers: list[RealServer] = []
        for name in names:
            cluster = {"name": "c", "listen": "127.0.0.1:-1", "routes": [f"nats://127.0.0.1:{port}"]}
            if not servers:
                cluster = {"name": "c", "listen": f"127.0.0.1:{port}"}
            config = f"server_name: {name}\ncluster: {json.dumps(cluster)}"
            process = await stack.enter_async_context(open_server(config=config, executable=executable))
            servers.append(RealServer(process))
        await trio.sleep(_ROUTES_SECONDS)
        yield servers


def config_text(config: ServerConfig) -> str:
    """The configuration in nats-server's language, of which JSON is a part."""
    lines = [f"authorization: {json.dumps(_authorization(config))}"]
    if config.no_auth_user is not None:
        lines.append(f"no_auth_user: {json.dumps(config.no_auth_user)}")
    for field, setting in _SETTINGS.items():
        value = getattr(config, field)
        if value is not None:
            lines.append(f"{setting}: {value}")
    for field, setting in _DURATIONS.items():
        value = getattr(config, field)
        if value is not None:
            lines.append(f'{setting}: "{round(value * 1000)}ms"')
    if config.jetstream_ack_v2:
        lines.append("feature_flags: { js_ack_fc_v2: true }")
    return "\n".join(lines)


def _authorization(config: ServerConfig) -> dict[str, object]:
    fields: dict[str, object] = {}
    if config.auth_timeout_seconds is not None:
        fields["timeout"] = config.auth_timeout_seconds
    if config.token is not None:
        fields["token"] = config.token
    if config.users:
        fields["users"] = [_user(user) for user in config.users]
    return fields


def _user(user: User) -> dict[str, object]:
    permissions = {"publish": _rule(user.publish), "subscribe": _rule(user.subscribe)}
    return {"user": user.name, "password": user.password, "permissions": permissions}


def _rule(rule: Rule) -> dict[str, Iterable[str]]:
    fields: dict[str, Iterable[str]] = {} if rule.allow is None else {"allow": rule.allow}
    return {**fields, "deny": rule.deny} if rule.deny else fields

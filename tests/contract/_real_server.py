"""The real nats-server behind the names of `_server`: its configuration as text, signals, and TCP.

Must not know what is tested with it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from beamline_trio.server_process import Server, open_server
from beamline_trio.transport import Dialer, TCPDialer

from ._server import Rule, ServerConfig, User


class RealServer:
    """A `ContractServer` over a process of nats-server."""

    def __init__(self, process: Server) -> None:
        self._process = process
        self._dialer = TCPDialer()

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
        self._process.reload()


@asynccontextmanager
async def open_real_server(config: ServerConfig, executable: Path) -> AsyncGenerator[RealServer]:
    """A fresh nats-server on a free loopback port, gone when the block ends."""
    async with open_server(config=config_text(config), executable=executable) as process:
        yield RealServer(process)


def config_text(config: ServerConfig) -> str:
    """The configuration in nats-server's language, of which JSON is a part."""
    lines = []
    if config.token is not None:
        lines.append(f"authorization {{ token: {json.dumps(config.token)} }}")
    if config.users:
        lines.append(f"authorization {{ users: {json.dumps([_user(user) for user in config.users])} }}")
    for name in ("max_payload", "max_connections", "max_subscriptions"):
        value = getattr(config, name)
        if value is not None:
            lines.append(f"{name}: {value}")
    if config.ping_interval_seconds is not None:
        lines.append(f'ping_interval: "{round(config.ping_interval_seconds * 1000)}ms"')
    if config.unanswered_pings_max is not None:
        lines.append(f"ping_max: {config.unanswered_pings_max}")
    return "\n".join(lines)


def _user(user: User) -> dict[str, object]:
    permissions = {"publish": _rule(user.publish), "subscribe": _rule(user.subscribe)}
    return {"user": user.name, "password": user.password, "permissions": permissions}


def _rule(rule: Rule) -> dict[str, Iterable[str]]:
    fields: dict[str, Iterable[str]] = {} if rule.allow is None else {"allow": rule.allow}
    return {**fields, "deny": rule.deny} if rule.deny else fields

"""What a server is started with: an immutable record, checked when it is made.

It holds data only: `_files` writes it down for the server, and what the extra configuration text means is the
server's matter.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path

import attrs


def _is_address(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(f"{attribute.name} is {value!r}, it must be an IP address, as 127.0.0.1") from None


def _is_port(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not 0 <= value <= 65535:
        raise ValueError(f"{attribute.name} is {value}, it must be 1 to 65535, or 0 for any free port")


def _is_positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} is {value}, it must be more than 0 seconds")


def _arguments(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError(f"arguments is the string {value!r}; give a sequence, as [{value!r}]")
    return tuple(value)


def _path(value: str | os.PathLike[str] | None) -> Path | None:
    return None if value is None else Path(value)


@attrs.frozen(kw_only=True)
class ServerOptions:
    """How `open_server` starts its server.

    Attributes:
        host: the IP address to listen on.
        port: the port to listen on; 0 = any free one, which a later start keeps.
        jetstream: enable JetStream, its store in `store_directory`.
        store_directory: where JetStream stores its streams; it is kept when the server goes. None = a
            temporary one, removed with the server.
        jetstream_settings: text for the block of JetStream in the configuration file, as `domain: hub`.
        config: text appended to the generated configuration file: authorization, tls, max_payload, cluster
            and so on, but not host, port, listen or ports_file_dir.
        arguments: more command line arguments, for example ("-V",) to trace.
        executable: the server to run; None = what `find_nats_server` finds. A wrapper script must `exec` it.
        tls_first: set this along with `handshake_first: true` in `config`, where the server sends no INFO
            before TLS; readiness is then an answered handshake.
        log_file: where the server's log is appended; it is kept. None = a temporary file, removed with the
            server.
        debug: log debug messages.
        network_namespace: the network namespace to run in, as `ip netns` lists it, which only root may enter; the
            host must be an address there that this process reaches, and the port a given one. None = this
            process's own.
        start_timeout_seconds: how long a start may take until the server answers (normally 10 to 50 ms).
        stop_timeout_seconds: how long `Server.stop` lets the server shut down before it kills it.
    """

    host: str = attrs.field(default="127.0.0.1", validator=_is_address)
    port: int = attrs.field(default=0, validator=_is_port)
    jetstream: bool = False
    store_directory: Path | None = attrs.field(default=None, converter=_path)
    jetstream_settings: str = ""
    config: str = ""
    arguments: tuple[str, ...] = attrs.field(default=(), converter=_arguments)
    executable: Path | None = attrs.field(default=None, converter=_path)
    tls_first: bool = False
    log_file: Path | None = attrs.field(default=None, converter=_path)
    debug: bool = False
    network_namespace: str | None = None
    start_timeout_seconds: float = attrs.field(default=10.0, validator=_is_positive)
    stop_timeout_seconds: float = attrs.field(default=5.0, validator=_is_positive)

"""A load balancer of the machine's (haproxy) in front of pages of programs: who is ready gets the requests.

It asks each of them every 100 ms for its readiness, takes one that says no out at once, and tries another where a
connection fails.

Must not know what is asked for.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from ._open import open_directory
from ._ports import choose_port
from ._program import ProgramOptions, open_program

_PLACES = ("/usr/sbin", "/usr/local/sbin")
_CONFIG = """\
global
    maxconn 256
defaults
    mode http
    timeout connect 500ms
    timeout client 5s
    timeout server 5s
    retries 3
    option redispatch 1
    retry-on all-retryable-errors 503
frontend front
    bind 127.0.0.1:{port}
    monitor-uri /balancer
    default_backend programs
backend programs
    balance roundrobin
    option httpchk GET {path}
    http-check expect status 200
    default-server inter 100ms fall 1 rise 1
{servers}
"""


def find_haproxy() -> Path | None:
    """Return the haproxy of this machine; None = there is none, and tests that need one are skipped."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path=":".join(_PLACES))
    return None if found is None else Path(found)


@contextlib.asynccontextmanager
async def open_load_balancer(
    executable: Path, backends: Mapping[str, tuple[str, int]], path: str = "/readyz"
) -> AsyncGenerator[tuple[str, int]]:
    """Run a load balancer, and give its address; gone when the block ends.

    Args:
        executable: haproxy, of version 2.4 or later.
        backends: host and port of each program, by name.
        path: of the page that answers with 200 when a program is ready.

    Raises:
        OSError: it cannot be executed, or a file cannot be written.
        ServerStartError: it did not start.
    """
    port = choose_port("127.0.0.1")
    servers = "\n".join(f"    server {name} {host}:{its_port} check" for name, (host, its_port) in backends.items())
    async with open_directory() as directory:
        config = directory / "haproxy.cfg"
        config.write_text(_CONFIG.format(port=port, path=path, servers=servers), encoding="utf-8")
        options = ProgramOptions(
            command=(str(executable), "-db", "-f", str(config)), page=("127.0.0.1", port, "/balancer")
        )
        async with open_program(options):
            yield "127.0.0.1", port

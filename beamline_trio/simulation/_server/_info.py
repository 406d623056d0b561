"""INFO: what a server says of itself, field by field in the order in which nats-server 2.15 writes them.

Must not decide when it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Final

import attrs

VERSION: Final = "2.15.1"
_GIT_COMMIT: Final = "b2fd3ef"
_GO: Final = "go1.27.2"
_API_LEVEL: Final = 5
PROGRAM: Final = {"version": VERSION, "proto": 1, "git_commit": _GIT_COMMIT, "go": _GO}
_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_KEY_LENGTH: Final = 55


@attrs.frozen(kw_only=True)
class Identity:
    """Who a running server is; a restart makes another one of it."""

    server_id: str
    server_name: str
    key: str
    host: str
    port: int
    cluster: str = ""
    jetstream: bool = False
    domain: str = ""

    @classmethod
    def draw(
        cls,
        random: Random,
        *,
        name: str,
        host: str,
        port: int,
        cluster: str,
        jetstream: bool = False,
        domain: str = "",
    ) -> Identity:
        """A new one, with an id like those of nats-server."""
        server_id = "N" + _text(random)
        key = "X" + _text(random)
        server_name = name or server_id
        return cls(
            server_id=server_id,
            server_name=server_name,
            key=key,
            host=host,
            port=port,
            cluster=cluster,
            jetstream=jetstream,
            domain=domain,
        )


def encode_info(
    identity: Identity,
    *,
    auth_required: bool,
    max_payload: int,
    client_id: int,
    client_ip: str,
    connect_urls: Sequence[str] = (),
    lame_duck: bool = False,
    connect_info: bool = False,
    system: bool = False,
) -> bytes:
    """The whole line of an INFO to a client."""
    fields: dict[str, object] = {
        "server_id": identity.server_id,
        "server_name": identity.server_name,
        **PROGRAM,
        "host": identity.host,
        "port": identity.port,
        "headers": True,
    }
    if auth_required:
        fields["auth_required"] = True
    fields["max_payload"] = max_payload
    if identity.jetstream:
        fields["jetstream"] = True
    fields["client_id"] = client_id
    fields["client_ip"] = client_ip
    if identity.cluster:
        fields["cluster"] = identity.cluster
    if connect_urls:
        fields["connect_urls"] = list(connect_urls)
    if lame_duck:
        fields["ldm"] = True
    if identity.domain:
        fields["domain"] = identity.domain
    if connect_info:
        fields["connect_info"] = True
        fields["remote_account"] = "$SYS" if system else "$G"
        if system:
            fields["acc_is_sys"] = True
    fields["api_lvl"] = _API_LEVEL
    fields["xkey"] = identity.key
    return b"INFO %b \r\n" % json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _text(random: Random) -> str:
    return "".join([_BASE32[random.randrange(32)] for _ in range(_KEY_LENGTH)])

"""What the servers of a cluster are started with: an immutable record, checked when it is made."""

from __future__ import annotations

import os
import re
from pathlib import Path

import attrs

SERVERS_MIN = 2
"""JetStream refuses to start in a cluster of one, and one server is what `open_server` is for."""
SERVERS_MAX = 9
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


def check_name(name: str) -> None:
    """Refuse what cannot be a cluster's name, a server's and a file's at once."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"the cluster's name is {name!r}; it must be 1 to 32 letters, digits, - or _, as 'east'")


def check_count(name: str, count: int) -> None:
    """Refuse a number of servers that is no cluster, or more than one machine is good for."""
    if not SERVERS_MIN <= count <= SERVERS_MAX:
        raise ValueError(
            f"cluster {name!r} is to have {count} servers, it must be {SERVERS_MIN} to {SERVERS_MAX}; "
            f"one server alone is open_server()"
        )


def _path(value: str | os.PathLike[str] | None) -> Path | None:
    return None if value is None else Path(value)


@attrs.frozen(kw_only=True)
class ClusterOptions:
    """How `open_cluster` and `open_supercluster` start each of their servers.

    Attributes:
        jetstream: enable JetStream with a file store. One meta group spans all servers.
        sync_always: sync each write to the disk before it is acknowledged (`sync_interval: always`); False = the
            server's default of two minutes, which a power failure turns into lost messages.
        jetstream_settings: more text for the block of JetStream, as `max_file_store: 1GB`.
        config: text appended to each server's configuration, as `lame_duck_duration: "30s"`.
        system_user: user and password of a user in the system account, who may ask $SYS subjects; everybody else
            connects without. None = no such user.
        executable: the server to run; None = what `find_nats_server` finds.
        directory: where each server gets a directory of its own for its log, kept when they go; None = temporary
            ones, removed with the servers.
        start_timeout_seconds: how long one server may take to answer, at each start.
        ready_timeout_seconds: how long all of them together may take to find each other, to elect a leader of the
            meta group and to be healthy.
    """

    jetstream: bool = True
    sync_always: bool = True
    jetstream_settings: str = ""
    config: str = ""
    system_user: tuple[str, str] | None = ("sys", "sys")
    executable: Path | None = attrs.field(default=None, converter=_path)
    directory: Path | None = attrs.field(default=None, converter=_path)
    start_timeout_seconds: float = attrs.field(default=20.0, validator=attrs.validators.gt(0))
    ready_timeout_seconds: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))

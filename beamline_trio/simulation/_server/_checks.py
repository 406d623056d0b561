"""Configurations that nats-server refuses, at its start or while it runs: a test that needs one would not hold there.

Must not change anything.
"""

from __future__ import annotations

from typing import Final

from ._config import Rule, ServerConfig
from ._subjects import is_valid

_LAME_DUCK_SECONDS_MIN: Final = 30
# nats-server refuses a configuration that changes these while it runs.
_FIXED: Final = (
    "name",
    "max_subscriptions",
    "max_pending_bytes",
    "lame_duck_grace_seconds",
    "lame_duck_duration_seconds",
    "cluster",
    "cluster_port",
    "http_port",
    "gateways",
    "gateway_port",
    "no_auth_user",
    "jetstream",
    "jetstream_peers",
    "jetstream_domain",
    "jetstream_sync_interval_seconds",
    "jetstream_ack_v2",
)


def check_config(config: ServerConfig) -> None:
    """Refuse what nats-server does not start with.

    Raises:
        ValueError: which field, its value, and what would do.
    """
    for user in config.users:
        _check_rule(user.publish, f"user {user.name!r}, publish")
        _check_rule(user.subscribe, f"user {user.name!r}, subscribe")
    names = [user.name for user in config.users]
    if config.no_auth_user is not None and config.no_auth_user not in names:
        raise ValueError(f"no_auth_user {config.no_auth_user!r} is none of the users {names}; add it or leave it out")
    if config.max_payload > config.max_pending_bytes:
        raise ValueError(
            f"max_payload is {config.max_payload} bytes and max_pending_bytes {config.max_pending_bytes}; "
            "raise the second, which must hold a message"
        )
    grace, duration = config.lame_duck_grace_seconds, config.lame_duck_duration_seconds
    if duration < _LAME_DUCK_SECONDS_MIN or grace >= duration:
        raise ValueError(
            f"lame_duck_duration_seconds is {duration} and lame_duck_grace_seconds {grace}; "
            f"the first must be at least {_LAME_DUCK_SECONDS_MIN}, and the second less than that"
        )

    if config.gateways and not config.cluster:
        raise ValueError(
            f"gateways lead to {[one.name for one in config.gateways]} from a server in no cluster; name its region in "
            "cluster"
        )
    for gateway in config.gateways:
        if not gateway.urls:
            raise ValueError(f"the gateway to {gateway.name!r} has no urls; name at least one server of that region")
    _check_jetstream(config)


def _check_jetstream(config: ServerConfig) -> None:
    if not config.jetstream:
        return
    if (config.cluster or config.jetstream_peers) and not config.name:
        raise ValueError(
            f"jetstream is set for a server of the cluster {config.cluster!r} that has no name; nats-server does not "
            "start like that: set name"
        )
    if config.jetstream_sync_interval_seconds < 0:
        raise ValueError(
            f"jetstream_sync_interval_seconds is {config.jetstream_sync_interval_seconds}; "
            "it must be 0 (before each answer) or more"
        )


def check_clustered(host: str, config: ServerConfig) -> None:
    """Refuse a server with JetStream in a cluster whose groups would not know it.

    Raises:
        ValueError: which field, its value, and what would do.
    """
    if config.name != host:
        raise ValueError(
            f"name is {config.name!r} for the server {host!r} of a cluster with JetStream; groups know a server by its "
            f"host here, so set name={host!r}"
        )
    if not config.cluster:
        raise ValueError(
            f"jetstream is set for the server {host!r} with routes, and cluster is empty; nats-server does not start "
            "like that: name the cluster"
        )


def check_reload(old: ServerConfig, new: ServerConfig) -> None:
    """Refuse what needs a restart.

    Raises:
        ValueError: a field differs that cannot.
    """
    for name in _FIXED:
        if getattr(old, name) != getattr(new, name):
            raise ValueError(
                f"{name} cannot be reloaded: old={getattr(old, name)!r}, new={getattr(new, name)!r}; "
                "nats-server refuses that, so start the server anew"
            )


def _check_rule(rule: Rule, what: str) -> None:
    for text in (*(rule.allow or ()), *rule.deny):
        words = text.split()
        if len(words) not in (1, 2) or not all(is_valid(word.encode()) for word in words):
            raise ValueError(f"{what}: {text!r} is no subject; write 'subject' or 'subject queue_group'")

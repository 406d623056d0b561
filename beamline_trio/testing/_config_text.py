"""The configuration of a simulated server, in nats-server's language, of which JSON is a part.

Must not know processes.
"""

from __future__ import annotations

import json
from typing import Any, Final

import attrs

from ..simulation import Rule, ServerConfig

_PLAIN: Final = {
    "no_auth_user": "no_auth_user",
    "max_payload": "max_payload",
    "max_control_line": "max_control_line",
    "max_connections": "max_connections",
    "max_subscriptions": "max_subscriptions",
    "ping_max": "ping_max",
    "max_pending_bytes": "max_pending",
}
_DURATIONS: Final = {
    "ping_interval_seconds": "ping_interval",
    "write_deadline_seconds": "write_deadline",
    "lame_duck_grace_seconds": "lame_duck_grace_period",
    "lame_duck_duration_seconds": "lame_duck_duration",
}
_JETSTREAM: Final = ("jetstream", "jetstream_domain", "jetstream_sync_interval_seconds", "jetstream_ack_v2")
_AUTHORIZATION: Final = ("users", "token", "auth_timeout_seconds")


def config_text(config: ServerConfig) -> str:
    """Lines for the configuration file of a real server; what has its default is left out.

    Raises:
        ValueError: a field is set that means nothing to a single real server, as that of a cluster.
    """
    changed = {
        field.name: getattr(config, field.name)
        for field in attrs.fields(ServerConfig)
        if getattr(config, field.name) != field.default
    }
    lines = []
    for field, value in changed.items():
        if field in _PLAIN:
            lines.append(f"{_PLAIN[field]}: {json.dumps(value)}")
        elif field in _DURATIONS:
            lines.append(f'{_DURATIONS[field]}: "{round(value * 1000)}ms"')
        elif field not in (*_AUTHORIZATION, *_JETSTREAM):
            known = ", ".join(sorted((*_PLAIN, *_DURATIONS, *_AUTHORIZATION, *_JETSTREAM)))
            raise ValueError(f"{field} cannot be set for a test that runs on both servers; these can: {known}")
    if changed.keys() & set(_AUTHORIZATION):
        lines.append(f"authorization: {json.dumps(_authorization(config))}")
    if config.jetstream_ack_v2:
        lines.append("feature_flags: { js_ack_fc_v2: true }")
    return "\n".join(lines)


def jetstream_text(config: ServerConfig) -> str:
    """Lines for the block of JetStream in that file; what has its default is left out."""
    lines = []
    if config.jetstream_domain:
        lines.append(f"domain: {json.dumps(config.jetstream_domain)}")
    seconds = config.jetstream_sync_interval_seconds
    if seconds != attrs.fields(ServerConfig).jetstream_sync_interval_seconds.default:
        lines.append(f'sync_interval: "{round(seconds * 1000)}ms"' if seconds else "sync_interval: always")
    return "\n".join(lines)


def _authorization(config: ServerConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {"timeout": config.auth_timeout_seconds}
    if config.token is not None:
        fields["token"] = config.token
    if config.users:
        fields["users"] = [
            {
                "user": user.name,
                "password": user.password,
                "permissions": {"publish": _rule(user.publish), "subscribe": _rule(user.subscribe)},
            }
            for user in config.users
        ]
    return fields


def _rule(rule: Rule) -> dict[str, list[str]]:
    written = {"deny": list(rule.deny)}
    if rule.allow:
        written["allow"] = list(rule.allow)
    return written

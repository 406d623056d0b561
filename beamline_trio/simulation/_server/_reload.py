"""A running server takes on another configuration: what that means for the clients it has.

Must not decide who is authorized (`_authentication`) or what they may do (`_permissions`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _texts as texts
from ._authentication import authorize, find_user

if TYPE_CHECKING:
    from ._config import ServerConfig
    from ._connection import ClientConnection
    from ._process import Process


def reload(process: Process, old: ServerConfig, new: ServerConfig) -> None:
    """Put a configuration in force; nobody is told, except those whom it takes something from."""
    process.config = new
    for client in process.clients.values():
        client.set_limits(max_payload=new.max_payload, max_control_line=new.max_control_line)
    if new.max_connections != old.max_connections:
        _close_surplus(process, new.max_connections)
    # Also when no user has changed.
    _authorize_all(process, new)


def _close_surplus(process: Process, limit: int) -> None:
    clients = list(process.clients.values())
    surplus = len(clients) - limit
    if surplus > 0:
        for client in process.random.sample(clients, surplus):
            client.close(texts.CONNECTIONS_EXCEEDED, texts.MAXIMUM_CONNECTIONS)


def _authorize_all(process: Process, config: ServerConfig) -> None:
    clients = list(process.clients.values())
    gone = [client for client in clients if _is_unknown(client, config)]
    for client in gone:
        client.close(texts.CLIENT_CLOSED)
    for client in clients:
        if client.closed:
            continue
        if not authorize(client, config):
            client.close(texts.AUTHENTICATION_FAILURE, texts.AUTHORIZATION_VIOLATION)
        else:
            _drop_forbidden(client)


def _is_unknown(client: ClientConnection, config: ServerConfig) -> bool:
    """A named user who is no longer there is closed without a word."""
    return bool(client.options.user) and find_user(config, client.options.user) is None


def _drop_forbidden(client: ClientConnection) -> None:
    permissions = client.permissions
    if permissions is None:
        return
    forbidden = [sub for sub in client.subscriptions.values() if not permissions.may_subscribe(sub.subject, sub.queue)]
    for sub in forbidden:
        client.end_subscription(sub)
        client.send_error(texts.subscription_violation(sub.subject, sub.queue, sub.sid))

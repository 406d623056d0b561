"""Whether a client may connect, and as whom.

Must not send anything: the connection says so, and closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._accounts import SYSTEM, USERS
from ._permissions import permissions_of

if TYPE_CHECKING:
    from ._config import ServerConfig, User
    from ._connection import ClientConnection


def authorize(client: ClientConnection, config: ServerConfig) -> bool:
    """Check what the client said in CONNECT; a known user's permissions hold from then on."""
    if not config.auth_required:
        return True
    options = client.options
    user = None
    if config.users:
        _take_for_no_auth_user(client, config)
        if options.user:
            user = find_user(config, options.user)
            if user is None:
                return False
    if user is not None:
        if user.password != options.password:
            return False
        client.permissions = permissions_of(user)
        client.account = SYSTEM if user.system else USERS
        return True
    return config.token is not None and config.token == options.token


def find_user(config: ServerConfig, name: str | None) -> User | None:
    """The user of this name; the last one, should there be several."""
    return next((user for user in reversed(config.users) if user.name == name), None)


def _take_for_no_auth_user(client: ClientConnection, config: ServerConfig) -> None:
    options = client.options
    user = find_user(config, config.no_auth_user)
    if user is not None and not (options.user or options.password or options.token):
        options.user, options.password = user.name, user.password

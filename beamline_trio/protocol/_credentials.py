"""Credentials: who we say we are in CONNECT. Token, or user and password; those of a server's URL win over options.

Must not read files, and must not show a secret in a repr.
"""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Credentials:
    """A token, or a user and password, or nothing.

    A user without a password in a server's URL is a token (as in every NATS client).
    """

    user: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    token: str | None = attrs.field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.user is not None or self.token is not None


def credentials_of_url(user: str | None, password: str | None) -> Credentials:
    """The credentials that a URL's user information means."""
    if user is None:
        return Credentials()
    if password is None:
        return Credentials(token=user)
    return Credentials(user=user, password=password)

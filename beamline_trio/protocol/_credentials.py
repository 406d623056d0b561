"""Credentials: who we say we are in one CONNECT. What a server's URL has of them wins over options.

Must not read files, and must not show a secret in a repr.
"""

from __future__ import annotations

import attrs

from ._frozen import frozen
from ._secret import Secret, hidden_or_none


@frozen(kw_only=True)
class Credentials:
    """A token, a user and password, a signed nonce with a public key or a JWT, or nothing.

    A user without a password in a server's URL is a token (as in every NATS client).

    Attributes:
        user: user name.
        password: of the user.
        token: token.
        nkey: the public key.
        jwt: the user's JWT.
        signature: of the server's nonce; a bearer JWT has none.
    """

    user: str | None = None
    password: Secret | None = attrs.field(default=None, converter=hidden_or_none)
    token: Secret | None = attrs.field(default=None, converter=hidden_or_none)
    nkey: str | None = None
    jwt: Secret | None = attrs.field(default=None, converter=hidden_or_none)
    signature: Secret | None = attrs.field(default=None, converter=hidden_or_none)

    def __bool__(self) -> bool:
        return any(one is not None for one in (self.user, self.token, self.nkey, self.jwt))

    def connect_fields(self) -> dict[str, str | None]:
        """The fields of CONNECT, in plain text: for the wire only."""
        secrets = {"pass": self.password, "auth_token": self.token, "jwt": self.jwt, "sig": self.signature}
        revealed = {name: None if secret is None else secret.reveal() for name, secret in secrets.items()}
        return {"user": self.user, "nkey": self.nkey, **revealed}


def credentials_of_url(user: str | None, password: str | None) -> Credentials:
    """The credentials that a URL's user information means."""
    if user is None:
        return Credentials()
    if password is None:
        return Credentials(token=user)
    return Credentials(user=user, password=password)

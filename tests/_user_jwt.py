"""A small issuer of NATS JWTs (ADR-14): operator, account and user, and the configuration of a server that trusts them.

Must not be used outside tests: seeds stand in plain here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

import attrs

from beamline_trio.protocol import decode_seed, encode_public_key, encode_seed, public_key_of, sign

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}


@attrs.frozen
class Key:
    """A key pair: the text of its seed, and of its public key."""

    seed: str
    public: str

    def sign(self, data: bytes) -> bytes:
        """An Ed25519 signature."""
        decoded = decode_seed(bytearray(self.seed, "ascii"))
        assert decoded is not None
        return sign(decoded[1], data)


def new_key(kind: str = "U", seed: bytes | None = None) -> Key:
    """A key of a kind (U, A, O)."""
    raw = bytearray(seed if seed is not None else os.urandom(32))
    return Key(encode_seed(kind, bytes(raw)), encode_public_key(kind, public_key_of(raw)))


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def issue(subject: Key, issuer: Key, claims: dict[str, Any], *, issued_at: int, expires_at: int | None = None) -> str:
    """A signed JWT; its identifier is the hash of its body without one."""
    body: dict[str, Any] = {"iat": issued_at, "iss": issuer.public, "name": "test", "sub": subject.public}
    body |= {"nats": {"version": 2, **claims}} | ({"exp": expires_at} if expires_at is not None else {})
    digest = hashlib.sha256(_json({**body, "jti": ""})).digest()
    body["jti"] = base64.b32encode(digest).rstrip(b"=").decode("ascii")
    text = f"{_part(_json(_HEADER))}.{_part(_json(body))}"
    return f"{text}.{_part(issuer.sign(text.encode()))}"


class Authority:
    """An operator with one account, and the users that it lets in."""

    def __init__(self, issued_at: int) -> None:
        self.operator, self.account = new_key("O"), new_key("A")
        self.issued_at = issued_at

    def server_config(self, *, revoked: dict[str, int] | None = None) -> str:
        """What a server needs to trust the operator; revoked users are refused if issued before a time."""
        operator = issue(self.operator, self.operator, {"type": "operator"}, issued_at=self.issued_at)
        limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        claims = {"type": "account", "limits": {**limits, "wildcards": True}, "revocations": revoked or {}}
        account = issue(self.account, self.operator, claims, issued_at=self.issued_at)
        preload = f'resolver_preload: {{ {self.account.public}: "{account}" }}'
        return f'operator: "{operator}"\nresolver: MEMORY\n{preload}\n'

    def user(self, user: Key, *, expires_at: int | None = None, bearer: bool = False) -> str:
        """A user's JWT."""
        claims = {"type": "user", "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}, "bearer_token": bearer}
        return issue(user, self.account, claims, issued_at=self.issued_at, expires_at=expires_at)

    def creds(self, user: Key, *, expires_at: int | None = None) -> bytes:
        """A user's credentials file."""
        return creds_file(self.user(user, expires_at=expires_at), user.seed)


def creds_file(jwt: str, seed: str) -> bytes:
    """A credentials file as the NATS tools write it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        "NKEY Seed printed below can be used to sign and prove identity.\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n\n"
        "*************************************************************\n"
    ).encode()

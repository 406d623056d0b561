"""Where credentials come from: texts, files and callbacks of the options, asked anew for each attempt to connect.

A callback may be synchronous or async. Files are small and read in one go, without a thread. What is read is wiped
where Python lets us; nothing here raises while a secret stands in a local variable.

Must not decide whether credentials are sent: they always are, since the first INFO may not say that they are wanted.
"""

from __future__ import annotations

import errno
import inspect
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from ..protocol import (
    Credentials,
    Secret,
    decode_seed,
    encode_public_key,
    frozen,
    hidden,
    need_ed25519,
    parse_creds,
    public_key_of,
    sign,
    signature_text,
    wipe,
)
from ._errors import CredentialsError, CredentialsNotFoundError

if TYPE_CHECKING:
    from ._options import ClientOptions

FILE_BYTES_MAX: Final = 65_536

TextCallback: TypeAlias = Callable[[], str | Awaitable[str]]
SignCallback: TypeAlias = Callable[[bytes], bytes | Awaitable[bytes]]
CredsCallback: TypeAlias = Callable[[], str | bytes | Awaitable[str | bytes]]


def text_of(value: str | Secret | TextCallback) -> Secret | TextCallback:
    """A text is hidden, a callback stays."""
    return Secret(value) if isinstance(value, str) else value


@frozen
class NkeySigner:
    """An nkey whose seed is elsewhere, in a vault or a device.

    Attributes:
        public_key: its text, beginning with U.
        sign: given the server's nonce, returns the 64 bytes of its Ed25519 signature; may be async.
    """

    public_key: str
    sign: SignCallback = attrs.field(repr=False)


@frozen
class UserJWT:
    """A user's JWT whose seed is elsewhere, or that needs none.

    Attributes:
        jwt: its text, or a callback that gives it, which may be async; asked for each attempt to connect.
        sign: as that of NkeySigner; None for a bearer token.
    """

    jwt: Secret | TextCallback = attrs.field(converter=text_of, repr=False)
    sign: SignCallback | None = attrs.field(default=None, repr=False)


async def ask_credentials(sources: ClientOptions, server: str, nonce: str) -> Credentials:
    """The credentials for one attempt.

    Args:
        sources: the client's options.
        server: which server they are for, as errors name it.
        nonce: what that server wants signed; empty = it gave none.

    Raises:
        CredentialsNotFoundError: a file is not there.
        CredentialsError: a file cannot be read or is no such file, a callback raised or gave something else, or the
            server gave no nonce to sign.
        MissingExtraError: nkey or creds are given, and PyNaCl is not installed.
    """
    if sources.creds is not None:
        return await _ask_creds(sources.creds, server, nonce)
    if sources.nkey is not None:
        return await _ask_nkey(sources.nkey, server, nonce)
    user = await _ask_text("user", sources.user, server)
    return Credentials(
        user=user.reveal() if user is not None else None,
        password=await _ask_text("password", sources.password, server),
        token=await _ask_text("token", sources.token, server),
    )


async def _ask_text(option: str, source: Any, server: str) -> Secret | None:
    if not callable(source):
        return hidden(source) if source is not None else None
    text = await _call(option, source, server, hide=True)
    if not isinstance(text, Secret):
        what = f"returned no str, but {text.__name__}; return the text"
        raise CredentialsError(_useless(option, server, what), address=server)
    return text


async def _ask_nkey(source: Any, server: str, nonce: str) -> Credentials:
    _need_nonce("nkey", server, nonce)
    if isinstance(source, NkeySigner):
        signature = await _signed("nkey", source.sign, server, nonce)
        return Credentials(nkey=source.public_key, signature=signature)
    need_ed25519()
    seed = _plain(source) if isinstance(source, Secret) else _read_file("nkey", source, server)
    signed = _sign_with(seed, nonce)
    if signed is None:
        raise CredentialsError(_useless("nkey", server, f"({_name(source)}) holds no user seed"), address=server)
    public_key, signature = signed
    return Credentials(nkey=public_key, signature=signature)


async def _ask_creds(source: Any, server: str, nonce: str) -> Credentials:
    if isinstance(source, UserJWT):
        jwt = await _ask_text("creds", source.jwt, server)
        if source.sign is None:
            return Credentials(jwt=jwt)
        _need_nonce("creds", server, nonce)
        return Credentials(jwt=jwt, signature=await _signed("creds", source.sign, server, nonce))
    if isinstance(source, Secret):
        file = _plain(source)
    elif callable(source):
        content = await _call("creds", source, server, hide=True)
        if not isinstance(content, Secret):
            raise CredentialsError(
                _useless(
                    "creds", server, f"returned neither str nor bytes, but {content.__name__}; return a file's content"
                ),
                address=server,
            )
        file = _plain(content)
    else:
        file = _read_file("creds", source, server)
    return _answer_creds(_parts_of(file), source, server, nonce)


def _answer_creds(parts: tuple[Secret, Secret | None] | None, source: Any, server: str, nonce: str) -> Credentials:
    if parts is None:
        raise CredentialsError(
            _useless("creds", server, f"({_name(source)}) is no credentials file: a user's JWT and seed"),
            address=server,
        )
    jwt, seed = parts
    if seed is None:
        return Credentials(jwt=jwt)
    _need_nonce("creds", server, nonce)
    need_ed25519()
    signed = _sign_with(bytearray(seed.reveal(), "ascii"), nonce)
    return Credentials(jwt=jwt, signature=signed[1] if signed is not None else None)


def _plain(secret: Secret) -> bytearray:
    """A text for whoever wipes it. What no encoding knows becomes what no credentials have: an error would quote it."""
    return bytearray(secret.reveal(), "utf-8", "replace")


def _parts_of(file: bytearray) -> tuple[Secret, Secret | None] | None:
    """What a credentials file has; the buffer is wiped. Raises nothing."""
    parts = parse_creds(file)
    wipe(file)
    if parts is None:
        return None
    jwt, seed = parts
    if seed is None:
        return jwt, None
    hidden_seed = Secret(seed.decode("ascii"))
    wipe(seed)
    return jwt, hidden_seed


def _sign_with(text: bytearray, nonce: str) -> tuple[str, Secret] | None:
    """Public key and signature by a seed's text, which is wiped; None when it is no user's seed. Raises nothing."""
    stripped = text.strip()
    decoded = decode_seed(stripped)
    wipe(text)
    wipe(stripped)
    if decoded is None:
        return None
    kind, seed = decoded
    answer = None
    if kind == "U":
        answer = encode_public_key(kind, public_key_of(seed)), Secret(signature_text(sign(seed, nonce.encode())))
    wipe(seed)
    return answer


def _read_file(option: str, path: Any, server: str) -> bytearray:
    """The first bytes of a file."""
    name = os.fspath(path)
    buffer = bytearray(FILE_BYTES_MAX)
    try:
        with open(name, "rb", buffering=0) as file:
            size = file.readinto(buffer)
    except OSError as error:
        kind = CredentialsNotFoundError if error.errno == errno.ENOENT else CredentialsError
        raise kind(
            _useless(option, server, f"({name}) cannot be read: {error.strerror}"), address=server, filename=name
        ) from None
    content = buffer[:size]
    wipe(buffer)
    return content


async def _signed(option: str, callback: SignCallback, server: str, nonce: str) -> Secret:
    signature = await _call(option, callback, server, nonce.encode(), hide=False)
    if not isinstance(signature, (bytes, bytearray)) or len(signature) != 64:
        size = f" of {len(signature)}" if isinstance(signature, (bytes, bytearray, str)) else ""
        raise CredentialsError(
            _useless(
                option,
                server,
                f"signed with something else than 64 bytes: sign returned {type(signature).__name__}{size}; return the "
                "raw Ed25519 signature of the nonce, not its base64",
            ),
            address=server,
        )
    return Secret(signature_text(bytes(signature)))


async def _call(option: str, callback: Callable[..., Any], server: str, *args: bytes, hide: bool) -> Any:
    """What a callback gives, awaited where that is needed, and hidden where it is a text; its type where it is none."""
    try:
        value = callback(*args)
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:
        text = _useless(option, server, f"raised {type(error).__name__}; its traceback is the cause of this error")
        raise CredentialsError(text, address=server) from error
    if not hide or isinstance(value, Secret):
        return value
    if isinstance(value, (bytes, bytearray)):
        return Secret(bytes(value).decode("utf-8", "replace"))
    return Secret(value) if isinstance(value, str) else type(value)  # never the value, it may hold a secret


def _need_nonce(option: str, server: str, nonce: str) -> None:
    if not nonce:
        raise CredentialsError(
            f"{server} gave no nonce to sign, so it does not know {option}; give user and password, or a token",
            address=server,
        )


def _name(source: Any) -> str:
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else "given in the program"


def _useless(option: str, server: str, what: str) -> str:
    return f"no credentials for {server}: {option} {what}"

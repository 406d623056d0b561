"""NATS keys: their text form (base32 with a prefix and a checksum), and what Ed25519 makes of a seed.

A key's text is base32 without padding of a prefix, 32 bytes and their CRC-16 (XMODEM), little endian; a seed's prefix
has two bytes, with the kind of the key across both. Ed25519 is PyNaCl's (libsodium), of the extra `nkeys`, imported
when a key is used.

The functions that hold a seed raise nothing: a traceback that shows locals would show it. They work on bytearrays,
which are wiped when done; copies that PyNaCl makes are beyond reach.

Must not read files.
"""

from __future__ import annotations

import base64
import binascii
import importlib
from typing import Any, Final

from ._errors import MissingExtraError

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_PREFIXES: Final = {"U": 20 << 3, "A": 0, "O": 14 << 3, "N": 13 << 3, "C": 2 << 3, "X": 23 << 3}
_KINDS: Final = {prefix: kind for kind, prefix in _PREFIXES.items()}
_SEED: Final = 18 << 3
_KEY_BYTES: Final = 32


def encode_public_key(kind: str, key: bytes) -> str:
    """The text of a public key: kind is U (user), A (account), O (operator), N (server), C (cluster) or X (curve)."""
    return _encode(bytes((_PREFIXES[kind],)) + key)


def encode_seed(kind: str, seed: bytes) -> str:
    """The text of a seed, which begins with S and its kind."""
    prefix = _PREFIXES[kind]
    return _encode(bytes((_SEED | prefix >> 5, (prefix & 31) << 3)) + seed)


def decode_public_key(text: str) -> tuple[str, bytes] | None:
    """Kind and bytes of a public key; None when it is none."""
    data = _decode(bytearray(text.encode("utf-8", "replace")))
    if data is None or len(data) != 1 + _KEY_BYTES or data[0] not in _KINDS:
        return None
    return _KINDS[data[0]], bytes(data[1:])


def decode_seed(text: bytearray) -> tuple[str, bytearray] | None:
    """Kind and bytes of a seed, for the caller to `wipe`; None when it is none."""
    data = _decode(text)
    if data is None:
        return None
    seed = data[2:]
    kind = _KINDS.get((data[0] & 7) << 5 | data[1] >> 3) if len(seed) == _KEY_BYTES else None
    is_seed = kind is not None and data[0] & 0xF8 == _SEED
    wipe(data)
    if kind is None or not is_seed:
        wipe(seed)
        return None
    return kind, seed


def is_seed(text: bytearray, kind: str = "U") -> bool:
    """Whether a text is a seed of a kind."""
    decoded = decode_seed(text)
    if decoded is None:
        return False
    wipe(decoded[1])
    return decoded[0] == kind


def wipe(data: bytearray) -> None:
    """Overwrite a buffer that held a secret."""
    data[:] = bytes(len(data))


def need_ed25519() -> None:
    """See to it that what follows can sign, before any secret is in reach.

    Raises:
        MissingExtraError: PyNaCl is not installed.
    """
    _signing()


def public_key_of(seed: bytearray) -> bytes:
    """The public key of a seed."""
    return bytes(_signing().SigningKey(bytes(seed)).verify_key)


def sign(seed: bytearray, data: bytes) -> bytes:
    """The Ed25519 signature of data by the key of a seed: 64 bytes."""
    return bytes(_signing().SigningKey(bytes(seed)).sign(data).signature)


def signature_text(signature: bytes) -> str:
    """A signature as CONNECT has it: base64url without padding."""
    return base64.urlsafe_b64encode(signature).rstrip(b"=").decode("ascii")


def _signing() -> Any:
    try:
        return importlib.import_module("nacl.signing")
    except ImportError as error:
        raise MissingExtraError(
            "nkeys and credentials files need PyNaCl, which is not installed; pip install 'beamline-trio[nkeys]'"
        ) from error


def _encode(data: bytes) -> str:
    checked = data + binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(checked).rstrip(b"=").decode("ascii")


def _decode(text: bytearray) -> bytearray | None:
    """Prefix and key without the checksum; by hand, so that every copy can be wiped."""
    bits = count = 0
    data = bytearray()
    for letter in text:
        value = _VALUES.get(letter)
        if value is None:
            wipe(data)
            return None
        bits, count = (bits << 5 | value) & 0xFFF, count + 5
        if count >= 8:
            count -= 8
            data.append(bits >> count & 0xFF)
    body = data[:-2]
    rest_is_zero = not bits & ((1 << count) - 1)
    matches = len(data) > 2 and binascii.crc_hqx(body, 0) == int.from_bytes(data[-2:], "little")
    wipe(data)
    if matches and rest_is_zero and count < 5:
        return body
    wipe(body)
    return None

"""The text form of NATS keys, their signatures, and credentials files; nothing shows a secret or raises with one."""

from __future__ import annotations

import base64
import builtins
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.protocol import (
    MissingExtraError,
    Secret,
    decode_public_key,
    decode_seed,
    encode_public_key,
    encode_seed,
    hidden,
    hidden_or_none,
    is_seed,
    need_ed25519,
    parse_creds,
    public_key_of,
    sign,
    signature_text,
    wipe,
)

# The pair that the server's documentation has as its example.
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
KINDS = st.sampled_from("UAONCX")
KEYS = st.binary(min_size=32, max_size=32)
JWT = "eyJ0eXAi.eyJqdGki.c2lnbmF0_-E"


def test_a_known_pair() -> None:
    """A seed gives the public key that every NATS tool shows for it."""
    kind, seed = decoded(SEED)
    assert encode_public_key(kind, public_key_of(seed)) == PUBLIC


def decoded(text: str) -> tuple[str, Any]:
    found = decode_seed(bytearray(text, "utf-8"))
    assert found is not None
    return found


@given(KINDS, KEYS)
def test_text_and_back(kind: str, key: bytes) -> None:
    """Kind and bytes of seeds and public keys come back from their text; one is never taken for the other."""
    seed, public = encode_seed(kind, key), encode_public_key(kind, key)
    assert decoded(seed) == (kind, key)
    assert decode_public_key(public) == (kind, key)
    assert seed[:2] == f"S{kind}"
    assert public[0] == kind
    assert decode_seed(bytearray(public, "ascii")) is None
    assert decode_public_key(seed) is None
    assert is_seed(bytearray(seed, "ascii")) is (kind == "U")


@given(KINDS, KEYS, st.data())
def test_any_letter_changed_is_noticed(kind: str, key: bytes, data: st.DataObject) -> None:
    """A letter changed, lost, doubled or put behind: no key."""
    text = encode_seed(kind, key)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567018=a -").filter(lambda one: one != text[at]))
    for wrong in (text[:at] + other + text[at + 1 :], text[:at] + text[at + 1 :], text[: at + 1] + text[at:]):
        assert decode_seed(bytearray(wrong, "ascii")) is None or wrong == text


@given(st.binary(max_size=80))
def test_garbage_is_no_key(data: bytes) -> None:
    """Anything else is None, and never an exception."""
    assert decode_seed(bytearray(data)) is None
    assert decode_public_key(data.decode("latin-1")) is None
    assert not is_seed(bytearray(data))


@given(KEYS, st.binary(max_size=64))
def test_a_signature_is_verified_by_another_library(key: bytes, data: bytes) -> None:
    """What PyNaCl signs, the public key verifies with OpenSSL; its text is base64url without padding."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    seed = bytearray(key)
    text = signature_text(sign(seed, data))
    signature = base64.urlsafe_b64decode(text + "==")
    assert len(signature) == 64
    assert "=" not in text
    Ed25519PublicKey.from_public_bytes(public_key_of(seed)).verify(signature, data)


def test_wiping_leaves_nothing() -> None:
    """A wiped buffer has its length, and zeros."""
    data = bytearray(b"secret")
    wipe(data)
    assert data == bytes(6)


def test_without_pynacl_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyNaCl missing: an error with the command that installs it, before a seed is in reach."""
    importing = builtins.__import__

    def refuse(name: str, *args: Any, **keywords: Any) -> Any:
        if name.startswith("nacl"):
            raise ImportError(name)
        return importing(name, *args, **keywords)

    for name in [name for name in sys.modules if name.partition(".")[0] == "nacl"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'beamline-trio\[nkeys\]'"):
        need_ed25519()


# Credentials files


def block(text: str, *, dashes: int = 5, end: str = "\n") -> str:
    line = "-" * dashes
    return f"{line}BEGIN IT{line}{end}{text}{end}{line}-END IT{line}-{end}"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("dashes", [3, 5, 12])
@pytest.mark.parametrize("before, between, behind", [("", "", ""), ("# mine\n\n", "*** IMPORTANT ***\n", "bye")])
def test_both_blocks_are_found(end: str, dashes: int, before: str, between: str, behind: str) -> None:
    """JWT and seed, with either line end, three dashes or more, and text outside the blocks."""
    text = before + block(JWT, dashes=dashes, end=end) + between + block(SEED, dashes=dashes, end=end) + behind
    assert parse_creds(bytearray(text, "ascii")) == (Secret(JWT), bytearray(SEED, "ascii"))


def test_a_file_without_a_last_line_end() -> None:
    """The last line of dashes may end the file."""
    assert parse_creds(bytearray((block(JWT) + block(SEED)).rstrip(), "ascii")) is not None


@pytest.mark.parametrize("text", [block(JWT), JWT, f"\n  {JWT}\n"])
def test_a_bearer_token_has_no_seed(text: str) -> None:
    """A file with a JWT alone, in a block or bare."""
    assert parse_creds(bytearray(text, "ascii")) == (Secret(JWT), None)


@pytest.mark.parametrize(
    "text",
    ["", "hello", block("no jwt"), block("a.b"), block(SEED), block(JWT) + block("SUAA"), block(JWT) + block(PUBLIC)],
)
def test_anything_else_is_no_credentials_file(text: str) -> None:
    """No JWT, or a second block that is no user's seed: None."""
    assert parse_creds(bytearray(text, "ascii")) is None


@given(st.binary(max_size=400))
def test_garbage_is_no_credentials_file(data: bytes) -> None:
    """Never an exception, whatever the file has."""
    found = parse_creds(bytearray(data))
    assert found is None or found[1] is None


# Secrets


@given(st.text(min_size=8, alphabet="abcdefgh"))
def test_a_secret_shows_nothing_and_equals_its_text(text: str) -> None:
    """No way of printing it shows the text; it compares and hashes like it."""
    secret = Secret(text)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r}", repr([secret]), "%s" % secret):  # noqa: UP031
        assert text not in shown
    assert secret == text == secret.reveal()
    assert secret == Secret(text)
    assert secret != Secret(text + "x")
    assert secret != 5
    assert hash(secret) == hash(text)
    assert secret
    assert not Secret("")
    assert not hasattr(secret, "__dict__")


def test_hiding_twice_is_hiding_once() -> None:
    """A Secret stays what it is, and None is None."""
    secret = Secret("s")
    assert hidden(secret) is secret
    assert hidden_or_none(None) is None
    assert hidden_or_none("s") == secret

"""Subjects, queue groups and names: legal ones pass unchanged, all others are a typed error before a byte leaves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.protocol import (
    InvalidSubjectError,
    NatsError,
    check_inbox_prefix,
    check_name,
    decode_subject,
    encode_pattern,
    encode_queue_group,
    encode_subject,
)

# Draws what the rules are about far more often than ordinary text.
_SPECIAL = [".", "*", ">", " ", "\t", "\r", "\n", "\f", "\v", "a", "b", "\u00a0", "é", "\x00", "\ud800", "\u2028"]
texts = st.one_of(st.lists(st.sampled_from(_SPECIAL), max_size=8).map("".join), st.text(max_size=10))


def is_utf8(text: str) -> bool:
    return not any(0xD800 <= ord(char) <= 0xDFFF for char in text)


def token_is_plain(token: str) -> bool:
    return token != "" and not any(blank in token for blank in (" ", "\t", "\r", "\n", "\f"))


def is_pattern(text: str) -> bool:
    """The rules, token by token."""
    tokens = text.split(".")
    return all(token_is_plain(token) for token in tokens) and ">" not in tokens[:-1] and is_utf8(text)


def is_literal(text: str) -> bool:
    return is_pattern(text) and not {"*", ">"} & set(text.split("."))


@given(texts)
def test_a_subject_to_publish_to(text: str) -> None:
    """Legal is: tokens that are not empty, without white space, none of them a wildcard, valid UTF-8."""
    if is_literal(text):
        assert encode_subject(text) == text.encode()
        assert decode_subject(encode_subject(text)) == text
        assert check_inbox_prefix(text) == text
    else:
        with pytest.raises(InvalidSubjectError):
            encode_subject(text)
        with pytest.raises(InvalidSubjectError):
            check_inbox_prefix(text)


@given(texts)
def test_a_subject_to_subscribe_to(text: str) -> None:
    """Legal is the same with `*` as any token and `>` as the last."""
    if is_pattern(text):
        assert encode_pattern(text) == text.encode()
    else:
        with pytest.raises(InvalidSubjectError):
            encode_pattern(text)


@given(texts)
def test_a_queue_group(text: str) -> None:
    """Legal is what has no white space and is not empty; dots and wildcards mean nothing in it."""
    if token_is_plain(text) and is_utf8(text):
        assert encode_queue_group(text) == text.encode()
    else:
        with pytest.raises(InvalidSubjectError):
            encode_queue_group(text)


@given(texts)
def test_what_passes_is_one_field_of_one_line(text: str) -> None:
    """Nothing that passes can end its field or its line on the server."""
    for encode in (encode_subject, encode_pattern, encode_queue_group):
        try:
            field = encode(text)
        except InvalidSubjectError:
            continue
        assert field
        assert not set(field) & set(b" \t\r\n\f")


@pytest.mark.parametrize(
    "subject",
    [
        "a",
        "orders.7.created",
        "größe.€.✓",
        "a*.b>.*c.>d",
        "$JS.API.INFO",
        "a\vb",
        "\v",
        "a\u00a0b",
        "*a",
        ">>",
        "**",
        "-",
    ],
)
def test_subjects_that_are_legal(subject: str) -> None:
    """Wildcard characters inside a token are ordinary; so are vertical tab and the wider white space of Unicode."""
    assert encode_subject(subject) == encode_pattern(subject) == subject.encode()


@pytest.mark.parametrize("subject", ["*", ">", "a.*", "*.a", "a.*.b", "a.>", "*.*", "*.>"])
def test_wildcards_are_for_subscribing(subject: str) -> None:
    """A wildcard token is refused on publish, and the text says so."""
    assert encode_pattern(subject) == subject.encode()
    with pytest.raises(InvalidSubjectError, match="wildcard"):
        encode_subject(subject)


@pytest.mark.parametrize(
    "subject, reason",
    [
        ("", "empty"),
        (".", "empty token"),
        ("a.", "empty token"),
        (".a", "empty token"),
        ("a..b", "empty token"),
        (">.a", "last token"),
        ("a.>.b", "last token"),
        ("a b", "white space"),
        ("a\tb", "white space"),
        ("a\fb", "white space"),
        ("a\n", "white space"),
        ("a\r\nPUB b 0\r\n\r\n", "white space"),
        ("a 1\r\nSUB secret.>", "white space"),
        ("\ud800", "UTF-8"),
        (decode_subject(b"caf\xe9"), "UTF-8"),
    ],
)
def test_the_error_says_why(subject: str, reason: str) -> None:
    """What is refused is named in one line of ASCII, with the reason; the error is a NatsError and a ValueError."""
    for encode in (encode_subject, encode_pattern):
        with pytest.raises(InvalidSubjectError, match=reason if reason != "last token" else None) as caught:
            encode(subject)
        assert isinstance(caught.value, NatsError)
        assert isinstance(caught.value, ValueError)
        assert str(caught.value).isascii()
        assert "\n" not in str(caught.value)
    if reason == "last token":
        with pytest.raises(InvalidSubjectError, match=reason):
            encode_pattern(subject)


def test_a_long_subject_is_shown_in_part() -> None:
    """The error about a megabyte of subject is one line."""
    for check in (encode_subject, encode_pattern, encode_queue_group, check_name, check_inbox_prefix):
        with pytest.raises(InvalidSubjectError) as caught:
            check("a b" * 300_000)
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize("wrong", [b"a", None, 5, ["a"], bytearray(b"a")])
def test_subjects_and_queue_groups_are_str(wrong: Any) -> None:
    """Anything but str is a TypeError that names the type."""
    for encode in (encode_subject, encode_pattern, encode_queue_group):
        with pytest.raises(TypeError, match=type(wrong).__name__):
            encode(wrong)


@given(st.binary(max_size=12))
def test_any_subject_of_the_wire_can_be_shown(raw: bytes) -> None:
    """Bytes that are not UTF-8 become surrogates, from which they can be had back."""
    text = decode_subject(raw)
    assert text.encode("utf-8", "surrogateescape") == raw


@pytest.mark.parametrize("name", ["a", "ORDERS", "größe", "a" * 255, "a-b_c=d$", "a\vb"])
def test_names_that_are_legal(name: str) -> None:
    """A name of a stream, consumer or service passes unchanged."""
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "a.b", "*", "a>", "a/b", "a\\b", "a b", "a\t", "a\n", "a\r", "a\f", "a" * 256])
def test_names_that_are_refused(name: str) -> None:
    r"""No `. * > / \`, no white space, at most 255 characters; the error names what it is about."""
    with pytest.raises(InvalidSubjectError, match="stream name"):
        check_name(name, "stream name")


def test_a_name_that_is_no_text_of_utf8_is_refused() -> None:
    """Half of a surrogate pair cannot be sent in any subject."""
    with pytest.raises(InvalidSubjectError, match="not valid UTF-8"):
        check_name("a\ud800")


def test_an_inbox_prefix_is_named_in_its_error() -> None:
    """The text of a refused inbox prefix names the option and the reason."""
    with pytest.raises(InvalidSubjectError, match=r"inbox_prefix .*wildcard token"):
        check_inbox_prefix("_INBOX.>")

"""The laws of names: what ADR-8 allows is taken, and nothing else reaches the wire."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio import InvalidSubjectError
from beamline_trio.kv import InvalidKeyError, KeyValueError
from beamline_trio.kv._names import check_bucket, check_filter, check_key, is_key, key_of, subject_of
from beamline_trio.protocol import encode_pattern, encode_subject

TOKENS = st.text(string.ascii_letters + string.digits + "-/_=", min_size=1, max_size=8)
KEYS = st.lists(TOKENS, min_size=1, max_size=5).map(".".join)


@given(KEYS)
def test_keys_of_the_rule_are_taken(key: str) -> None:
    """A key of the allowed characters is a subject of its bucket, and comes back from it."""
    if key.startswith("_kv"):
        assert not is_key(key)
        return
    subject = subject_of("b", check_key(key))
    encode_subject(subject)
    encode_pattern(subject_of("b", check_filter(key)))
    assert key_of("b", subject) == key


@given(st.text(max_size=20))
def test_whatever_is_taken_is_a_subject(key: str) -> None:
    """No text is both taken for a key and refused, or split, by the wire."""
    if is_key(key):
        assert encode_subject(subject_of("b", key)).count(b" ") == 0
    else:
        with pytest.raises(InvalidKeyError):
            check_key(key)


@pytest.mark.parametrize(
    "key", ["", ".", "a.", ".a", "a..b", "a b", "a\r\nPUB x 0", "a\t", "*", ">", "ä", "_kv", "_kv.a", "a" * 1025]
)
def test_bad_keys(key: str) -> None:
    """What breaks the rule is refused by the name of the rule, and is an invalid subject too."""
    with pytest.raises(InvalidKeyError, match="single dots between them") as caught:
        check_key(key)
    assert isinstance(caught.value, (KeyValueError, InvalidSubjectError))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["", "a.b", "a b", "ä", "a/b", "a" * 253, "*"])
def test_bad_buckets(name: str) -> None:
    """A bucket is part of a stream's name."""
    with pytest.raises(InvalidKeyError, match="must have 1 to 252"):
        check_bucket(name)
    assert check_bucket("Az09_-") == "Az09_-"


@pytest.mark.parametrize("pattern", ["", "a>", "a*", ">.a", "a.>.b", "a..b", "ä.*", "a b"])
def test_bad_filters(pattern: str) -> None:
    """Wildcards are whole tokens, and `>` is the last."""
    with pytest.raises(InvalidKeyError, match="the filter"):
        check_filter(pattern)


@pytest.mark.parametrize("pattern", [">", "*", "a.>", "*.b", "a.*.c", "a"])
def test_filters(pattern: str) -> None:
    """Every pattern that is taken can be subscribed to."""
    encode_pattern(subject_of("b", check_filter(pattern)))


@pytest.mark.parametrize("check", [check_bucket, check_key, check_filter])
def test_names_are_texts(check: object) -> None:
    """Bytes are refused as what they are."""
    with pytest.raises(TypeError, match="must be a str, not bytes"):
        check(b"a")  # type: ignore[operator]  # the point of the test

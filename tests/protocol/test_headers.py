"""Headers: order and case are kept, look-up takes any case, nothing can be injected, decoding is lenient."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from beamline_trio.protocol import (
    Headers,
    InvalidHeaderError,
    NatsError,
    ProtocolError,
    decode_headers,
    encode_headers,
    is_header_block,
)
from tests.protocol._reference import well_formed

LEGAL_NAME_CHARACTERS = "".join(chr(c) for c in range(33, 127) if chr(c) != ":")
names = st.one_of(
    st.sampled_from(["Trace", "trace", "TRACE", "Nats-Msg-Id", "X"]),
    st.text(LEGAL_NAME_CHARACTERS, min_size=1, max_size=9),
)
# White space around a value is not the value's; everything else inside is, other line separators of Unicode too.
values = st.one_of(
    st.sampled_from(["", "a", "a: b", "größe €", "a\x0bb\x0c\x85\u2028c", "\x00"]), st.text(max_size=12)
).filter(lambda value: not {"\r", "\n"} & set(value) and value == value.strip(" \t"))
pairs = st.lists(st.tuples(names, values), max_size=8)


def encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


@given(pairs)
def test_what_is_encoded_is_decoded(items: list[tuple[str, str]]) -> None:
    """A block carries every pair: order, exact case, repeated names and all characters."""
    assume(all(encodable(value) for _, value in items))
    block = encode_headers(items)
    assert well_formed(block)
    assert is_header_block(block)
    assert decode_headers(block).items() == items
    assert decode_headers(block) == Headers(items)
    assert encode_headers(decode_headers(block)) == block


@given(pairs, st.randoms(use_true_random=False))
def test_look_up_takes_any_case(items: list[tuple[str, str]], random: Any) -> None:
    """A name in any case finds all its values in order, `[]` and `get` the first; iteration gives each name once."""
    headers = Headers(items)
    for name, _ in items:
        expected = [value for have, value in items if have.lower() == name.lower()]
        asked = "".join(random.choice((char.lower(), char.upper())) for char in name)
        assert headers.get_all(asked) == expected
        assert headers[asked] == headers.get(asked) == expected[0]
        assert asked in headers
    assert headers.items() == items
    assert len(headers) == len(items)
    firsts = {name.lower(): name for name, _ in reversed(items)}
    assert sorted(headers) == sorted(firsts.values())
    assert list(headers) == sorted(headers, key=[have for have, _ in items].index)


def test_a_name_that_is_not_there() -> None:
    """`[]` raises KeyError with the name as asked, `get` gives the default, `get_all` nothing."""
    headers = Headers({"A": "1"})
    with pytest.raises(KeyError, match="Missing"):
        headers["Missing"]
    with pytest.raises(KeyError, match="Missing"):
        del headers["Missing"]
    assert headers.get("Missing") is None
    assert headers.get("Missing", "x") == "x"
    assert headers.get_all("Missing") == []
    assert "Missing" not in headers
    assert 5 not in headers


def test_setting_replaces_every_case_and_deleting_removes_it() -> None:
    """`headers[name] = ...` replaces all values of the name in any case, behind what stays; del removes them."""
    headers = Headers([("Trace", "1"), ("Other", "x"), ("TRACE", "2")])
    headers["trace"] = ["3", "4"]
    assert headers.items() == [("Other", "x"), ("trace", "3"), ("trace", "4")]
    headers["New"] = "n"
    del headers["TRACE"]
    assert headers.items() == [("Other", "x"), ("New", "n")]
    headers["other"] = []
    assert headers.items() == [("New", "n")]


def test_a_refused_value_changes_nothing() -> None:
    """An assignment with one bad value among good ones leaves the headers as they were."""
    headers = Headers({"A": "1"})
    with pytest.raises(InvalidHeaderError):
        headers["A"] = ["2", "3\r\nB: 4"]
    with pytest.raises(InvalidHeaderError):
        headers.add("B\r\n", "4")
    assert headers.items() == [("A", "1")]


def test_sources() -> None:
    """Pairs, a mapping to a value or to several, and other Headers make the same headers; a copy is a copy."""
    expected = [("Trace", "a"), ("Trace", "b"), ("X", "c")]
    assert Headers(expected).items() == expected
    assert Headers({"Trace": ["a", "b"], "X": "c"}).items() == expected
    assert Headers({"Trace": ("a", "b"), "X": ["c"]}).items() == expected
    original = Headers(expected)
    copy = Headers(original)
    copy["X"] = "changed"
    assert original.items() == expected
    assert encode_headers({"Trace": ["a", "b"], "X": "c"}) == encode_headers(expected) == encode_headers(original)
    assert encode_headers({}) == b"NATS/1.0\r\n\r\n"


def test_equality_and_repr() -> None:
    """Equal are the same pairs in the same order and case with the same status; headers are not hashable."""
    assert Headers({"A": "1"}) == Headers([("A", "1")])
    assert Headers({"A": "1"}) != Headers({"a": "1"})
    assert Headers() != Headers(status=503)
    assert Headers() != []
    assert repr(Headers({"A": "1"}, status=503)) == "Headers([('A', '1')], status=503)"
    assert repr(Headers()) == "Headers([])"
    with pytest.raises(TypeError):
        hash(Headers())


# Injection


def _by_constructor(name: Any, value: Any) -> object:
    return Headers([(name, value)])


def _by_mapping(name: Any, value: Any) -> object:
    return Headers({name: [value]})


def _by_add(name: Any, value: Any) -> object:
    headers = Headers()
    headers.add(name, value)
    return headers


def _by_assignment(name: Any, value: Any) -> object:
    headers = Headers()
    headers[name] = value
    return headers


def _by_encoding(name: Any, value: Any) -> object:
    return encode_headers({name: value})


WAYS = [_by_constructor, _by_mapping, _by_add, _by_assignment, _by_encoding]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__[1:])
Way = Callable[[Any, Any], object]


@ways
@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "A:",
        "A: b",
        "A b",
        " A",
        "A ",
        "A\t",
        "A\r",
        "A\n",
        "A\r\nB",
        "A\x00",
        "A\x7f",
        "é",
        "\uff21",
        "A\u2028",
    ],
)
def test_a_name_outside_the_alphabet_is_refused(way: Way, name: str) -> None:
    """A name that is not printable ASCII without colon and blanks is a typed error, whichever way it comes."""
    with pytest.raises(InvalidHeaderError, match="name") as caught:
        way(name, "value")
    assert isinstance(caught.value, NatsError)
    assert isinstance(caught.value, ValueError)


@ways
@pytest.mark.parametrize("value", ["\r", "\n", "\r\n", "a\r\nB: c", "a\n", "\rb", "a\r\n\r\nPUB x 0\r\n\r\n"])
def test_a_value_with_a_line_break_is_refused(way: Way, value: str) -> None:
    """A value with CR or LF anywhere is a typed error that names the header and does not repeat the value."""
    with pytest.raises(InvalidHeaderError, match="Trace") as caught:
        way("Trace", value)
    assert "PUB" not in str(caught.value)


@pytest.mark.parametrize(
    "source, named", [(["A"], "str"), ("AB", "str"), ([("A",)], "tuple"), (3, "int"), ({"A": 1}, "header A .* int")]
)
def test_what_are_no_headers_is_named(source: Any, named: str) -> None:
    """Neither a mapping nor pairs, or a value that is neither text nor several: a TypeError that says so."""
    with pytest.raises(TypeError, match=named):
        Headers(source)


@ways
@pytest.mark.parametrize("name, value", [("A", 1), ("A", b"x"), ("A", None), (1, "x"), (b"A", "x"), (None, "x")])
def test_names_and_values_are_str(way: Way, name: object, value: object) -> None:
    """Anything but str is a TypeError."""
    with pytest.raises(TypeError):
        way(name, value)


@pytest.mark.parametrize("value", ["\ud800", "a\udcffb"])
def test_a_value_that_is_not_utf8_is_refused_when_sent(value: str) -> None:
    """Surrogates, such as a lenient decoding makes, are a typed error before a byte leaves."""
    with pytest.raises(InvalidHeaderError, match="UTF-8"):
        encode_headers({"A": value})
    with pytest.raises(InvalidHeaderError, match="UTF-8"):
        encode_headers(decode_headers(b"NATS/1.0\r\nA: \xff\r\n\r\n"))


@given(st.text(max_size=6), st.text(max_size=6))
def test_nothing_is_injected(name: str, value: str) -> None:
    """Whatever name and value: a typed error, or a block of exactly one header with this name."""
    try:
        block = encode_headers([("First", "1"), (name, value), ("Last", "2")])
    except InvalidHeaderError:
        allowed = bool(name) and all(char in LEGAL_NAME_CHARACTERS for char in name)
        assert not allowed or "\r" in value or "\n" in value or not encodable(value)
        return
    assert decode_headers(block).items() == [("First", "1"), (name, value.strip(" \t")), ("Last", "2")]
    assert block.count(b"\r\n") == 5


# Decoding


@pytest.mark.parametrize(
    "line, status, description",
    [
        (b"NATS/1.0", None, ""),
        (b"NATS/1.0 ", None, ""),
        (b"NATS/1.0 503", 503, ""),
        (b"NATS/1.0 204 ", 204, ""),
        (b"NATS/1.0  503", 503, ""),
        (b"NATS/1.0\t503", 503, ""),
        (b"NATS/1.0 503 No Responders", 503, "No Responders"),
        (b"NATS/1.0 100 Idle Heartbeat", 100, "Idle Heartbeat"),
        (b"NATS/1.0 408\tRequest Timeout \t", 408, "Request Timeout"),
        (b"NATS/1.0 409 Exceeded: of \xff", 409, "Exceeded: of \udcff"),
        (b"NATS/1.0 007", 7, ""),
    ],
)
def test_the_status_line(line: bytes, status: int | None, description: str) -> None:
    """A status comes with a description or without; white space around it goes."""
    for rest, items in ((b"", []), (b"Nats-Subject: a.b\r\n", [("Nats-Subject", "a.b")])):
        headers = decode_headers(line + b"\r\n" + rest + b"\r\n")
        assert (headers.status, headers.description, headers.items()) == (status, description, items)


def test_decoding_is_lenient_where_nothing_is_lost() -> None:
    """Odd names, values that are not UTF-8, blanks around values, empty values: all arrive."""
    block = b"NATS/1.0\r\nOdd name: 1\r\n\xff: 2\r\nA:\r\nA:x\r\nA: \t x y\t \r\nB: a:b\r\nC: \xe9\r\n\r\n"
    assert decode_headers(block).items() == [
        ("Odd name", "1"),
        ("\udcff", "2"),
        ("A", ""),
        ("A", "x"),
        ("A", "x y"),
        ("B", "a:b"),
        ("C", "\udce9"),
    ]


@given(
    st.lists(
        st.sampled_from([b"NATS/1.0", b"\r\n", b"\r", b"\n", b"A", b":", b" ", b"5", b"503", b"\t", b"\xff"]),
        max_size=12,
    )
)
def test_decoding_agrees_with_the_check(parts: list[bytes]) -> None:
    """A block is decoded when `is_header_block` says so, which is when it is well formed; else ProtocolError."""
    for block in (b"".join(parts), b"NATS/1.0" + b"".join(parts) + b"\r\n\r\n"):
        assert is_header_block(block) is well_formed(block)
        if well_formed(block):
            assert len(decode_headers(block)) == block.count(b"\r\n") - 2
        else:
            with pytest.raises(ProtocolError, match="malformed header block"):
                decode_headers(block)


@given(st.text(string.printable, max_size=40))
def test_a_malformed_block_is_quoted_in_part(text: str) -> None:
    """The error shows what came, and not all of a megabyte of it."""
    with pytest.raises(ProtocolError) as caught:
        decode_headers(text.encode() * 1000 + b"!")
    assert len(str(caught.value)) < 350

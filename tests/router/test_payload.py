"""Payloads by annotation: golden examples of each kind, and hostile bytes that are one error with a short reason."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import json
import math
import traceback
import typing
import uuid
from typing import Any

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beamline_trio.router._json import NESTING_MAX
from beamline_trio.router._models import NoRuleError
from beamline_trio.router._payload import REASON_CHARACTERS_MAX, BadPayloadError, _guarded, decoder_of, encode


class Kind(enum.Enum):
    NEW = "new"
    OLD = "old"


@attrs.frozen
class Line:
    item: str
    count: int = 1


@attrs.frozen
class Order:
    number: int
    lines: list[Line] = attrs.field(factory=list)
    kind: Kind = Kind.NEW
    parent: Order | None = None


@attrs.frozen
class Free:
    note: str = ""


@dataclasses.dataclass
class Point:
    x: float
    names: tuple[str, ...] = ()


class Options(typing.TypedDict, total=False):
    deep: bool


class Pair(typing.NamedTuple):
    left: int
    right: str


class Struct(msgspec.Struct):
    price: float
    tags: list[str] = []


class Model(pydantic.BaseModel):
    price: float
    tags: list[str] = []


class Odd:
    pass


UUID_TEXT = "12345678-1234-5678-1234-567812345678"
GOLDEN: list[tuple[Any, bytes, object]] = [
    (str, "grüße".encode(), "grüße"),
    (Any, b'{"a":[1,2.5,null,true,"x"]}', {"a": [1, 2.5, None, True, "x"]}),
    (object, b"1", 1),
    (dict, b'{"a":1,"a":2}', {"a": 2}),
    (dict[str, Any], b"{}", {}),
    (list, b"[1]", [1]),
    (list[Any], b"[[]]", [[]]),
    (int, b"7", 7),
    (int, b"9" * 4000, int("9" * 4000)),
    (float, b"7", 7.0),
    (bool, b"true", True),
    (None, b"null", None),
    (Order, b'{"number":1}', Order(1)),
    (
        Order,
        b'{"number":1,"lines":[{"item":"a","count":2}],"kind":"old","parent":{"number":0},"more":1}',
        Order(1, [Line("a", 2)], Kind.OLD, Order(0)),
    ),
    (Order | None, b"null", None),
    (list[Order], b'[{"number":1}]', [Order(1)]),
    (dict[str, Line], b'{"k":{"item":"a"}}', {"k": Line("a")}),
    (Point, b'{"x":1,"names":["a"]}', Point(1.0, ("a",))),
    (Options, b'{"deep":true}', {"deep": True}),
    (Pair, b'[1,"a"]', Pair(1, "a")),
    (tuple[int, str], b'[1,"a"]', (1, "a")),
    (set[int], b"[1,1]", {1}),
    (frozenset[str], b'["a"]', frozenset("a")),
    (collections.abc.Sequence[str], b'["ab"]', ("ab",)),
    (collections.abc.Mapping[str, int], b'{"a":1}', {"a": 1}),
    (Kind, b'"old"', Kind.OLD),
    (typing.Literal["a", 1], b"1", 1),
    (typing.Annotated[int, "unit"], b"3", 3),
    (typing.NewType("Number", int), b"3", 3),
    (datetime.datetime, b'"2026-01-02T03:04:05+00:00"', datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)),
    (datetime.date, b'"2026-01-02"', datetime.date(2026, 1, 2)),
    (uuid.UUID, f'"{UUID_TEXT}"'.encode(), uuid.UUID(UUID_TEXT)),
    (decimal.Decimal, b'"1.10"', decimal.Decimal("1.10")),
    (bytes | None, b'"AP8="', b"\x00\xff"),
    (Struct, b'{"price":1.5,"tags":["a"]}', Struct(1.5, ["a"])),
    (list[Struct], b'[{"price":1}]', [Struct(1.0)]),
    (Model, b'{"price":1.5,"tags":["a"]}', Model(price=1.5, tags=["a"])),
    (dict[str, Model], b'{"k":{"price":1}}', {"k": Model(price=1.0)}),
]
TYPES = [annotation for annotation, _, _ in GOLDEN]
# Annotation -> payloads that other readers would take, or take for something else.
WRONG: list[tuple[Any, bytes]] = [
    (int, b"1.0"), (int, b"true"), (int, b'"1"'), (float, b"true"), (float, b'"1"'), (bool, b"1"), (None, b"0"),
    (dict, b"[]"), (list, b"{}"), (list[Any], b'"ab"'), (dict[str, Any], b"null"), (int, b"9" * 5000),
    (Line, b'{"item":1}'), (Line, b'{"item":null}'), (Line, b'{"item":"a","count":"2"}'), (Line, b"{}"),
    (Line, b'{"item":"a","count":true}'), (Line, b'{"item":"a","count":1.5}'),
    (Free, b"[]"), (Free, b'"note"'), (Free, b"1"), (Free, b"null"), (Order, b'{"number":1,"lines":{"item":"a"}}'),
    (Order, b'{"number":1,"lines":"ab"}'), (Order, b'{"number":1,"kind":"x"}'), (Order, b'{"number":1,"kind":[]}'),
    (Options, b"[]"), (Pair, b'{"left":1,"right":"a"}'), (Pair, b"[1]"), (tuple[int, str], b"[1]"),
    (tuple[int, ...], b'"12"'), (set[str], b'"ab"'), (set[Any], b"[[]]"), (collections.abc.Sequence[str], b'"ab"'),
    (collections.abc.Mapping[str, int], b"[]"), (list[str], b'"ab"'), (dict[str, int], b'{"a":"1"}'),
    (Point, b'{"x":"1"}'), (Point, b'{"x":' + b"9" * 400 + b"}"), (typing.Literal[1], b'"1"'),
    (datetime.datetime, b"1"), (datetime.datetime, b'"today"'), (uuid.UUID, b"1"), (uuid.UUID, b'"1"'),
    (decimal.Decimal, b"1.5"), (decimal.Decimal, b'"x"'), (bytes | None, b'"?"'),
    (Struct, b'{"price":"1"}'), (Struct, b"{}"), (Struct, b'{"price":1,"more":"\xff"}'), (Struct, b'{"price":1e999}'),
    (Model, b'{"price":"x"}'), (Model, b"{}"), (Model, b'{"price":NaN}'), (Model, b'{"price":-Infinity}'),
    (Model, b'{"price":1e999}'), (Model, b'{"price":1E+0999}'), (Model, b'{"price":' + b"9" * 400 + b"}"),
]  # fmt: skip
NO_JSON = [
    b"", b" ", b"{", b"nul", b"\xff", b"\xef\xbb\xbf1", "1".encode("utf-16"), b'"\xed\xa0\x80"', b"NaN", b"[Infinity]",
    b"[-Infinity]", b"1e999", b"[-1e999]", b'"\\ud800"', b'{"\\udfff":1}', b"[" * 200_000, b'{"a":' * 200_000,
    b"[" * (NESTING_MAX + 1) + b"]" * (NESTING_MAX + 1), b"1 2", b"'a'", b'"a\nb"', b"[1,]", b'"\\"' * 50_000,
    b'"' + b"x" * 100_000,
]  # fmt: skip


def decode(annotation: Any, payload: bytes) -> object:
    decoder = decoder_of(annotation)
    return payload if decoder is None else decoder(payload)


def refusal(annotation: Any, payload: bytes) -> BadPayloadError:
    with pytest.raises(BadPayloadError) as caught:
        decode(annotation, payload)
    return caught.value


# -------------------------------------------------------------------------------------------------------- decode


@pytest.mark.parametrize("annotation, payload, value", GOLDEN, ids=[str(one[0])[:40] for one in GOLDEN])
def test_a_payload_becomes_what_is_annotated(annotation: Any, payload: bytes, value: object) -> None:
    """Each kind of annotation has its golden payload, of exactly the type."""
    made = decode(annotation, payload)
    assert made == value
    assert type(made) is type(value)


def test_bytes_are_not_touched() -> None:
    """A handler of bytes gets the payload itself; there is no function to call."""
    assert decoder_of(bytes) is None


@pytest.mark.parametrize("annotation, payload", WRONG, ids=[f"{one[0]} {one[1]!r}"[:60] for one in WRONG])
def test_the_wrong_shape_is_refused(annotation: Any, payload: bytes) -> None:
    """Nothing is converted that JSON tells apart, and no NaN or infinity comes of a number."""
    assert refusal(annotation, payload).reason


@pytest.mark.parametrize("annotation", TYPES, ids=lambda one: str(one)[:40])
def test_what_is_no_json_is_refused_by_every_kind(annotation: Any) -> None:
    """The same texts are refused whichever library makes the models."""
    if annotation is str:
        return
    for payload in NO_JSON:
        assert refusal(annotation, payload).reason


def test_nesting_is_counted_outside_of_strings() -> None:
    """Up to the limit it is decoded; brackets in strings, escaped quotes before them, and siblings do not count."""
    deep = b"[" * NESTING_MAX + b"]" * NESTING_MAX
    assert decode(Any, deep) == json.loads(deep)
    assert "nested deeper than 100" in refusal(Any, b"[" + deep + b"]").reason
    assert decode(Any, b'["' + b"[{" * 500 + b'"]') == ["[{" * 500]
    assert decode(Any, b'["\\"' + b"[{" * 500 + b'"]') == ['"' + "[{" * 500]
    assert decode(Any, b"[" + b",".join([b"[]"] * 500) + b"]") == [[]] * 500
    hidden = b'["]",' * (NESTING_MAX + 1) + b"1" + b"]" * (NESTING_MAX + 1)
    assert "nested deeper" in refusal(Any, hidden).reason


@given(st.lists(st.sampled_from(["[", "]", "{", "}", '"', "\\", "a", ","]), max_size=40), st.integers(0, 3))
def test_nesting_is_that_of_the_value(pieces: list[str], depth: int) -> None:
    """Strings of brackets, quotes and escapes never change what is counted, on either side of the limit."""
    value: object = ["".join(pieces)]
    for _ in range(NESTING_MAX - 2 + depth):
        value = ["]", {"[": value}, "{"] if depth == 0 and _ % 2 else [value, "".join(pieces)]
    levels = json.dumps(value).encode()
    if _depth(value) > NESTING_MAX:
        assert "nested deeper" in refusal(Any, levels).reason
    else:
        assert decode(Any, levels) == value


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


SECRET = "s3cr3t-" * 60


@pytest.mark.parametrize(
    "annotation, payload",
    [
        (str, b"\xff" * 1000),
        (Any, b'{"a": ' + SECRET.encode() * 20),
        (Line, json.dumps({"item": {SECRET: SECRET}}).encode()),
        (Kind, json.dumps({SECRET: 1}).encode()),
        (typing.Literal["a"], json.dumps(SECRET).encode()),
        (dict[str, int], json.dumps({f"{SECRET}{number}": "x" for number in range(50)}).encode()),
        (int | str, json.dumps([SECRET]).encode()),
        (Struct, json.dumps({"price": SECRET}).encode()),
        (Model, json.dumps({"price": SECRET}).encode()),
    ],
)
def test_a_reason_is_short_and_all_that_is_shown(annotation: Any, payload: bytes) -> None:
    """One line of 200 characters, whatever libraries say, and the error carries no library's error with it."""
    error = refusal(annotation, payload)
    assert 0 < len(error.reason) <= REASON_CHARACTERS_MAX
    assert error.reason.isprintable()
    assert error.__cause__ is None
    assert error.__context__ is None
    assert SECRET not in "".join(traceback.format_exception(error))


def test_a_reason_says_where() -> None:
    """The place is named: the byte, the character, the path within the value."""
    assert "at byte 2" in refusal(str, b"ab\xff").reason
    assert "character 1" in refusal(Any, b"[x").reason
    assert "$.lines[0].count" in refusal(Order, b'{"number":1,"lines":[{"item":"a","count":"b"}]}').reason
    assert "$.tags" in refusal(Struct, b'{"price":1,"tags":1}').reason
    assert "tags.1" in refusal(Model, b'{"price":1,"tags":["a",1]}').reason
    assert refusal(Order, b"1").reason == "not Order: expected an object, got an integer"


def test_a_validator_of_a_model_refuses_with_any_error() -> None:
    """What a model's own code raises about a payload is a bad payload."""

    def check(_: object, field: object, value: int) -> None:
        raise LookupError("not in stock")

    @attrs.frozen
    class Checked:
        value: int = attrs.field(validator=check)

    assert refusal(Checked, b'{"value":1}').reason.startswith("not Checked: ")


def test_a_process_without_memory_has_no_bad_payload() -> None:
    """MemoryError is of the process, and passes."""

    def load(_: bytes) -> object:
        raise MemoryError

    with pytest.raises(MemoryError):
        _guarded(load, "x")(b"")


HOSTILE = st.binary(max_size=200) | st.text('[]{}":,\\\x00aueE0159.-+ntf', max_size=60).map(str.encode)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("number"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["number", "lines", "item", "count", "x", "price", "tags", "deep"]), inner)
    ),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode())


@given(st.sampled_from(TYPES), HOSTILE | VALUES)
@example(list[Order], b'[{"number":1e400}]')
def test_any_bytes_are_decoded_or_refused(annotation: Any, payload: bytes) -> None:
    """There is no third way: a value, or BadPayloadError with its short reason."""
    try:
        decode(annotation, payload)
    except BadPayloadError as error:
        refused = error
    else:
        return
    assert 0 < len(refused.reason) <= REASON_CHARACTERS_MAX
    assert refused.reason.isprintable()


@given(HOSTILE | VALUES)
def test_what_is_json_here_is_json_to_everybody(payload: bytes) -> None:
    """What is taken is what the standard library reads, and comes back from `encode` the same."""
    try:
        value = decode(Any, payload)
    except BadPayloadError:
        return
    assert value == json.loads(payload)
    assert decode(Any, encode([value])) == [value]


# --------------------------------------------------------------------------------------------------- declaration


@attrs.frozen
class WithOdd:
    inner: Odd | None = None


class StructWithOdd(msgspec.Struct):
    inner: Odd


@pytest.mark.parametrize(
    "annotation", [Odd, list[Odd], WithOdd, dict[str, WithOdd], StructWithOdd, typing.TypeVar("T")]
)
def test_what_cannot_be_made_is_refused_at_once(annotation: Any) -> None:
    """The declaration names the type without a rule, at any depth, not the first message."""
    with pytest.raises(NoRuleError, match=r"Odd|~T"):
        decoder_of(annotation)


def test_what_pydantic_cannot_make_is_refused_at_once() -> None:
    """Its words come through in one line."""
    with pytest.raises(NoRuleError, match=r"pydantic cannot make it: .*Odd"):
        decoder_of(dict[Odd, Model])


# -------------------------------------------------------------------------------------------------------- encode


@pytest.mark.parametrize("annotation, payload, value", GOLDEN, ids=[str(one[0])[:40] for one in GOLDEN])
def test_what_was_decoded_is_encoded_back(annotation: Any, payload: bytes, value: object) -> None:
    """A value that a handler can be given can be given back, and is the same to the next handler."""
    if isinstance(value, bytes):
        return
    assert decode(annotation, encode(value)) == value


def test_bytes_and_text_are_encoded_as_they_are() -> None:
    """Bytes of any kind, and text in UTF-8, are no JSON; models within JSON values are found."""
    assert encode(b"x") == encode(bytearray(b"x")) == encode(memoryview(b"x")) == encode("x") == b"x"
    assert encode(None) == b"null"
    assert (
        encode({"a": [Line("ü"), Struct(1.0), Model(price=2.0), Point(1.0)]})
        == (
            '{"a":[{"item":"ü","count":1},{"price":1.0,"tags":[]},{"price":2.0,"tags":[]},{"x":1.0,"names":[]}]}'
        ).encode()
    )


@pytest.mark.parametrize(
    "value, error, text",
    [
        (Odd(), TypeError, "a value of Odd"),
        ([Odd()], TypeError, "a value of Odd"),
        (math.nan, ValueError, "JSON compliant"),
        ("\ud800", ValueError, "surrogates"),
        (["\ud800"], ValueError, "surrogates"),
        ({(1, 2): 1}, TypeError, "keys must be"),
    ],
)
def test_what_cannot_be_encoded_is_a_bug_of_the_handler(value: object, error: type[Exception], text: str) -> None:
    """It raises where the handler's value is read; nothing goes out."""
    with pytest.raises(error, match=text):
        encode(value)


def test_a_value_without_an_end_is_refused() -> None:
    """A list in itself, and one that is nested too deep, are no crash."""
    endless: list[object] = []
    endless.append(endless)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep):
        with pytest.raises(ValueError, match=r"Circular|nested too deep"):
            encode(value)

"""Files of routes: what may stand in them, what is refused and where, and what a message becomes."""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio import Headers, Publish, Reply
from beamline_trio.operation.route_file import (
    Input,
    Mapping,
    MappingError,
    RouteFileError,
    compile_template,
    compile_text,
    fill,
    load_route_file,
    parse_path,
    read_route_file,
)

FULL = """
[router]
name = "orders"
version = "1.2.3"
grace_seconds = 10

[[routes]]
name = "billing"
subject = "orders.*.created"
stream = "ORDERS"
durable = "billing"
concurrency = 16
dead_letter = "dlq.orders"
deadline_seconds = 20
rate = 100.5
double_ack = true

[routes.retry]
delays_seconds = [1, 2]
max_deliver = 3
ack_wait_seconds = 30
jitter = 0.1

[[routes.filter]]
path = "payload.total"
above = 0

[[routes.filter]]
path = "headers.Tenant"
in = ["a", "b"]

[routes.transform]
customer = "{payload.customer.id}"
total = "{payload.total}"
note = "{payload.note?}"
text = "order {subject.2} of {payload.customer.id}"
source = "shop"
lines = [1, "{payload.items.0}"]

[routes.target]
subject = "billing.{headers.Tenant}.{payload.customer.id}"
keep_headers = true
confirm = "stream"
[routes.target.headers]
Order = "{subject}"
Note = "{payload.note?}"
"""
CORE = '[[routes]]\nname = "echo"\nsubject = "echo"\n[routes.target]\nreply = true\n'


def message(payload: Any = None, subject: str = "orders.7.created", **headers: str) -> Input:
    return Input(payload=payload, subject=subject, headers=Headers(headers), stream="ORDERS", sequence=41, deliveries=2)


ORDER = {"customer": {"id": "c1"}, "total": 12.5, "items": [{"sku": "x"}]}


def only(text: str) -> Mapping:
    (route,) = read_route_file(text).routes
    return route.mapping


def test_a_whole_file() -> None:
    """Everything that it says is read."""
    file = read_route_file(FULL)
    assert (file.name, file.version, file.grace_seconds) == ("orders", "1.2.3", 10)
    (route,) = file.routes
    assert (route.name, route.subject) == ("billing", "orders.*.created")
    assert route.options == {
        "stream": "ORDERS",
        "durable": "billing",
        "concurrency": 16,
        "dead_letter": "dlq.orders",
        "deadline_seconds": 20,
        "rate": 100.5,
        "double_ack": True,
    }
    assert route.retry is not None
    assert (route.retry.delays_seconds, route.retry.max_deliver, route.retry.jitter) == ((1, 2), 3, 0.1)
    assert route.mapping.payload == "json"


def test_what_a_message_becomes() -> None:
    """Values keep their types, texts are joined, what may be missing is null or no header; our own are not kept."""
    source = message(ORDER, **{"Tenant": "a", "Nats-Msg-Id": "m", "Beamline-Route": "r"})
    effect = only(FULL).apply(source, b"raw")
    assert isinstance(effect, Publish)
    assert (effect.subject, effect.confirm) == ("billing.a.c1", "stream")
    assert effect.payload == {
        "customer": "c1",
        "total": 12.5,
        "note": None,
        "text": "order 7 of c1",
        "source": "shop",
        "lines": [1, {"sku": "x"}],
    }
    assert effect.headers is not None
    assert effect.headers.items() == [("Tenant", "a"), ("Order", "orders.7.created")]


def test_what_the_filter_leaves_out() -> None:
    """One condition that does not hold is enough."""
    assert only(FULL).apply(message({**ORDER, "total": 0}, Tenant="a"), b"") is None
    assert only(FULL).apply(message(ORDER, Tenant="c"), b"") is None
    assert only(FULL).apply(message(ORDER), b"") is None


def test_a_route_without_a_transform_passes_the_bytes_on() -> None:
    """Not one byte of the payload is touched, and it need be no JSON."""
    mapping = only(CORE)
    assert mapping.payload == "bytes"
    assert mapping.apply(message(b"\xff"), b"\xff") == Reply(b"\xff")
    text = '[[routes]]\nname = "a"\nsubject = "a"\n[routes.target]\nsubject = "b"\nconfirm = "none"\n'
    assert only(text).apply(message(b"\xff"), b"\xff") == Publish("b", b"\xff", confirm=None)


@pytest.mark.parametrize(
    "payload, reason",
    [
        ({"total": 1}, "no payload.customer.id"),
        ({"customer": {"id": "a.b"}, "total": 1, "items": [1]}, "cannot be a token"),
        ({"customer": {"id": ""}, "total": 1, "items": [1]}, "cannot be a token"),
        ({"customer": {"id": "a b"}, "total": 1, "items": [1]}, "cannot be a token"),
        ({"customer": {"id": ">"}, "total": 1, "items": [1]}, "cannot be a token"),
        ({"customer": {"id": {}}, "total": 1, "items": [1]}, "is an object"),
        ({"customer": {"id": None}, "total": 1, "items": [1]}, "is null"),
        ({"customer": {"id": "c"}, "total": 1, "items": []}, "no payload.items.0"),
        ({"customer": {"id": "\udcff"}, "total": 1, "items": [1]}, "not valid UTF-8"),
        ({"customer": {"id": "c"}, "total": 1, "items": [1], "note": "a\r\nb"}, "line break"),
    ],
)
def test_a_message_that_does_not_fit(payload: Any, reason: str) -> None:
    """What lacks a value, or would go where nothing can, is told with the path; it never becomes another subject."""
    with pytest.raises(MappingError, match=reason):
        only(FULL).apply(message(payload, Tenant="a"), b"")


@given(st.text(max_size=20))
def test_no_value_makes_a_subject_of_its_own(value: str) -> None:
    """Whatever a sender writes, a slot is one token of the subject, or the message is refused."""
    template = compile_text("billing.{payload.id}.end", "")
    try:
        subject = template.subject(message({"id": value}))
    except MappingError:
        return
    assert subject.count(".") == 2
    assert not {"*", ">"} & set(subject.split("."))
    assert not any(character.isspace() for character in subject)


@pytest.mark.parametrize(
    "text, value",
    [
        ("{payload}", {"a": [1, {"b.c": True}]}),
        ("{payload.a.0}", 1),
        ('{payload.a.1."b.c"}', True),
        ("{payload.a.0} and {payload.a.1}?", None),
        ("n={payload.a.0}", "n=1"),
        ('t={payload.a.1."b.c"}', "t=true"),
        ("{{{subject}}}", "{orders.7.created}"),
        ("{subject.3}", "created"),
        ("{headers.tenant}", "t"),
        ("{stream}:{sequence}:{deliveries}", "ORDERS:41:2"),
        ("{sequence}", 41),
        ("{payload.zzz?}", None),
        ("<{payload.zzz?}>", "<>"),
        ("", ""),
    ],
)
def test_templates(text: str, value: Any) -> None:
    """A slot alone is its value; in a text it is a text; braces are doubled."""
    source = message({"a": [1, {"b.c": True}]}, Tenant="t")
    if text.endswith("}?"):
        with pytest.raises(MappingError):
            fill(compile_template(text, ""), source)
    else:
        assert fill(compile_template(text, ""), source) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1), JSON, min_size=1, max_size=3))
def test_every_key_can_be_reached(payload: dict[str, Any]) -> None:
    """A quoted part of a path is any key there is; what it finds is the value itself."""
    for key, value in payload.items():
        quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
        path = parse_path(f"payload.{quoted}")
        assert path.find(message(payload)) == value


@given(JSON, st.sampled_from(["a", "a.0", "0", "0.a.b", '"a.b"', "__class__", "__len__", "-1"]))
def test_a_path_finds_data_only(payload: Any, rest: str) -> None:
    """It finds what is JSON of the message, or nothing; never an attribute of Python's."""
    try:
        value = parse_path(f"payload.{rest}").find(message(payload))
    except MappingError:
        return
    json.dumps(value)


@pytest.mark.parametrize(
    "text",
    ["", ".", "payload.", "payload..a", "body.a", "headers", "headers.a.b", "subject.0", "subject.x", "subject.1.2",
     "stream.a", "payload.a b", 'payload."a', 'payload."a"b', "payload.a{", "payload[0].a'"],
)  # fmt: skip
def test_what_is_no_path(text: str) -> None:
    """It is refused where the file is read, with the text and how it is written."""
    with pytest.raises(ValueError, match=r"path|begins|behind|names no"):
        parse_path(text)


@pytest.mark.parametrize(
    "tests, value, holds",
    [
        ({"equals": 1}, 1, True), ({"equals": 1}, 1.0, True), ({"equals": 1}, True, False), ({"equals": "1"}, 1, False),
        ({"not_equals": 1}, 2, True), ({"not_equals": 1}, 1, False), ({"not_equals": 1}, ..., True),
        ({"in": ["a", 2]}, 2, True), ({"in": ["a"]}, "b", False), ({"in": [1]}, True, False),
        ({"exists": True}, 0, True), ({"exists": True}, ..., False), ({"exists": False}, ..., True),
        ({"above": 1}, 2, True), ({"above": 1}, 1, False), ({"at_least": 1}, 1, True), ({"below": 1}, 0.5, True),
        ({"at_most": 1}, 1, True), ({"at_most": 1}, 2, False), ({"above": 0}, "1", False), ({"above": 0}, True, False),
        ({"above": 0, "below": 3}, 2, True), ({"above": 0, "below": 3}, 3, False),
        ({"starts_with": "a"}, "ab", True), ({"ends_with": "b"}, "ab", True), ({"contains": "x"}, "ab", False),
        ({"contains": "x"}, ["x"], False), ({"equals": 1}, ..., False), ({"above": 0}, ..., False),
    ],
)  # fmt: skip
def test_conditions(tests: dict[str, Any], value: Any, holds: bool) -> None:
    """A missing value, or one of another type, meets no condition but `exists = false` and `not_equals`."""
    condition = "".join(f"{name} = {json.dumps(wanted)}\n" for name, wanted in tests.items())
    mapping = only(CORE + f'[[routes.filter]]\npath = "payload.v"\n{condition}')
    payload = {} if value is ... else {"v": value}
    assert (mapping.apply(message(payload), b"raw") is not None) == holds


def route(text: str, target: str = 'subject = "b"') -> str:
    return f'[[routes]]\nname = "a"\nsubject = "a"\n{text}\n[routes.target]\n{target}\n'


@pytest.mark.parametrize(
    "text, where, what",
    [
        ("", "routes", "there is none"),
        ("x = ", "", "no TOML"),
        ("flow = 1\n" + CORE, "flow", "no such key; there are router, routes"),
        ('[router]\nnames = "a"\n' + CORE, "router.names", "no such key"),
        ("[router]\nname = 1\n" + CORE, "router.name", "must be a text"),
        ("routes = [1]", "routes[0]", "must be a table"),
        ("[[routes]]\nname = 'a'", "routes[0].subject", "is missing"),
        ("[[routes]]\nname = 'a'\nsubject = 'b'", "routes[0].target", "is missing"),
        (route("concurency = 2"), "routes[0].concurency", "no such key"),
        (route("concurrency = true"), "routes[0].concurrency", "must be a whole number"),
        (route("rate = 'fast'"), "routes[0].rate", "must be a number"),
        (route("payload = 'xml'"), "routes[0].payload", "must be one of"),
        (route("payload = 'text'\ntransform = '{payload.a}'"), "routes[0].payload", "looks into it"),
        (route("payload = 'bytes'\ntransform = '{payload}'"), "routes[0].payload", "looks into it"),
        (route("retry = {max_deliver = 0}"), "routes[0].retry", "max_deliver"),
        (route("retry = {delays = [1]}"), "routes[0].retry.delays", "no such key"),
        (route("filter = [{path = 'payload.a'}]"), "routes[0].filter[0]", "compares payload.a with nothing"),
        (route("filter = [{above = 1}]"), "routes[0].filter[0]", "a table with a path"),
        (route("filter = [{path = 'a', above = 1}]"), "routes[0].filter[0].path", "begins with"),
        (route("filter = [{path = 1, above = 1}]"), "routes[0].filter[0].path", "no path"),
        (route("filter = [{path = 'payload.a', over = 1}]"), "routes[0].filter[0].over", "no such comparison"),
        (route("filter = [{path = 'payload.a', in = []}]"), "routes[0].filter[0].in", "at least one"),
        (route("transform = {at = 2024-01-01}"), "routes[0].transform.at", "which JSON has not"),
        (route("transform = {a = ['{payload.a']}"), "routes[0].transform.a[0]", "belongs to no path"),
        (route("transform = '{eval(1)}'"), "routes[0].transform", "path"),
        (route("transform = '{payload.__class__()}'\nfilter = [1]"), "routes[0].filter[0]", "a table"),
        (route("", "subject = 'a.*'"), "routes[0].target.subject", "wildcard"),
        (route("", "subject = 1"), "routes[0].target.subject", "must be a text"),
        (route("", "subject = 'a.{payload.b?}'"), "routes[0].target.subject", "no empty token"),
        (route("", ""), "routes[0].target.subject", "not both"),
        (route("", "subject = 'a'\nreply = true"), "routes[0].target.subject", "not both"),
        (route("stream = 'S'", "reply = true"), "routes[0].target.reply", "no sender"),
        (route("", "subject = 'a'\nconfirm = 'yes'"), "routes[0].target.confirm", "must be one of"),
        (route("", "subject = 'a'\nheaders = {'Nats-Msg-Id' = 'x'}"), "routes[0].target.headers.Nats-Msg-Id", "itself"),
        (route("", "subject = 'a'\nheaders = {'a b' = 'x'}"), "routes[0].target.headers.a b", "header"),
        (route("", "subject = 'a'\nheaders = {A = \"x\\ny\"}"), "routes[0].target.headers.A", "line break"),
    ],
)
def test_what_is_refused(text: str, where: str, what: str) -> None:
    """Before anything runs, with the place in the file and what may stand there."""
    with pytest.raises(RouteFileError, match=what) as caught:
        read_route_file(text)
    assert caught.value.where == where


def test_files(tmp_path: FilePath) -> None:
    """A file that cannot be read, is no text, or is far too large for one, is told by its name."""
    path = tmp_path / "router.toml"
    path.write_text(FULL)
    assert load_route_file(path).name == "orders"
    with pytest.raises(RouteFileError, match=r"cannot read .*none\.toml: No such file"):
        load_route_file(tmp_path / "none.toml")
    path.write_bytes(b"\xff")
    with pytest.raises(RouteFileError, match="not UTF-8"):
        load_route_file(path)
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(RouteFileError, match="more than 1048576 bytes"):
        load_route_file(path)


@pytest.mark.parametrize(
    "text, pattern",
    [
        ("a.b", "a.b"), ("a.{payload.x}.c", "a.*.c"), ("a.x-{payload.x}.c", "a.*.c"), ("copy.{subject}", "copy.>"),
        ("copy.{subject}.end", "copy.>"), ("{subject.1}.{subject.2}", "*.*"),
    ],
)  # fmt: skip
def test_where_a_template_may_go(text: str, pattern: str) -> None:
    """What permissions and streams are asked about."""
    assert compile_text(text, "").pattern() == pattern

"""W3C Trace Context: the rules of its text, and senders that do not keep them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio import Client, Headers, Message
from beamline_trio.protocol import encode_headers
from beamline_trio.router._trace import (
    STATE_CHARACTERS_MAX,
    STATE_MEMBERS_MAX,
    TraceContext,
    TraceReader,
    cut_tracestate,
    parse_traceparent,
    parse_tracestate,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def reader(seed: int = 1) -> TraceReader:
    return TraceReader(random.Random(seed))


def message(*pairs: tuple[str, str], block: bytes | None = None) -> Message:
    client: Client = None  # type: ignore[assignment]  # a message that nobody answers needs none
    return Message(client, b"x", b"", None, encode_headers(Headers(pairs)) if block is None else block)


@pytest.mark.parametrize(
    "text, parsed",
    [
        (PARENT, (TRACE, SPAN, 1)),
        (f"00-{TRACE}-{SPAN}-00", (TRACE, SPAN, 0)),
        (f"00-{TRACE}-{SPAN}-03", (TRACE, SPAN, 3)),
        (f"00-{TRACE}-{SPAN}-ff", (TRACE, SPAN, 3)),
        (f"cc-{TRACE}-{SPAN}-01", (TRACE, SPAN, 1)),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", (TRACE, SPAN, 1)),
        (f"cc-{TRACE}-{SPAN}-01-", (TRACE, SPAN, 1)),
        (f"cc-{TRACE}-{SPAN}-01.later", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"00-{TRACE}-{SPAN}-01-", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-0", None),
        (f"00-{TRACE}-{SPAN}-0x", None),
        (f"00-{TRACE[1:]}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}1-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f" {PARENT}", None),
        (f"{PARENT}\n", None),
        ("00-٤bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("", None),
    ],
)
def test_traceparent_by_its_text(text: str, parsed: tuple[str, str, int] | None) -> None:
    """Version 00 exactly, later ones as far as this one knows them, lowercase only, no zeros, no ff."""
    assert parse_traceparent(text) == parsed


@pytest.mark.parametrize(
    "values, members",
    [
        (["a=1"], ["a=1"]),
        (["a=1,b=2"], ["a=1", "b=2"]),
        (["a=1", "b=2"], ["a=1", "b=2"]),
        ([" a=1 \t,, b=2,"], ["a=1", "b=2"]),
        (["tenant@system=x", "0a_-*/=x y"], ["tenant@system=x", "0a_-*/=x y"]),
        (["a=!~ +-<>"], ["a=!~ +-<>"]),
        ([""], []),
        (["a" * 256 + "=" + "b" * 256], ["a" * 256 + "=" + "b" * 256]),
        (["a" * 257 + "=1"], None),
        (["a=" + "b" * 257], None),
        (["a=1,a=2"], None),
        (["A=1"], None),
        (["a = 1"], None),
        (["a"], None),
        (["a="], None),
        (["=1"], None),
        (["a=1=2"], None),
        (["a=\u00fc"], None),
        (["a=\x00"], None),
        ([",".join(f"k{number}=1" for number in range(32))], [f"k{number}=1" for number in range(32)]),
        ([",".join(f"k{number}=1" for number in range(33))], None),
        ([" " * 100_000], None),
    ],
)
def test_tracestate_by_its_text(values: list[str], members: list[str] | None) -> None:
    """Members of all headers in order; one that is malformed or twice, or too many, and none is kept."""
    assert parse_tracestate(values) == members


def test_a_long_tracestate_is_cut_by_whole_members() -> None:
    """What fits stays whole; members of more than 128 characters go first, then the last ones."""
    short = [f"k{number:02}={'x' * 16}" for number in range(32)]
    assert cut_tracestate(short[:20]) == short[:20]
    assert cut_tracestate(short) == short[: (512 + 1) // 21]
    long = [f"l{number}={'x' * 200}" for number in range(2)]
    assert cut_tracestate([long[0], *short[:10], long[1]]) == [long[0], *short[:10]]
    assert cut_tracestate([long[0], *short[:20], long[1]]) == short[:20]
    assert cut_tracestate([f"a={'x' * 256}", f"b={'x' * 256}"]) == [f"a={'x' * 256}"]


def test_a_delivery_is_a_span_of_its_messages_trace() -> None:
    """The same trace, the sender as the parent, a span id of the given PRNG, and the state as it came."""
    context = reader().read(message(("Traceparent", PARENT), ("Tracestate", "a=1"), ("tracestate", "b=2")))
    assert context is not None
    span_id = f"{random.Random(1).getrandbits(64):016x}"
    expected = TraceContext(trace_id=TRACE, span_id=span_id, parent_id=SPAN, flags=1, state="a=1,b=2")
    assert context == expected
    assert context.sampled
    assert context.traceparent == f"00-{TRACE}-{span_id}-01"
    assert context.inject(None) == Headers({"traceparent": context.traceparent, "tracestate": "a=1,b=2"})


def test_a_handlers_own_trace_is_left_alone() -> None:
    """Headers with a traceparent stay; others are kept beside the trace, and a state without its parent goes."""
    context = TraceContext(trace_id=TRACE, span_id=SPAN, parent_id=SPAN)
    own = Headers({"TraceParent": PARENT})
    assert context.inject(own) is own
    given_headers = Headers({"K": "v", "tracestate": "a=1"})
    assert context.inject(given_headers) == Headers({"K": "v", "traceparent": context.traceparent})
    assert "tracestate" in given_headers


def test_messages_without_a_trace_have_none() -> None:
    """No headers, other headers, and the name within a value count as nothing."""
    traces = reader()
    client: Client = None  # type: ignore[assignment]
    for one in (Message(client, b"x", b"", None, None), message(("K", "v")), message(("K", "traceparent"))):
        assert traces.read(one) is None
    assert (traces.parents_ignored, traces.states_ignored, traces.states_cut) == (0, 0, 0)


def test_what_is_ignored_is_counted() -> None:
    """A malformed or repeated parent ends the trace; a malformed state only itself; a long one is cut."""
    traces = reader()
    assert traces.read(message(("traceparent", "x"))) is None
    assert traces.read(message(("traceparent", PARENT), ("Traceparent", PARENT))) is None
    assert traces.parents_ignored == 2
    bad = traces.read(message(("traceparent", PARENT), ("tracestate", "x")))
    assert bad is not None
    assert bad.state == ""
    assert traces.states_ignored == 1
    cut = traces.read(message(("traceparent", PARENT), ("tracestate", f"a={'x' * 256},b={'x' * 256}")))
    assert cut is not None
    assert cut.state == f"a={'x' * 256}"
    assert traces.states_cut == 1


PIECES = st.sampled_from(
    ["00", "-", TRACE, SPAN, "01", "ff", "a=1", ",", "=", " ", "\t", "\xff", "\x00", "x" * 300, ":"]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.text(st.characters(exclude_characters="\r\n"), max_size=80)


@given(
    st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "TRACESTATE"]), TEXTS), max_size=40), st.booleans()
)
def test_hostile_headers_never_raise_and_never_grow(pairs: list[tuple[str, str]], valid: bool) -> None:
    """Whatever is sent: a context within the limits that can be sent on, or none."""
    block = "".join(f"{name}:{value}\r\n" for name, value in [("traceparent", PARENT)] * valid + pairs)
    wire = b"NATS/1.0\r\n" + block.encode("utf-8", "surrogatepass") + b"\r\n"
    context = reader().read(message(block=wire))
    if context is None:
        return
    again = reader(2).read(message(*context.inject(None).items()))
    assert again is not None
    assert (again.trace_id, again.parent_id, again.state) == (context.trace_id, context.span_id, context.state)
    assert len(context.state) <= STATE_CHARACTERS_MAX
    assert context.state.count(",") < STATE_MEMBERS_MAX


@given(flags=st.lists(st.sampled_from([0, 1, 3]), min_size=1, max_size=5), seed=st.integers(0, 5))
def test_a_batch_begins_a_trace_that_is_sampled_if_one_of_its_messages_is(flags: list[int], seed: int) -> None:
    """Another trace than any of theirs, without a parent and a state, and a header that can be read."""
    read = reader(seed)
    links = [
        read.read(message(("traceparent", f"00-{TRACE}-{SPAN}-{one:02x}"), ("tracestate", "a=1"))) for one in flags
    ]
    joined = read.join([link for link in links if link is not None])
    assert joined is not None
    assert (joined.parent_id, joined.state, joined.sampled) == ("", "", any(one & 1 for one in flags))
    assert parse_traceparent(joined.traceparent) == (joined.trace_id, joined.span_id, int(joined.sampled))
    assert joined.trace_id != TRACE


def test_a_batch_without_traces_begins_none() -> None:
    """As a message without one."""
    assert reader().join([]) is None

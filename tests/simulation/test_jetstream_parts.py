"""The pure parts of the simulated JetStream: Go's JSON and times, the store of a stream, a consumer's books."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beamline_trio.simulation._server._jetstream import _acks, _golang
from beamline_trio.simulation._server._jetstream import _headers as headers
from beamline_trio.simulation._server._jetstream._consumer_state import ConsumerState
from beamline_trio.simulation._server._jetstream._errors import api_error
from beamline_trio.simulation._server._jetstream._golang import SECOND, GoError
from beamline_trio.simulation._server._jetstream._messages import Messages, StoreFullError
from beamline_trio.simulation._server._jetstream._pulls import PullQueue, PullRequest
from beamline_trio.simulation._server._jetstream._stream_config import StreamConfig

# ------------------------------------------------------------------------------------------------------------- Go

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_what_is_encoded_can_be_read_and_has_no_markup(value: object) -> None:
    """JSON of Go means the same as any other, without `<`, `>` and `&`."""
    text = _golang.encode(value)
    assert json.loads(text) == value
    assert not any(char in text for char in b"<>&")


@given(st.integers(1, 4_000_000_000), st.integers(0, SECOND - 1))
def test_a_moment_is_read_as_it_was_written(seconds: int, rest: int) -> None:
    """RFC 3339 with up to nine digits, none of them a zero at the end."""
    moment = seconds * SECOND + rest
    text = _golang.timestamp(moment)
    assert _golang.parse_time(text) == moment
    assert text.startswith(datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    assert not text.endswith("0Z") or "." not in text


def test_moments_and_durations_in_gos_words() -> None:
    """The zero time, offsets, and durations of every unit."""
    assert _golang.timestamp(0) == "0001-01-01T00:00:00Z"
    assert _golang.parse_time("0001-01-01T00:00:00Z") == 0
    assert _golang.parse_time("1970-01-01T01:00:01+01:00") == SECOND
    for text, nanoseconds in (
        ("0s", 0),
        ("5ns", 5),
        ("1.5ms", 1_500_000),
        ("2\u00b5s", 2000),
        ("1s", SECOND),
        ("1m30.5s", 90_500_000_000),
        ("1h0m1s", 3601 * SECOND),
    ):
        assert _golang.duration(nanoseconds) == text
        assert _golang.parse_duration(text) == nanoseconds
    assert _golang.parse_duration("-1h") == -3600 * SECOND
    assert _golang.parse_duration("0") == 0
    for bad in ("", "1", "x", "1s ", "s"):
        with pytest.raises(GoError, match="invalid duration"):
            _golang.parse_duration(bad)
    with pytest.raises(GoError, match="parsing time"):
        _golang.parse_time("yesterday")


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "unexpected EOF"),
        (b"xx", "invalid character 'x' looking for beginning of value"),
        (b"{x", "invalid character 'x' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 2}', "invalid character '2' after object key:value pair"),
        (b'{"l":[1 2]}', "invalid character '2' after array element"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b'{"s":"x', "unexpected EOF"),
        (b"'", "invalid character '\\\\'' looking"),
        (b"[]", "cannot unmarshal array into Go value of type server.T"),
        (b'{"i":"x"}', "cannot unmarshal string into Go struct field T.i of type int"),
        (b'{"i":1.5}', "cannot unmarshal number 1.5 into Go struct field T.i of type int"),
        (b'{"s":1}', "cannot unmarshal number into Go struct field T.s of type string"),
        (b'{"d":true}', "cannot unmarshal bool into Go struct field T.d of type time.Duration"),
        (b'{"o":1}', "cannot unmarshal number 1 into Go struct field T.o of type server.object"),
        (b'{"o":{"b":1}}', "cannot unmarshal number into Go struct field T.o.b of type bool"),
        (b'{"l":{}}', r"cannot unmarshal object into Go struct field T.l of type \[\]int"),
        (b'{"l":["x"]}', "cannot unmarshal string into T.l.0 of type int"),
        (b'{"m":[]}', r"cannot unmarshal array into Go struct field T.m of type map\[string\]string"),
        (b'{"t":1}', "Time.UnmarshalJSON: input is not a JSON string"),
        (b'{"u":-1}', "cannot unmarshal number -1 into Go struct field T.u of type uint64"),
    ],
)
def test_what_cannot_be_read_is_refused_in_gos_words(text: bytes, words: str) -> None:
    """Each kind of mistake has the words of encoding/json."""
    shape = {"i": "int", "s": "string", "d": "duration", "o": {"b": "bool"}, "l": "[]int", "m": "map", "t": "time"}
    with pytest.raises(GoError, match=words):
        _golang.decode(text, {**shape, "u": "uint64"}, "T")


def test_what_can_be_read() -> None:
    """Names in any case, and neither unknown fields nor nulls."""
    shape = {"a": "int", "b": "any", "m": "map", "l": "[]string"}
    text = b'{"A":1,"b":[1],"c":2,"m":{"x":"y"},"l":["a",null]}'
    assert _golang.decode(text, shape, "T") == {"a": 1, "b": [1], "m": {"x": "y"}, "l": ("a",)}
    assert _golang.decode(b"null", shape, "T") == {}
    assert _golang.decode(b'{"a":null}', shape, "T") == {}


# -------------------------------------------------------------------------------------------------------- headers


def test_headers_are_found_by_their_exact_name() -> None:
    """The first one counts, blanks around the value do not."""
    block = b"NATS/1.0\r\nNats-Msg-Id:  a b \r\nnats-ttl: 5\r\nNats-Msg-Id: c\r\nNats-Rollup:\r\n\r\n"
    assert headers.find(block, headers.MESSAGE_ID) == b"a b"
    assert headers.find(block, headers.TTL) is None
    assert headers.find(block, headers.ROLLUP) == b""
    assert headers.number(block, headers.MESSAGE_ID) == -1
    assert headers.number(block, headers.TTL) is None
    assert headers.with_size_only(b"", 3) == b"NATS/1.0\r\nNats-Msg-Size: 3\r\n\r\n"


@given(
    st.lists(
        st.sampled_from(
            ["Nats-Msg-Id", "Nats-Msg-Id-2", "Nats-Rollup", "Nats-TTL", "nats-msg-id", "Other", "X-Nats-TTL"]
        )
    )
)
def test_an_identity_alone_is_told_from_all_else_that_a_stream_reads(names: list[str]) -> None:
    """Other headers do not count, but for those that begin as JetStream's do."""
    header = "".join(["NATS/1.0\r\n", *(f"{name}: 1\r\n" for name in names), "\r\n"]).encode()
    ours = [name for name in names if name.startswith("Nats-")]
    assert headers.has_only_an_identity(header) == (ours == ["Nats-Msg-Id"])


def test_naks_and_reply_subjects() -> None:
    """Both forms of the subject mean the same; a delay that cannot be read is none."""
    assert _acks.read_subject(b"$JS.ACK.S.C.1.2.3.4.5") == _acks.Delivered(1, 2, 3)
    assert _acks.read_subject(b"$JS.ACK._.h.S.C.1.2.3.4.5.more") == _acks.Delivered(1, 2, 3)
    assert _acks.read_subject(b"$JS.ACK.S.C.1") == _acks.Delivered(0, 0, 0)
    assert _acks.read_subject(b"$JS.ACK.S.C.x.2.3.4.5") == _acks.Delivered(0, 2, 3)
    assert [_acks.nak_delay(text) for text in (b"", b" 1s", b'{"delay":5}', b"{}", b"x", b"{x")] == [
        None,
        SECOND,
        5,
        0,
        None,
        None,
    ]


def test_a_refusal_has_its_words() -> None:
    """The gap in a text is filled."""
    assert api_error(10071, 5).fields() == {"code": 400, "err_code": 10071, "description": "wrong last sequence: 5"}


# -------------------------------------------------------------------------------------------------------- a store

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(0, 3), st.integers(0, 30)),
        st.tuples(st.just("remove"), st.integers(1, 30), st.just(0)),
        st.tuples(st.just("purge"), st.integers(0, 4), st.integers(0, 3)),
        st.tuples(st.just("skip"), st.just(0), st.just(0)),
    ),
    max_size=40,
)
LIMITS = st.fixed_dictionaries(
    {
        "max_msgs": st.sampled_from([-1, 3]),
        "max_bytes": st.sampled_from([-1, 150]),
        "max_msgs_per_subject": st.sampled_from([-1, 2]),
        "discard": st.sampled_from(["old", "new"]),
        "storage": st.sampled_from(["file", "memory"]),
    }
)


@given(LIMITS, STEPS)
@example({}, [*[("store", 0, 1)] * 6, ("purge", 1, 1)])  # the sequence that is named stays
@example({}, [*[("store", 0, 1)] * 6, ("purge", 4, 1)])
def test_a_store_is_what_is_in_it(limits: dict[str, object], steps: list[tuple[str, int, int]]) -> None:
    """After any steps all numbers of a store are those of its messages, its limits hold, and its copy is the same."""
    messages = Messages(StreamConfig(name="S", **limits))  # type: ignore[arg-type]
    gone: list[int] = []
    messages.removed = lambda message: gone.append(message.sequence)
    for number, (what, one, two) in enumerate(steps, 1):
        before = messages.last_sequence
        if what == "store":
            try:
                messages.store(b"s.%d" % one, b"h" * (two % 3), b"x" * two, number, 0)
            except StoreFullError:
                assert messages.last_sequence == before
        elif what == "remove":
            there = messages.get(one) is not None
            assert messages.remove(one) is there
            assert one in gone or not there
        elif what == "skip":
            messages.skip(number)
        elif one:
            purge(messages, b"s.*" if one == 4 else b"s.%d" % (one - 1), 5 * (two % 2), two)
        else:
            messages.purge(below=two)
        check_store(messages)
    check_store(messages.copy())


def purge(messages: Messages, pattern: bytes, below: int, keep: int) -> None:
    """Those go that are on its subject and below a sequence, but for the last ones."""
    before = list(messages)
    meant = [one for one in before if pattern in (one.subject, b"s.*")]
    meant = [one for one in meant if not below or one.sequence < below]
    meant = meant[:-keep] if keep else meant
    assert messages.purge(pattern, below, keep) == len(meant)
    assert list(messages) == [one for one in before if one not in meant]


def check_store(messages: Messages) -> None:
    there = list(messages)
    config = messages.config
    sequences = [message.sequence for message in there]
    assert sequences == sorted(sequences)
    assert messages.bytes == sum(message.size for message in there)
    assert sum(messages.subjects.values()) == len(messages) == len(there)
    assert messages.count_from(0, ()) == len(there)
    if there:
        assert messages.first_sequence == sequences[0]
        assert messages.last_sequence >= sequences[-1]
        assert messages.deleted() == [
            at for at in range(sequences[0], messages.last_sequence + 1) if at not in sequences
        ]
    elif messages.last_sequence:
        assert messages.first_sequence == messages.last_sequence + 1
    for subject, count in messages.subjects.items():
        of_subject = [message for message in there if message.subject == subject]
        assert (len(of_subject), messages.last_of(subject)) == (count, of_subject[-1])
        assert messages.next(0, (subject,)) is of_subject[0]
        assert not 0 < config.max_msgs_per_subject < count
    assert not 0 < config.max_msgs < len(messages)
    assert not 0 < config.max_bytes < messages.bytes or config.discard == "old"


def test_messages_expire_by_their_own_time_and_the_streams() -> None:
    """The shorter one counts; `never` is stronger than the stream's age."""
    messages = Messages(StreamConfig(name="S", max_age=10 * SECOND))
    for ttl_seconds in (headers.NEVER, 3, 20, 0):
        messages.store(b"s", b"", b"", SECOND, ttl_seconds)
    assert messages.next_expiry() == 4 * SECOND
    assert messages.expire(4 * SECOND) == (1, [])
    assert messages.next_expiry() == 11 * SECOND
    assert messages.expire(11 * SECOND) == (2, [])
    assert [message.sequence for message in messages] == [1]
    assert messages.next_expiry() == 0


# ---------------------------------------------------------------------------------------------------- the books


@given(
    st.lists(st.one_of(st.just("deliver"), st.integers(1, 20), st.integers(-20, -1)), max_size=60),
    st.booleans(),
)
def test_everything_up_to_the_floor_is_acknowledged(steps: list[str | int], explicit: bool) -> None:
    """The floors are those of a naive count; what is kept of the books goes on in the same way."""
    state = ConsumerState(1)
    open_: dict[int, int] = {}
    for number, step in enumerate(steps, 1):
        if step == "deliver":
            open_[state.next_stream] = state.next_consumer
            state.next_stream += 1
            state.delivered(state.next_stream - 1, number, acknowledges=True)
        elif isinstance(step, int) and step > 0 and step < state.next_stream:
            done = state.acknowledge(step) if explicit else state.acknowledge_all(step, step)
            expected = {one for one in open_ if one == step or (one < step and not explicit)}
            assert set(done or ()) == expected & set(open_)
            for one in done or ():
                del open_[one]
        elif isinstance(step, int) and -step in open_:
            state.give_up(-step, 3)
            del open_[-step]
            assert state.redelivered[-step] == 3
        assert list(state.pending) == list(open_)
        assert all(one > state.floor_stream for one in open_)
        if not open_ and explicit:
            assert state.floor_stream == state.last_stream
        assert state.kept_stream <= state.floor_stream
    kept = state.stored()
    assert (kept.pending.keys(), kept.next_consumer) == (state.pending.keys(), state.next_consumer)
    assert kept.floor_stream == state.kept_stream


# ---------------------------------------------------------------------------------------------------------- pulls


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_those_who_wait_are_served_in_turn_until_they_have_enough(batches: list[int]) -> None:
    """Each gets as many messages as it asked for, and nobody two in a row while another waits."""
    queue = PullQueue(len(batches))
    for number, batch in enumerate(batches):
        assert not queue.full
        queue.add(PullRequest(b"%d" % number, b"%d" % batch, 0))
    assert queue.full
    served: list[bytes] = []
    while (request := queue.peek()) is not None:
        waiting = len(queue)
        assert waiting == 1 or not served or served[-1] != request.reply or waiting < 2
        served.append(request.reply)
        queue.use(request)
    assert [served.count(b"%d" % number) for number in range(len(batches))] == batches
    assert len(queue) == 0


@pytest.mark.parametrize("body", [b"", b" ", b"x", b"1", b'{"batch":1}'])
def test_a_pull_without_a_number_is_for_one_message(body: bytes) -> None:
    """As the server reads it."""
    request = PullRequest(b"r", body, 5)
    assert (request.left, request.expires, request.heartbeat_due) == (1, 0, 0)

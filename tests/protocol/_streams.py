"""Legal streams of a server, for hypothesis and for loops: every verb, every shape of a line that a server may send."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

_BLANKS: Final = b" \t\r\n"
# Ordinary lines are drawn more often than odd ones: the fast paths need their share.
_GAPS: Final = st.sampled_from([b" ", b"  ", b"\t", b" \t "])
_TAILS: Final = st.sampled_from([b"", b" ", b"\t "])
_SIDS: Final = st.sampled_from([b"1", b"1", b"2", b"37", b"99", b"sid"])  # the last two have no route
_PLAIN_SUBJECTS: Final = st.sampled_from(
    [b"a", b"orders.7.created", b"_INBOX.x.1", "größe.€".encode(), b"caf\xe9.\xff"]
)
_ANY_SUBJECTS: Final = st.binary(min_size=1, max_size=8).map(
    lambda raw: bytes(c for c in raw if c not in _BLANKS) or b"s"
)
subjects: Final = st.one_of(_PLAIN_SUBJECTS, _PLAIN_SUBJECTS, _ANY_SUBJECTS)
payloads: Final = st.one_of(
    st.just(b""),
    st.binary(max_size=24),
    st.integers(1, 8).map(lambda n: b"\r\n" * n),
    st.sampled_from([b"\r", b"\n", b"PING\r\n", b"MSG a 1 1\r\nx\r\n", b"\r\nMSG a 1 3\r\n", b"-ERR 'x'\r\n"]),
)
header_blocks: Final = st.sampled_from(
    [
        b"NATS/1.0\r\n\r\n",
        b"NATS/1.0\r\nTrace: a\r\nTrace: b\r\n\r\n",
        b"NATS/1.0\r\nName:\r\nOther:  padded \t\r\n\r\n",
        b"NATS/1.0 503\r\n\r\n",
        b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 7\r\n\r\n",
        b"NATS/1.0 204 \r\nX: \xff\xfe\r\n\r\n",
    ]
)
broken_header_blocks: Final = st.sampled_from(
    [
        b"",
        b"NATS/1.0\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0\r\n: no name\r\n\r\n",
        b"NATS/2.0\r\n\r\n",
        b"NATS/1.0 50\r\n\r\n",
        b"NATS/1.0 5033\r\n\r\n",
        b"NATS/1.0\r\nA: b\rc\r\n\r\n",
        b"NATS/1.0\r\nA: b\r\n\r\nrest",
        b"GET / HTTP/1.1\r\n\r\n",
    ]
)


@st.composite
def verbs(draw: st.DrawFn, name: str) -> bytes:
    """A verb, mostly in capitals, else in any case."""
    if draw(st.integers(0, 2)):
        return name.encode()
    return "".join(draw(st.sampled_from([char.upper(), char.lower()])) for char in name).encode()


@st.composite
def _lines(draw: st.DrawFn, *fields: bytes) -> bytes:
    """Fields parted by runs of blanks, mostly by one space everywhere."""
    if draw(st.integers(0, 2)):
        return b" ".join(fields) + b"\r\n"
    first, *others = fields
    return first + b"".join(draw(_GAPS) + field for field in others) + draw(_TAILS) + b"\r\n"


@st.composite
def message_runs(draw: st.DrawFn) -> bytes:
    """MSG: one message, or several running whose lines are equal."""
    reply = [draw(subjects)] if draw(st.integers(0, 3)) == 0 else []
    first = draw(payloads)
    size = b"%d" % len(first)
    if draw(st.integers(0, 9)) == 0:
        size = size.zfill(draw(st.integers(1, 10)))
    line = draw(_lines(draw(verbs("MSG")), draw(subjects), draw(_SIDS), *reply, size))
    more = draw(st.lists(st.binary(min_size=len(first), max_size=len(first)), max_size=4))
    return b"".join(line + payload + b"\r\n" for payload in [first, *more])


@st.composite
def header_messages(draw: st.DrawFn) -> bytes:
    """HMSG; now and then its block is broken, which costs the message and not the stream."""
    reply = [draw(subjects)] if draw(st.booleans()) else []
    block = draw(st.one_of(header_blocks, header_blocks, broken_header_blocks))
    payload = draw(payloads)
    sizes = (b"%d" % len(block), b"%d" % (len(block) + len(payload)))
    line = draw(_lines(draw(verbs("HMSG")), draw(subjects), draw(_SIDS), *reply, *sizes))
    return line + block + payload + b"\r\n"


@st.composite
def controls(draw: st.DrawFn) -> bytes:
    """Everything that is no message."""
    name, rest = draw(
        st.sampled_from(
            [
                ("PING", b""),
                ("PONG", b""),
                ("+OK", b""),
                ("INFO", b"{}"),
                ("INFO", b'{"server_id":"NA","max_payload":1024,"connect_urls":["a:1","b:2"],"x":[null,1.5]}'),
                ("-ERR", b"'Stale Connection'"),
                ("-ERR", b"'Permissions Violation for Publish to \"a\"'"),
                ("-ERR", b"'caf\xe9'"),
            ]
        )
    )
    verb = draw(verbs(name))
    return draw(_lines(verb, rest)) if rest else verb + draw(_TAILS) + b"\r\n"


operations: Final = st.one_of(message_runs(), message_runs(), header_messages(), controls())
"""One complete operation, or a run of equal ones."""

# For loops that cannot afford hypothesis: what the strategies above make, as a fixed list.
OPERATIONS: Final = (
    b"MSG a 1 5\r\nhello\r\n",
    b"MSG a 1 5\r\nhello\r\nMSG a 1 5\r\nworld\r\n",
    b"MSG a 1 3\r\nabc\r\nMSG a 1 3\r\n\r\n\r\r\nMSG a 1 3\r\nghi\r\nMSG a 1 3\r\njkl\r\n",
    b"MSG orders.7.created 2 0\r\n\r\n" * 3,
    b"MSG a 99 1\r\nx\r\n" * 2,
    b"MSG a 1 _INBOX.x.1 2\r\n\r\n\r\n" * 2,
    b"MSG  a 1  4\r\nPING\r\n",
    b"msg\ta\t2\t6\r\nPING\r\n\r\n" * 2,
    b"MSG caf\xe9.\xff 37 007\r\n\r\nMSG \r\r\n",
    b"MSG big 37 40\r\n" + b"MSG a 1 3\r\n" * 3 + b"1234567\r\n",
    b"HMSG a 1 12 12\r\nNATS/1.0\r\n\r\n\r\n",
    b"HMSG a 1 r 22 25\r\nNATS/1.0\r\nA: 1\r\nB:\r\n\r\nxyz\r\n",
    b"HMSG a 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
    b"hmsg  a  1  38  38 \r\nNATS/1.0 100 Idle Heartbeat\r\nA: 12\r\n\r\n\r\n",
    b"HMSG a 1 15 17\r\nNATS/1.0\r\nX\r\n\r\nzz\r\n",
    b"HMSG a 1 0 2\r\nzz\r\n",
    b"PING\r\n",
    b"pong \r\n",
    b"+OK\r\n",
    b"INFO {}\r\n",
    b'INFO {"server_id":"NA","max_payload":64,"connect_urls":["a:1"],"x":{"y":[1,2e3,null]}}\r\n',
    b"-ERR 'Stale Connection'\r\n",
    b"-err\t'Permissions Violation for Publish to \"a\"' \r\n",
)

"""Laws of what faults say in a server's name: a client that knows the server's words understands them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio import AuthorizationError, PermissionsError
from beamline_trio.faults._faults import NO_RESPONDERS
from beamline_trio.faults._operations import Operation, OperationKind, operation_of
from beamline_trio.faults._refusals import quoted, refuse
from beamline_trio.faults._splitter import split_to_server
from beamline_trio.protocol import server_error

subjects = st.binary(min_size=1, max_size=12).filter(lambda text: not any(byte in text for byte in b" \t\r\n\f"))
texts = st.text(min_size=1, max_size=8).filter(lambda text: not any(char in text for char in " \t\r\n\f"))


@given(subject=st.one_of(subjects, texts.map(str.encode)), queue_group=st.none() | subjects)
def test_a_refusal_names_its_subject(subject: bytes, queue_group: bytes | None) -> None:
    """Whatever bytes it has: the client reads the subject and queue group that the operation had."""
    publishing = (OperationKind.PUBLISH, OperationKind.ACK, OperationKind.NAK)
    for kind, name in (*((kind, "publish") for kind in publishing), (OperationKind.SUBSCRIBE, "subscription")):
        group = queue_group if kind is OperationKind.SUBSCRIBE else None
        refusal = refuse(Operation(kind, subject, queue_group=group), None, ())
        line = refusal.data
        assert line.startswith(b"-ERR '")
        assert line.endswith(b"'\r\n")
        assert line.count(b"\n") == 1
        error = server_error(line[5:].decode())
        assert isinstance(error, PermissionsError)
        assert error.operation == name
        assert error.subject.encode("utf-8", "surrogateescape") == subject
        assert (error.queue_group or "").encode("utf-8", "surrogateescape") == (group or b"")
        assert not refusal.ends


@pytest.mark.parametrize(
    "subject,shown",
    [
        (b"orders.7", rb'"orders.7"'),
        (b'a"b\\c', rb'"a\"b\\c"'),
        (b"\xff\x01\x7f", rb'"\xff\x01\x7f"'),
        ("\u200b\u00e9\U0001f600\U000e0001".encode(), '"\\u200b\u00e9\U0001f600\\U000e0001"'.encode()),
        (b"\a\b\v", rb'"\a\b\v"'),
    ],
)
def test_subjects_are_quoted_as_go_does(subject: bytes, shown: bytes) -> None:
    """%q of nats-server."""
    assert quoted(subject) == shown


def test_a_refused_connect_is_an_authorization_error() -> None:
    """And the connection ends."""
    refusal = refuse(Operation(OperationKind.CONNECT), None, ())
    assert isinstance(server_error(refusal.data[5:].decode()), AuthorizationError)
    assert refusal.ends


@pytest.mark.parametrize(
    "reason,error",
    [
        (None, b'"code":503,"err_code":10077,"description":"maximum messages exceeded"'),
        ("wrong last sequence: 7", b'"code":400,"err_code":10071,"description":"wrong last sequence: 7"'),
        ("insufficient resources", b'"code":503,"err_code":10023,"description":"insufficient resources"'),
        ('a "new" one', b'"code":503,"err_code":10077,"description":"a \\"new\\" one"'),
    ],
)
def test_a_stream_refuses_by_its_error(reason: str | None, error: bytes) -> None:
    """On the reply subject, to each subscription; with the codes that nats-server has for the text."""
    refusal = refuse(Operation(OperationKind.PUBLISH_WITH_ACK, b"orders.7", b"_INBOX.1"), reason, (b"3", b"8"))
    body = b'{"error":{%b},"stream":"","seq":0}' % error
    assert refusal.data == b"".join(b"MSG _INBOX.1 %b %d\r\n%b\r\n" % (sid, len(body), body) for sid in (b"3", b"8"))
    assert not refusal.ends


PUBLISHING = [OperationKind.PUBLISH, OperationKind.PUBLISH_WITH_ACK, OperationKind.ACK, OperationKind.NAK]


@pytest.mark.parametrize("kind", PUBLISHING)
def test_nobody_is_there(kind: OperationKind) -> None:
    """The status 503 for one subscription; who asked for no reply hears nothing."""
    refusal = refuse(Operation(kind, b"a", b"_INBOX.1"), NO_RESPONDERS, (b"3", b"8"))
    assert refusal.data == b"HMSG _INBOX.1 3 33 33\r\nNATS/1.0 503\r\nNats-Subject: a\r\n\r\n\r\n"
    assert not refusal.ends
    assert refuse(Operation(kind, b"a"), NO_RESPONDERS, ()).data == b""
    assert refuse(Operation(kind, b"a", b"_INBOX.1"), NO_RESPONDERS, ()).data == b""


@pytest.mark.parametrize(
    "line,operation",
    [
        (b"CONNECT {}\r\n", Operation(OperationKind.CONNECT)),
        (b"SUB a 1\r\n", Operation(OperationKind.SUBSCRIBE, b"a")),
        (b"SUB a q 1\r\n", Operation(OperationKind.SUBSCRIBE, b"a", queue_group=b"q")),
        (b"PUB a 0\r\n\r\n", Operation(OperationKind.PUBLISH, b"a")),
        (b"pub a r 0\r\n\r\n", Operation(OperationKind.PUBLISH, b"a", b"r")),
        (b"HPUB a 0 0\r\n\r\n", Operation(OperationKind.PUBLISH, b"a")),
        (b"HPUB a r 0 0\r\n\r\n", Operation(OperationKind.PUBLISH, b"a", b"r")),
        (b"PUB $JS.ACK.S.c.1 0\r\n\r\n", Operation(OperationKind.ACK, b"$JS.ACK.S.c.1")),
        (b"PUB $JS.ACK.S.c.1 r 4\r\n+ACK\r\n", Operation(OperationKind.ACK, b"$JS.ACK.S.c.1", b"r")),
        (b"PUB $JS.ACK.S.c.1 9\r\n+TERM bad\r\n", Operation(OperationKind.ACK, b"$JS.ACK.S.c.1")),
        (b"PUB $JS.ACK.S.c.1 r 4\r\n+NXT\r\n", Operation(OperationKind.ACK, b"$JS.ACK.S.c.1", b"r")),
        (b"PUB $JS.ACK.S.c.1 4\r\n+WPI\r\n", Operation(OperationKind.PUBLISH, b"$JS.ACK.S.c.1")),
        (b"PUB $JS.ACK.S.c.1 4\r\n-NAK\r\n", Operation(OperationKind.NAK, b"$JS.ACK.S.c.1")),
        (b'PUB $JS.ACK.S.c.1 16\r\n-NAK {"delay":9}\r\n', Operation(OperationKind.NAK, b"$JS.ACK.S.c.1")),
        (
            b"HPUB $JS.ACK.S.c.1 r 12 16\r\nNATS/1.0\r\n\r\n-NAK\r\n",
            Operation(OperationKind.NAK, b"$JS.ACK.S.c.1", b"r"),
        ),
        (b"PUB $JS.ACK 4\r\n-NAK\r\n", Operation(OperationKind.PUBLISH, b"$JS.ACK")),
        (b"PING\r\n", None),
        (b"PONG\r\n", None),
        (b"UNSUB 1\r\n", None),
    ],
)
def test_frames_are_operations(line: bytes, operation: Operation | None) -> None:
    """What no fault meets is none."""
    frame = split_to_server().feed(line)[0].frame
    assert frame is not None
    assert operation_of(frame) == operation


def test_who_asks_for_a_reply_may_be_publishing_with_ack() -> None:
    """Of what is published with a reply; an ack that is waited for is an ack."""
    published = Operation(OperationKind.PUBLISH, b"a", b"r")
    assert [kind for kind in OperationKind if published.is_a(kind)] == ["publish", "publish_with_ack"]
    acked = Operation(OperationKind.ACK, b"$JS.ACK.S.c.1", b"r")
    assert [kind for kind in OperationKind if acked.is_a(kind)] == ["ack"]
    silent = Operation(OperationKind.PUBLISH, b"a")
    assert [kind for kind in OperationKind if silent.is_a(kind)] == ["publish"]

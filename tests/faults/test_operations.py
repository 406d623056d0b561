"""Laws of what faults say in a server's name: a client that knows the server's words understands them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio import AuthorizationError, PermissionsError
from beamline_trio.faults._operations import Operation, OperationKind, operation_of, quoted, refusal
from beamline_trio.faults._splitter import split_to_server
from beamline_trio.protocol import server_error

subjects = st.binary(min_size=1, max_size=12).filter(lambda text: not any(byte in text for byte in b" \t\r\n\f"))
texts = st.text(min_size=1, max_size=8).filter(lambda text: not any(char in text for char in " \t\r\n\f"))


@given(subject=st.one_of(subjects, texts.map(str.encode)), queue_group=st.none() | subjects)
def test_a_refusal_names_its_subject(subject: bytes, queue_group: bytes | None) -> None:
    """Whatever bytes it has: the client reads the subject and queue group that the operation had."""
    for kind, name in ((OperationKind.PUBLISH, "publish"), (OperationKind.SUBSCRIBE, "subscription")):
        group = queue_group if kind is OperationKind.SUBSCRIBE else None
        line, ends = refusal(Operation(kind, subject, queue_group=group), None)
        assert line.startswith(b"-ERR '")
        assert line.endswith(b"'\r\n")
        assert line.count(b"\n") == 1
        error = server_error(line[5:].decode())
        assert isinstance(error, PermissionsError)
        assert error.operation == name
        assert error.subject.encode("utf-8", "surrogateescape") == subject
        assert (error.queue_group or "").encode("utf-8", "surrogateescape") == (group or b"")
        assert not ends


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
    line, ends = refusal(Operation(OperationKind.CONNECT), None)
    assert isinstance(server_error(line[5:].decode()), AuthorizationError)
    assert ends


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

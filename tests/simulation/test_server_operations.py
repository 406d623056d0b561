"""What the simulated server answers to a client, byte for byte as nats-server 2.15.1 was seen to."""

from __future__ import annotations

import json

import pytest

from ._server_rig import CONNECT, Rig

UNKNOWN = b"-ERR 'Unknown Protocol Operation'\r\n"


def info(line: bytes) -> dict[str, object]:
    assert line.startswith(b"INFO ")
    assert line.endswith(b" \r\n")
    fields: dict[str, object] = json.loads(line[5:])
    return fields


def test_the_fields_of_info_in_their_order() -> None:
    """The first INFO has the server's fields in nats-server's order, the second one two more of them."""
    link = Rig().dial()
    first = info(link.take())
    assert " ".join(first) == (
        "server_id server_name version proto git_commit go host port headers max_payload client_id client_ip "
        "api_lvl xkey"
    )
    assert (first["version"], first["max_payload"], first["client_ip"]) == ("2.15.1", 1_048_576, "10.0.0.2")
    pong, second = link.talk(CONNECT + b"PING\r\n").split(b"\r\n", 1)
    assert pong == b"PONG"
    assert info(second) == {**first, "connect_info": True, "remote_account": "$G"}
    assert link.talk(b"PING\r\n") == b"PONG\r\n"


@pytest.mark.parametrize(
    "before", [b"", b'CONNECT {"verbose":false,"protocol":0}\r\n', b'CONNECT {"verbose":false}\r\n']
)
def test_no_second_info_without_protocol_1(before: bytes) -> None:
    """Who has not sent CONNECT with protocol 1 gets PONG alone."""
    link = Rig().dial()
    link.take()
    assert link.talk(before + b"PING\r\n") == b"PONG\r\n"


def test_absent_fields_of_connect_are_not_false() -> None:
    """verbose, pedantic and echo are on before CONNECT, and stay on unless it says otherwise."""
    link = Rig().dial()
    link.take()
    assert link.talk(b"SUB a 1\r\nPUB a.* 0\r\n\r\n") == b"+OK\r\n-ERR 'Invalid Publish Subject'\r\n+OK\r\n"
    assert link.talk(b"CONNECT {}\r\nSUB b 2\r\nPUB b 0\r\n\r\nUNSUB 2\r\nPING\r\n") == (
        b"+OK\r\n+OK\r\n+OK\r\nMSG b 2 0\r\n\r\n+OK\r\nPONG\r\n"
    )


def test_a_second_connect_starts_over() -> None:
    """It drops the subscriptions, keeps what it does not name, and brings no second INFO."""
    rig = Rig()
    link = rig.connect()
    link.send(b"SUB a 1\r\n")
    assert link.talk(b'CONNECT {"verbose":true}\r\nPUB a 0\r\n\r\nPING\r\n') == b"+OK\r\n+OK\r\nPONG\r\n"
    assert rig.server.subscriptions() == ()
    assert link.talk(b'CONNECT {"VERBOSE":false,"Headers":null}\r\nHPUB a 0 0\r\n\r\nPING\r\n') == b"PONG\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b'{"verbose":1}',
        b'{"protocol":1.0}',
        b'{"protocol":"1"}',
        b'{"protocol":99999999999999999999}',
        b'{"name":5}',
        b'{"import":{"allow":[1]}}',
        b'{"a":NaN}',
        b'{"verbose":1,"verbose":false}',
    ],
)
def test_a_connect_that_cannot_be_read_closes_without_a_word(fields: bytes) -> None:
    """No JSON object, or a field of a wrong type."""
    link = Rig().dial()
    link.take()
    assert (link.talk(b"CONNECT " + fields + b"\r\n"), link.ending) == (b"", "close")


@pytest.mark.parametrize(
    "fields, text",
    [
        ({"protocol": 2}, b"invalid client protocol"),
        ({"protocol": -1}, b"invalid client protocol"),
        ({"headers": False}, b"no responders requires headers support"),
        ({"account": "x"}, b"Authorization Violation"),
        ({"new_account": True}, b"Authorization Violation"),
    ],
)
def test_a_connect_that_is_refused(fields: dict[str, object], text: bytes) -> None:
    """Each has its text, and closes."""
    link = Rig().dial()
    link.take()
    connect = {**json.loads(CONNECT[8:]), **fields}
    assert link.talk(b"CONNECT %b\r\nPING\r\n" % json.dumps(connect).encode()) == b"-ERR '%b'\r\n" % text
    assert link.ending == "close"


@pytest.mark.parametrize(
    "data, answer",
    [
        (b"SUB\r\n", UNKNOWN),
        (b"SUB a\r\n", b""),
        (b"SUB a b c d\r\n", b""),
        (b"PUB a\r\n", b""),
        (b"PUB a x\r\n", b""),
        (b"PUB a -1\r\n", b""),
        (b"PUB a 1234567890\r\n", b""),
        (b"PUB a b c 0\r\n\r\n", b""),
        (b"PUB a 2\r\nabc\r\n", UNKNOWN),
        (b"PUB a 1048577\r\n", b"-ERR 'Maximum Payload Violation'\r\n"),
        (b"HPUB a 5 3\r\nabc\r\n", b""),
        (b"HPUB a 0 1048577\r\n", b"-ERR 'Maximum Payload Violation'\r\n"),
        (b"UNSUB 1 2 3\r\n", b""),
        (b"INFO x\r\n", b""),
        (b"-ERR x\r\n", b""),
        (b"HMSG a\r\n", UNKNOWN),
        (b"SUB a " + b"1" * 4095 + b"\r\n", b"-ERR 'maximum control line exceeded'\r\n"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_what_closes_and_with_which_text(data: bytes, answer: bytes) -> None:
    """What came before is answered, then comes the text if there is one, then the end."""
    link = Rig().connect()
    assert link.talk(b"PING\r\n" + data) == b"PONG\r\n" + answer
    assert link.ending is not None


def test_unread_bytes_make_the_end_a_reset() -> None:
    """The server reads pieces of 512 bytes at first: an error in one with more behind it ends in a reset."""
    ends = []
    for behind in (400, 600):
        link = Rig().dial()
        link.take()
        assert link.talk(b"NOPE" + b"x" * behind) == UNKNOWN
        ends.append(link.ending)
    assert ends == ["close", "reset"]


def test_the_pieces_grow_with_what_comes() -> None:
    """After 512 and 1,024 bytes, 2,048 and 4,096 are read at once: an overlong line of 5,000 is read to its end."""
    ends = []
    for size in (5000, 9000):
        link = Rig().dial()
        link.take()
        assert link.talk(b"SUB " + b"x" * size) == b"-ERR 'maximum control line exceeded'\r\n"
        ends.append(link.ending)
    assert ends == ["close", "reset"]


def test_a_pedantic_client_is_told_twice_of_a_split_message() -> None:
    """The server goes through the line again when the payload comes later."""
    link = Rig().connect(pedantic=True)
    error = b"-ERR 'Invalid Publish Subject'\r\n"
    assert link.talk(b"PUB a.* 1\r\nx\r\n") == error
    assert link.talk(b"PUB a.* 1\r\n", b"x\r\n") == error * 2


def test_subscriptions_and_what_they_get() -> None:
    """Wildcards, a second SUB under a sid, sizes as they were written, and wildcards in published subjects."""
    link = Rig().connect()
    assert link.talk(b"SUB a.* 1\r\nSUB b 1\r\nPUB a.b 003\r\nabc\r\nPUB b 0\r\n\r\nPUB a.* r 0\r\n\r\nPING\r\n") == (
        b"MSG a.b 1 003\r\nabc\r\nMSG a.* 1 r 0\r\n\r\nPONG\r\n"
    )
    assert (
        link.talk(b"SUB a..b 2\r\nSUB >.a 3\r\nSUB .a 4\r\nUNSUB 9\r\nPING\r\n")
        == b"-ERR 'Invalid Subject'\r\n" * 3 + b"PONG\r\n"
    )


def test_unsub_counts_since_sub() -> None:
    """A maximum that is reached, one that was reached before, and one that is no number."""
    rig = Rig()
    link = rig.connect()
    message = b"PUB a 0\r\n\r\n"
    got = b"MSG a 1 0\r\n\r\n"
    assert (
        link.talk(b"SUB a 1\r\n" + message * 2 + b"UNSUB 1 3\r\n" + message * 2 + b"PING\r\n") == got * 3 + b"PONG\r\n"
    )
    assert rig.server.subscriptions() == ()
    for most in (b"2", b"0", b"x", b"12345678901"):
        link.send(b"SUB a 1\r\n" + message * 2)
        link.take()
        assert link.talk(b"UNSUB 1 " + most + b"\r\n" + message + b"PING\r\n") == b"PONG\r\n"


def test_headers_are_left_out_for_who_does_not_understand_them() -> None:
    """HMSG for one client, MSG with the payload alone for the other; an empty block is none."""
    rig = Rig()
    able, unable = rig.connect(), rig.connect(headers=False, no_responders=False)
    for link in (able, unable):
        link.send(b"SUB a 1\r\n")
    able.send(b"HPUB a r 012 14\r\nNATS/1.0\r\n\r\nhi\r\nHPUB a 0 2\r\nhi\r\n")
    assert able.take() == b"HMSG a 1 r 012 14\r\nNATS/1.0\r\n\r\nhi\r\nMSG a 1 2\r\nhi\r\n"
    assert unable.take() == b"MSG a 1 r 2\r\nhi\r\nMSG a 1 2\r\nhi\r\n"
    assert unable.talk(b"HPUB a 0 0\r\n\r\n") == b""
    assert unable.ending == "close"


def test_no_responders() -> None:
    """Only to a subscription of the requester's own, also by a wildcard; not when somebody is there."""
    rig = Rig()
    link, other = rig.connect(), rig.connect()
    ask = b"PUB nobody r 2\r\nhi\r\n"
    answer = b"NATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n\r\n"
    other.send(b"SUB r 1\r\n")
    assert link.talk(ask) == b""
    link.send(b"SUB r q 8\r\n")
    assert link.talk(ask) == b""
    link.send(b"SUB * 9\r\n")
    assert link.talk(b"UNSUB 8\r\nUNSUB 9\r\nSUB r 7\r\n" + ask) == b"HMSG r 7 38 38\r\n" + answer
    other.send(b"SUB nobody 2\r\n")
    assert link.talk(ask) == b""
    assert other.take() == b"MSG nobody 2 r 2\r\nhi\r\n"
    assert rig.connect(no_responders=False).talk(b"SUB r 7\r\nPUB none r 0\r\n\r\n") == b""


def test_without_echo_ones_own_subscription_is_nobody() -> None:
    """A request to oneself is answered by 503 then, and a queue group's other member gets the message."""
    rig = Rig()
    link, other = rig.connect(echo=False), rig.connect()
    assert (
        link.talk(b"SUB a 1\r\nSUB r 2\r\nPUB a r 0\r\n\r\n")
        == b"HMSG r 2 33 33\r\nNATS/1.0 503\r\nNats-Subject: a\r\n\r\n\r\n"
    )
    link.send(b"SUB b q 3\r\n")
    other.send(b"SUB b q 4\r\n")
    link.send(b"PUB b 0\r\n\r\n" * 20)
    assert other.take().count(b"MSG b 4") == 20


def test_one_member_of_a_queue_group_gets_a_message() -> None:
    """By chance, each its share; beside the plain subscriptions."""
    rig = Rig()
    links = [rig.connect() for _ in range(3)]
    for link in links:
        link.send(b"SUB a q 1\r\n")
    links[0].send(b"SUB a 2\r\n")
    links[0].send(b"PUB a 0\r\n\r\n" * 900)
    received = [link.take() for link in links]
    assert received[0].count(b"MSG a 2") == 900
    shares = [data.count(b"MSG a 1") for data in received]
    assert sum(shares) == 900
    assert min(shares) > 230


@pytest.mark.parametrize(
    "data, error",
    [
        (b"PUB $NRG.x 0\r\n\r\n", b'Permissions Violation for Publish to "$NRG.x"'),
        (b"PUB _GR_.x 0\r\n\r\n", b'Permissions Violation for Publish to "_GR_.x"'),
        (b"PUB $GR.x 0\r\n\r\n", b'Permissions Violation for Publish to "$GR.x"'),
        (b"PUB a $GR.x 0\r\n\r\n", b'Permissions Violation for Publish with Reply of "$GR.x"'),
        (b"PUB a _R_.x 0\r\n\r\n", b'Permissions Violation for Publish with Reply of "_R_.x"'),
        (b"PUB a $JS.ACK.x 0\r\n\r\n", b'Permissions Violation for Publish with Reply of "$JS.ACK.x"'),
        (b"SUB a _sys_ 1\r\n", b'Permissions Violation for Subscription to "a" using queue "_sys_"'),
    ],
)
def test_names_of_the_servers_own(data: bytes, error: bytes) -> None:
    """They are refused to everybody, without closing, and without a verbose client's +OK."""
    link = Rig().connect(verbose=True)
    assert link.talk(data + b"PING\r\n") == b"-ERR '%b'\r\nPONG\r\n" % error


def test_prefixes_alone_are_mostly_not_the_servers() -> None:
    """Of those that stand for something longer the prefix itself is free."""
    link = Rig().connect()
    assert link.talk(b"PUB _GR_. $GR. 0\r\n\r\nPUB $GR. $JS.ACK. 0\r\n\r\nPING\r\n") == b"PONG\r\n"
    assert link.talk(b"PUB $NRG. 0\r\n\r\nPUB a _R_. 0\r\n\r\n").count(b"Violation") == 2


def test_limits_of_subscriptions_payload_and_lines() -> None:
    """The configured ones hold; a second SUB under a sid counts as one more."""
    rig = Rig(max_subscriptions=2, max_payload=10, max_control_line=20)
    error = b"-ERR 'maximum subscriptions exceeded'\r\n"
    link = rig.dial()
    link.take()
    link.send(b"SUB a 1\r\nSUB b 2\r\n")
    link.take()
    assert link.talk(b"SUB c 3\r\nSUB a 1\r\nPING\r\n") == error * 2 + b"PONG\r\n"
    assert link.talk(b"PUB x 10\r\n0123456789\r\nPUB x 11\r\n") == b"+OK\r\n-ERR 'Maximum Payload Violation'\r\n"
    other = rig.dial()
    other.take()
    assert other.talk(b"SUB 123456789012345678 1\r\nSUB 1234567890123456789 1\r\n") == (
        b"+OK\r\n-ERR 'maximum control line exceeded'\r\n"
    )


def test_what_a_client_published_before_its_error_is_delivered() -> None:
    """Operations before the error count, also in the same piece; behind a client's -ERR even later ones do."""
    rig = Rig()
    link, broken, dying = rig.connect(), rig.connect(), rig.connect()
    link.send(b"SUB a 1\r\n")
    broken.send(b"PUB a 0\r\n\r\nNOPE\r\nPUB a 0\r\n\r\n")
    assert link.take() == b"MSG a 1 0\r\n\r\n"
    dying.send(b"-ERR x\r\nPUB a 0\r\n\r\nPING\r\n")
    assert (link.take(), dying.take(), dying.ending) == (b"MSG a 1 0\r\n\r\n", b"", "close")

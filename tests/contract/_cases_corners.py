"""Cases: corners that few clients come to: reserved subjects, JSON as Go reads it, numbers at their ends."""

from __future__ import annotations

from typing import Any

from ._script import (
    Case,
    HalfClose,
    Step,
    case,
    connect_line,
    ended,
    expect,
    hello,
    hpub,
    opened,
    pub,
    quiet,
    send,
    sync,
)
from ._server import Rule, ServerConfig, User

PONG = b"PONG\r\n"
_RESERVED = (
    b"_R_.",
    b"_R_",
    b"_R_.a",
    b"_R_.a.b.c",
    b"$JS.ACK.",
    b"$JS.ACK.a",
    b"$JS.ACK",
    b"_GR_.",
    b"_GR_.a",
    b"_GR_.a.b.c.d",
    b"$GR.a",
    b"$GNR.a",
    b"$SYS.a",
    b"$JS.FC.a",
    b"_INBOX.a",
)
_OWN = (
    b"$SYS.REQ.SERVER.PING",
    b"$SYS.REQ.ACCOUNT.PING",
    b"$JS.API.INFO",
    b"$JS.ACK.a",
    b"$G.a",
    b"_R_.a",
    b"$NRG",
    b"_GR_",
    b"$SYS.SERVER.a",
    b"$SYS.ACCOUNT.$G.CONNECT",
    b"$MQTT.a",
    b"$KV.a",
    b"$O.a",
    b"$SRV.PING",
    b"$SYS._INBOX.a",
    b"_INBOX.a",
)

RESERVED: tuple[Case, ...] = (
    *(
        case(
            f"a reply subject of the server's own, {reply.decode()}",
            hello(),
            send(b"SUB own.r 1\r\n" + pub(b"own.r", b"x", reply)),
            sync(),
            shows=PONG,
        )
        for reply in _RESERVED
    ),
    *(
        case(
            f"a subject of the server's own, {subject.decode()}",
            hello(),
            send(
                b"SUB own.in 1\r\nSUB "
                + subject
                + b" 2\r\n"
                + pub(subject, b"x")
                + pub(subject, b"y", b"own.in")
                + b"UNSUB 2\r\n"
                + pub(subject, b"z", b"own.in")
            ),
            sync(),
            quiet(0.1),
            shows=b"MSG " + subject + b" 2 1\r\nx\r\n",
            private=True,
        )
        for subject in _OWN
    ),
    *(
        case(
            f"a subject that only gateways may use, {subject.decode()}",
            hello(),
            send(b"SUB own.gw 1\r\nSUB " + subject + b" 2\r\n" + pub(subject, b"x") + pub(subject, b"y", b"own.gw")),
            sync(),
            shows=b"-ERR 'Permissions Violation for Publish to \"" + subject,
            lacks=b"MSG ",
            private=True,
        )
        for subject in (b"$GR.a", b"_GR_.a", b"$NRG.a")
    ),
)

# What CONNECT may hold, and what Go's decoder takes of it.
_FINE = (
    b'{"VERBOSE":false}',
    b'{"Verbose":false,"verbose":true}',
    b'{"verbose":true,"verbose":false}',
    b'{"verbose":null}',
    b'{"verbose":false,"protocol":-0}',
    b'{"verbose":false,"protocol":null}',
    b'{"verbose":false,"nkey":"x","jwt":"y","sig":"z"}',
    b'{"verbose":false,"name":"\\u0000\\ud800"}',
    b'{"verbose":false,"name":"\xff"}',
    b'{"verbose":false,"unknown":{"a":[1,2.5e3,{}]}}',
    b'{"verbose":false,"":1}',
    b"null",
    b" {} ",
    b'{"verbo\\u0073e":false}',
    b'{"verbo\xc5\xbfe":false}',
    b'{"verbose":false,"tls_required":true}',
    b'{"verbose":false,"lang":"x","version":"y"}',
    b'{"verbose":false,"account":""}',
    b'{"verbose":false,"new_account":false}',
    b'{"verbose":false,"headers":true,"headers":false}',
)
_WRONG = (
    b'{"verbose":"false"}',
    b'{"verbose":0}',
    b'{"verbose":false,"verbose":1}',
    b'{"verbose":1,"verbose":false}',
    b'{"protocol":1.0}',
    b'{"protocol":1e0}',
    b'{"protocol":99999999999999999999}',
    b'{"protocol":true}',
    b'{"name":1}',
    b'{"name":["a"]}',
    b'{"jwt":1}',
    b'{"verbose":false,}',
    b"{'verbose':false}",
    b"{verbose:false}",
    b'{"verbose":false} x',
    b"{}{}",
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":01}',
    b'{"a":.5}',
    b'{"a":"\t"}',
    b'{"a":"\x01"}',
    b'{"a":"\\x"}',
    b'"text"',
    b"1",
    b"true",
    b"[{}]",
    b'{"a":+1}',
    b"\xef\xbb\xbf{}",
    b'{"a":1.}',
    b'{"echo":"yes"}',
    b'{"user":1}',
    b'{"pass":null,"user":true}',
    b'{"no_responders":[]}',
    b'{"headers":{}}',
    b'{"nkey":false}',
    b'{"auth_token":0}',
    b'{"lang":{}}',
    b'{"account":1}',
    b'{"tls_required":1}',
    b'{"version":2}',
    b'{"sig":[]}',
    b'{"protocol":2}',
    b'{"protocol":9223372036854775807}',
    b'{"protocol":"1"}',
    b'{"no_responders":true}',
    b'{"account":"x"}',
    b'{"new_account":true}',
    b'{"account":"x","new_account":true}',
)
JSON: tuple[Case, ...] = (
    *(
        case(
            f"a connect that is fine, {number}",
            opened(),
            send(b"CONNECT " + text + b"\r\nPING\r\n"),
            expect(PONG),
            quiet(0.03),
            send(b"SUB js 1\r\n" + pub(b"js", b"x")),
            sync(),
            shows=(PONG, b"MSG js 1 1\r\nx\r\n"),
        )
        for number, text in enumerate(_FINE)
    ),
    *(
        case(
            f"a connect that is wrong, {number}",
            opened(),
            send(b"CONNECT " + text + b"\r\nPING\r\n"),
            quiet(0.03),
            HalfClose("a"),
            shows=b"INFO",
            lacks=PONG,
        )
        for number, text in enumerate(_WRONG)
    ),
)

NUMBERS: tuple[Case, ...] = (
    case(
        "a maximum of nineteen digits",
        hello(),
        send(b"SUB nb.1 1\r\nUNSUB 1 9223372036854775807\r\n" + pub(b"nb.1")),
        sync(),
        shows=PONG,
    ),
    case(
        "a maximum of twenty digits",
        hello(),
        send(b"SUB nb.2 1\r\nUNSUB 1 99999999999999999999\r\n" + pub(b"nb.2")),
        sync(),
        shows=PONG,
    ),
    case(
        "a maximum of nine digits",
        hello(),
        send(b"SUB nb.3 1\r\nUNSUB 1 999999999\r\n" + pub(b"nb.3")),
        sync(),
        shows=b"MSG nb.3",
    ),
    case(
        "a maximum of ten digits",
        hello(),
        send(b"SUB nb.4 1\r\nUNSUB 1 1000000000\r\n" + pub(b"nb.4")),
        sync(),
        shows=PONG,
    ),
    case(
        "a maximum with leading zeros",
        hello(),
        send(b"SUB nb.5 1\r\nUNSUB 1 0000000001\r\n" + pub(b"nb.5") + pub(b"nb.5")),
        sync(),
        shows=PONG,
    ),
    case(
        "a maximum with a sign",
        hello(),
        send(b"SUB nb.6 1\r\nUNSUB 1 +1\r\n" + pub(b"nb.6") + pub(b"nb.6")),
        sync(),
        shows=PONG,
    ),
    case(
        "a size of ten digits that is small",
        hello(),
        send(b"SUB nb.7 1\r\nPUB nb.7 0000000001\r\nx\r\n"),
        quiet(),
        shows=b"INFO",
    ),
    case(
        "a size of nine digits that is small",
        hello(),
        send(b"SUB nb.8 1\r\nPUB nb.8 000000001\r\nx\r\n"),
        quiet(),
        shows=b"MSG nb.8 1 000000001",
    ),
    case(
        "header sizes with leading zeros",
        hello(),
        send(b"SUB nb.9 1\r\nHPUB nb.9 0012 00013\r\nNATS/1.0\r\n\r\nx\r\n"),
        sync(),
        shows=b"HMSG nb.9 1 0012 00013\r\n",
    ),
    case(
        "header sizes of zero",
        hello(),
        send(b"SUB nb.10 1\r\nHPUB nb.10 0 0\r\n\r\nHPUB nb.10 0 1\r\nx\r\nHPUB nb.10 00 1\r\ny\r\n"),
        sync(),
        shows=PONG,
    ),
    case(
        "headers of zero bytes to who takes none",
        hello(),
        hello("b", headers=False, no_responders=False),
        send(b"SUB nb.11 1\r\n", "b"),
        sync("b"),
        send(hpub(b"nb.11", b"", b"x") + hpub(b"nb.11", b"N", b"") + b"HPUB nb.11 01 002\r\nNx\r\n"),
        sync("a", "b"),
        shows=("b", b"MSG nb.11 1 1\r\nx\r\n"),
    ),
    case(
        "a sid like a number is a word",
        hello(),
        send(b"SUB nb.12 01\r\nSUB nb.12 1\r\nUNSUB 1\r\n" + pub(b"nb.12")),
        sync(),
        shows=b"MSG nb.12 01 0\r\n\r\nPONG",
    ),
    case(
        "a sid that looks like a size",
        hello(),
        send(b"SUB nb.13 -1\r\nSUB nb.13 1.5\r\n" + pub(b"nb.13")),
        sync(),
        shows=b"MSG nb.13 ",
    ),
    case(
        "an unsub of a sid with a blank behind it",
        hello(),
        send(b"SUB nb.14 1\r\nUNSUB 1 \r\n" + pub(b"nb.14")),
        sync(),
        shows=PONG,
        lacks=b"MSG ",
    ),
)

_NOTHING_ALLOWED = ServerConfig(users=(User("u", "p", publish=Rule(allow=()), subscribe=Rule(allow=())),))
_ALL_ALLOWED = ServerConfig(users=(User("u", "p", publish=Rule(allow=(">",)), subscribe=Rule(allow=(">",))),))
_STAR = ServerConfig(
    users=(
        User("u", "p", publish=Rule(allow=("*",), deny=("b",)), subscribe=Rule(allow=("*", "a.*.c"), deny=("*.x.>",))),
    )
)
_QUEUES = ServerConfig(
    users=(
        User("u", "p", subscribe=Rule(allow=("a.> q.*", "b q.>", "c >", "d *"), deny=("a.no *", "b q.no", "c.* >"))),
    )
)


def _u(**fields: Any) -> list[Step]:
    return hello(user="u", pass_="p", **fields)


_SUBJECTS = b"".join(
    b"SUB " + subject + queue + b" " + b"%d" % number + b"\r\n"
    for number, (subject, queue) in enumerate(
        (subject, queue)
        for subject in (
            b"a",
            b"b",
            b"c",
            b"d",
            b"a.no",
            b"a.x",
            b"a.x.c",
            b"a.*",
            b"a.>",
            b"*",
            b">",
            b"*.x.y",
            b"*.*.*",
            b"a.*.c",
            b"a.*.*",
            b"c.c",
        )
        for queue in (b"", b" q", b" q.a", b" q.no", b" q.a.b", b" *", b" >")
    )
)
PERMISSIONS: tuple[Case, ...] = tuple(
    case(
        f"permissions of {what}",
        _u(),
        send(
            _SUBJECTS
            + b"".join(pub(subject, b"x") for subject in (b"a", b"b", b"a.b", b"a.x.c", b"*", b">", b"a..b", b"c.c"))
        ),
        sync(),
        shows=PONG,
        config=config,
        queue_sids=[b"%d" % number for number in range(200)],
    )
    for what, config in (
        ("an empty list", _NOTHING_ALLOWED),
        ("everything", _ALL_ALLOWED),
        ("one token", _STAR),
        ("queue groups", _QUEUES),
    )
)

FEATURES: tuple[Case, ...] = (
    case(
        "how many are here",
        hello(),
        send(b"SUB own.n 1\r\n" + pub(b"$SYS.REQ.ACCOUNT.PING.STATZ", b"", b"own.n")),
        sync(),
        quiet(0.1),
        shows=b"MSG own.n 1 ",
        private=True,
    ),
    case(
        "who am i",
        hello(),
        send(b"SUB own.me 1\r\n" + pub(b"$SYS.REQ.USER.INFO", b"", b"own.me")),
        sync(),
        quiet(0.1),
        shows=b"MSG own.me 1 ",
    ),
    case(
        "a traced message",
        hello(),
        send(b"SUB tr.a 1\r\nSUB tr.dest 2\r\n" + hpub(b"tr.a", b"NATS/1.0\r\nNats-Trace-Dest: tr.dest\r\n\r\n", b"x")),
        sync(),
        quiet(0.1),
        shows=b"MSG tr.dest 2 ",
    ),
    case(
        "a message that is traced only",
        hello(),
        send(
            b"SUB tr.b 1\r\nSUB tr.dest2 2\r\n"
            + hpub(b"tr.b", b"NATS/1.0\r\nNats-Trace-Dest: tr.dest2\r\nNats-Trace-Only: true\r\n\r\n", b"x")
        ),
        sync(),
        quiet(0.1),
        shows=b"MSG tr.dest2 2 ",
        lacks=b"HMSG ",
    ),
    case(
        "a message with a sampled traceparent",
        hello(),
        send(
            b"SUB tr.c 1\r\n"
            + hpub(
                b"tr.c",
                b"NATS/1.0\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
                b"x",
            )
        ),
        sync(),
        quiet(0.1),
        shows=b"HMSG tr.c 1 ",
    ),
    case(
        "connect while a line is open",
        opened(),
        send(b"SUB half"),
        quiet(0.03),
        send(connect_line() + b"PING\r\n"),
        quiet(0.05),
        shows=b"INFO",
    ),
    case(
        "two connects in one write",
        opened(),
        send(connect_line(verbose=True) + connect_line() + b"PING\r\n"),
        expect(PONG),
        sync(),
        shows=(b"+OK\r\n", PONG),
    ),
    case(
        "a close in the middle of a connect",
        opened(),
        send(b'CONNECT {"verb'),
        HalfClose("a"),
        hello("b"),
        sync("b"),
        shows=("b", PONG),
    ),
    case(
        "credentials in the wrong place",
        opened(),
        send(b'CONNECT {"user":"u"}\r\n'),
        ended(),
        shows=b"-ERR 'Authorization Violation'",
        config=_ALL_ALLOWED,
    ),
)

CASES = (*RESERVED, *JSON, *NUMBERS, *PERMISSIONS, *FEATURES)

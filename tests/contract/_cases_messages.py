"""Cases: publishing, subscribing, unsubscribing; subjects, headers, echo, no responders, queue groups."""

from __future__ import annotations

from ._script import (
    Case,
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

PONG = b"PONG\r\n"
BLOCK = b"NATS/1.0\r\nA: b\r\n\r\n"

PUBLISH: tuple[Case, ...] = (
    case(
        "a message comes back",
        hello(),
        send(b"SUB m.a 1\r\n" + pub(b"m.a", b"hi")),
        sync(),
        shows=b"MSG m.a 1 2\r\nhi\r\nPONG\r\n",
    ),
    case(
        "a message has its reply subject",
        hello(),
        send(b"SUB m.b 1\r\n" + pub(b"m.b", b"hi", b"r.1")),
        sync(),
        shows=b"MSG m.b 1 r.1 2\r\nhi\r\n",
    ),
    case(
        "an empty message",
        hello(),
        send(b"SUB m.c 1\r\n" + pub(b"m.c") + pub(b"m.c", reply=b"r")),
        sync(),
        shows=b"MSG m.c 1 0\r\n\r\nMSG m.c 1 r 0\r\n\r\n",
    ),
    case(
        "a payload that looks like the protocol",
        hello(),
        send(b"SUB m.d 1\r\n" + pub(b"m.d", b"PING\r\n-ERR 'x'\r\nMSG m.d 1 3\r\nabc\r\n")),
        sync(),
        shows=b"MSG m.d 1 34\r\nPING\r\n-ERR 'x'\r\nMSG m.d 1 3\r\nabc\r\n\r\n",
    ),
    case(
        "a payload of every byte",
        hello(),
        send(b"SUB m.e 1\r\n" + pub(b"m.e", bytes(range(256)))),
        sync(),
        shows=b"MSG m.e 1 256\r\n" + bytes(range(256)) + b"\r\n",
    ),
    case(
        "messages to somebody else",
        hello(),
        hello("b"),
        send(b"SUB m.f 7\r\n", "b"),
        sync("b"),
        send(pub(b"m.f", b"1") + pub(b"m.f", b"2")),
        sync("a", "b"),
        shows=("b", b"MSG m.f 7 1\r\n1\r\nMSG m.f 7 1\r\n2\r\n"),
    ),
    case(
        "a hundred messages keep their order",
        hello(),
        hello("b"),
        send(b"SUB m.g 7\r\n", "b"),
        sync("b"),
        send(b"".join(pub(b"m.g", b"%d" % number) for number in range(100))),
        sync("a", "b"),
        shows=(("b", b"\r\n0\r\n"), ("b", b"\r\n50\r\n"), ("b", b"\r\n99\r\n")),
    ),
    case(
        "a payload larger than a read buffer",
        hello(),
        send(b"SUB m.h 1\r\n" + pub(b"m.h", b"0123456789" * 10_000)),
        sync(),
        shows=b"MSG m.h 1 100000\r\n01234",
    ),
    case(
        "without echo nothing comes back",
        hello(echo=False),
        hello("b"),
        send(b"SUB m.i 1\r\n"),
        send(b"SUB m.i 2\r\n", "b"),
        sync("a", "b"),
        send(pub(b"m.i", b"x")),
        sync("a", "b"),
        shows=("b", b"MSG m.i 2 1\r\nx\r\n"),
        lacks=b"MSG m.i 1 ",
    ),
    case(
        "publishing to a wildcard is delivered",
        hello(),
        send(b"SUB wild.> 1\r\n" + pub(b"wild.*", b"x")),
        sync(),
        shows=b"MSG wild.* 1 1\r\nx\r\n",
    ),
    case(
        "publishing to a full wildcard is delivered",
        hello(),
        send(b"SUB wilder.* 1\r\n" + pub(b"wilder.>", b"x")),
        sync(),
        shows=b"MSG wilder.> 1 1\r\nx\r\n",
    ),
    case(
        "pedantic complains about wildcards and delivers",
        hello(pedantic=True),
        send(b"SUB wpd.> 1\r\n" + pub(b"wpd.*", b"x") + pub(b"wpd.>", b"y") + pub(b"wpd.fine", b"z")),
        sync(),
        shows=(b"-ERR 'Invalid Publish Subject'", b"MSG wpd.* 1 1", b"MSG wpd.fine 1 1\r\nz"),
    ),
    case(
        "pedantic complains about empty tokens",
        hello(pedantic=True),
        send(b"SUB ept.> 1\r\n" + pub(b"ept..x", b"x") + pub(b"ept.", b"y") + pub(b".ept", b"z")),
        sync(),
        shows=b"-ERR 'Invalid Publish Subject'",
    ),
    case(
        "pedantic complains once more when the payload is late",
        hello(pedantic=True),
        send(b"SUB wpl.> 1\r\nPUB wpl.* 1\r\n"),
        quiet(0.03),
        send(b"x\r\nPUB wpl.> 2\r\ny"),
        quiet(0.03),
        send(b"z\r\n"),
        sync(),
        shows=(b"-ERR 'Invalid Publish Subject'\r\n-ERR 'Invalid Publish Subject'\r\n", b"MSG wpl.* 1 1\r\nx\r\n"),
    ),
    case(
        "pedantic complains of a wildcard with headers",
        hello(pedantic=True),
        send(hpub(b"wph.*", BLOCK)),
        sync(),
        shows=b"-ERR 'Invalid Publish Subject'",
    ),
    case(
        "a publish with empty tokens reaches nobody",
        hello(),
        send(
            b"SUB et.> 1\r\nSUB et.*.x 2\r\n"
            + pub(b"et..x", b"x")
            + pub(b"et.", b"y")
            + pub(b"et", b"z")
            + pub(b".", b"q")
        ),
        sync(),
        shows=PONG,
        lacks=(b"MSG", b"-ERR"),
    ),
    case(
        "a subject that is not utf-8",
        hello(),
        send(b"SUB odd.* 1\r\n" + pub(b"odd.\xff\xfe", b"x")),
        sync(),
        shows=b"MSG odd.\xff\xfe 1 1\r\nx",
    ),
    case(
        "a subject with a zero byte", hello(), send(b"SUB zero.* 1\r\n" + pub(b"zero.\x00", b"x")), sync(), shows=PONG
    ),
    case(
        "a subject of 3000 bytes",
        hello(),
        send(b"SUB " + b"s" * 3000 + b" 1\r\n" + pub(b"s" * 3000, b"x")),
        sync(),
        shows=b"MSG " + b"s" * 3000 + b" 1 1\r\nx\r\n",
    ),
    case(
        "a subject of many tokens",
        hello(),
        send(b"SUB t.> 1\r\n" + pub(b"t" + b".t" * 200, b"x")),
        sync(),
        shows=b"MSG t" + b".t" * 200 + b" 1 1\r\nx\r\n",
    ),
    case(
        "a reply subject with wildcards",
        hello(),
        send(b"SUB rw 1\r\n" + pub(b"rw", b"x", b"r.*")),
        sync(),
        shows=b"MSG rw 1 r.* 1\r\nx\r\n",
    ),
    case(
        "pedantic and a reply subject with wildcards",
        hello(pedantic=True),
        send(b"SUB rwp 1\r\n" + pub(b"rwp", b"x", b"r.*")),
        sync(),
        shows=PONG,
    ),
    case(
        "a reply subject below _R_",
        hello(),
        send(b"SUB rr 1\r\n" + pub(b"rr", b"x", b"_R_.a.b")),
        sync(),
        shows=b"""-ERR 'Permissions Violation for Publish with Reply of "_R_.a.b"'""",
    ),
    case(
        "messages on the system's subjects",
        hello(),
        send(b"SUB $SYS.> 1\r\nSUB $X 2\r\n" + pub(b"$SYS.abc", b"x") + pub(b"$X", b"y")),
        sync(),
        shows=b"MSG $SYS.abc 1 1\r\nx\r\nMSG $X 2 1\r\ny\r\n",
    ),
)

HEADERS: tuple[Case, ...] = (
    case(
        "headers come as they were",
        hello(),
        send(b"SUB hd.a 1\r\n" + hpub(b"hd.a", BLOCK, b"body", b"r")),
        sync(),
        shows=b"HMSG hd.a 1 r 18 22\r\nNATS/1.0\r\nA: b\r\n\r\nbody\r\n",
    ),
    case(
        "headers without payload",
        hello(),
        send(b"SUB hd.b 1\r\n" + hpub(b"hd.b", BLOCK)),
        sync(),
        shows=b"HMSG hd.b 1 18 18\r\nNATS/1.0\r\nA: b\r\n\r\n\r\n",
    ),
    case(
        "a status line from a client",
        hello(),
        send(b"SUB hd.c 1\r\n" + hpub(b"hd.c", b"NATS/1.0 503 No\r\n\r\n", b"x")),
        sync(),
        shows=b"HMSG hd.c 1 19 20\r\nNATS/1.0 503 No\r\n\r\nx\r\n",
    ),
    case(
        "a header block that is nonsense",
        hello(),
        send(b"SUB hd.d 1\r\n" + hpub(b"hd.d", b"no header", b"x")),
        sync(),
        shows=b"HMSG hd.d 1 9 10\r\nno headerx\r\n",
    ),
    case(
        "a header block that lacks its end",
        hello(),
        send(b"SUB hd.e 1\r\n" + hpub(b"hd.e", b"NATS/1.0\r\nA: b\r\n", b"x")),
        sync(),
        shows=b"HMSG hd.e 1 16 17\r\n",
    ),
    case(
        "a header block of zero bytes",
        hello(),
        send(b"SUB hd.f 1\r\n" + hpub(b"hd.f", b"", b"x")),
        sync(),
        shows=b"MSG hd.f 1 1\r\nx\r\n",
        lacks=b"HMSG",
    ),
    case(
        "a header block of one byte",
        hello(),
        send(b"SUB hd.g 1\r\n" + hpub(b"hd.g", b"N", b"x")),
        sync(),
        shows=b"HMSG hd.g 1 1 2\r\nNx\r\n",
    ),
    case(
        "headers to no one who wants them",
        hello(),
        hello("b", headers=False, no_responders=False),
        send(b"SUB hd.h 1\r\n"),
        send(b"SUB hd.h 2\r\n", "b"),
        sync("a", "b"),
        send(hpub(b"hd.h", BLOCK, b"x", b"r")),
        sync("a", "b"),
        shows=(b"HMSG hd.h 1 r 18 19", ("b", b"MSG hd.h 2 r 1\r\nx\r\n")),
    ),
    case(
        "a header block larger than its message",
        hello(),
        send(b"HPUB hd.i 19 18\r\n" + BLOCK + b"\r\n"),
        ended(),
        shows=b"INFO",
        lacks=b"HMSG",
    ),
    case("hpub with one size", hello(), send(b"HPUB hd.j 18\r\n" + BLOCK + b"\r\n"), ended(), shows=b"INFO"),
    case("hpub with five fields", hello(), send(b"HPUB hd.k a b 18 18\r\n" + BLOCK + b"\r\n"), ended(), shows=b"INFO"),
    case(
        "hpub with a size that is no number",
        hello(),
        send(b"HPUB hd.l x 18\r\n" + BLOCK + b"\r\n"),
        ended(),
        shows=b"INFO",
    ),
    case(
        "hpub with a total that is no number",
        hello(),
        send(b"HPUB hd.m 18 x\r\n" + BLOCK + b"\r\n"),
        ended(),
        shows=b"INFO",
    ),
    case("hpub with a negative size", hello(), send(b"HPUB hd.n -1 18\r\n" + BLOCK + b"\r\n"), ended(), shows=b"INFO"),
    case(
        "hpub in small letters",
        hello(),
        send(b"SUB hd.o 1\r\nhpub hd.o 18 18\r\n" + BLOCK + b"\r\n"),
        sync(),
        shows=b"HMSG hd.o 1 18 18",
    ),
    case(
        "a message for a subject with tracing headers",
        hello(),
        send(b"SUB hd.p 1\r\n" + hpub(b"hd.p", b"NATS/1.0\r\nNats-Msg-Id: 1\r\nNats-Expected-Stream: S\r\n\r\n", b"x")),
        sync(),
        shows=b"HMSG hd.p 1 ",
    ),
)

ODD_CONNECTS: tuple[Case, ...] = (
    case(
        "messages before connect are kept",
        opened(),
        send(b"SUB pre.1 1\r\n" + connect_line() + pub(b"pre.1", b"x") + b"PING\r\n"),
        expect(PONG),
        quiet(),
        shows=(b"+OK\r\n", b"MSG pre.1 1 1\r\nx\r\n"),
    ),
    case(
        "everything in one write",
        opened(),
        send(connect_line() + b"PING\r\nSUB one.1 1\r\n" + pub(b"one.1", b"x")),
        sync(),
        expect(b"connect_info"),
        shows=(PONG, b"MSG one.1 1 1\r\nx\r\n"),
    ),
)

CASES = (*PUBLISH, *HEADERS, *ODD_CONNECTS)

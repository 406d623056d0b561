"""Cases: what a server makes of bytes that no client should send: verbs, whitespace, sizes, limits; and of cuts."""

from __future__ import annotations

from ._script import Case, case, connect_line, ended, expect, hello, hpub, opened, pub, quiet, send, sync
from ._server import ServerConfig

PONG = b"PONG\r\n"
BLOCK = b"NATS/1.0\r\nA: b\r\n\r\n"
UNKNOWN = b"-ERR 'Unknown Protocol Operation'\r\n"
TOO_LONG = b"-ERR 'maximum control line exceeded'\r\n"
TOO_LARGE = b"-ERR 'Maximum Payload Violation'\r\n"
SMALL = ServerConfig(max_payload=100)
SHORT_LINES = ServerConfig(max_control_line=64)
SMALL_CONNECT = b'CONNECT {"verbose":false,"headers":true}\r\nPING\r\n'
FEW = ServerConfig(max_subscriptions=2)


def _dies(
    name: str,
    data: bytes,
    shows: bytes = b"INFO",
    lacks: bytes | tuple[bytes, ...] = b"MSG ",
    config: ServerConfig | None = None,
) -> Case:
    return case(name, hello(), send(data), ended(), shows=shows, lacks=lacks, config=config)


def _lives(name: str, data: bytes, shows: bytes = PONG, config: ServerConfig | None = None) -> Case:
    return case(name, hello(), send(data), sync(), shows=shows, config=config)


VERBS: tuple[Case, ...] = (
    _dies("an unknown verb", b"FOO\r\n", UNKNOWN),
    _dies("an unknown verb that begins like another", b"PUBX a 0\r\n\r\n", UNKNOWN),
    _lives("a ping with a letter more", b"PINGX\r\n", b"PONG\r\nPONG\r\n"),
    _dies("half a verb", b"PU\r\n", UNKNOWN),
    _dies("a verb of one letter", b"X\r\n", UNKNOWN),
    _dies("bytes that are no text", b"\x00\x01\x02\r\n", UNKNOWN),
    _dies("an http request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", UNKNOWN),
    _dies("an empty line", b"\r\n", UNKNOWN),
    _dies("a space before the verb", b" PING\r\n", UNKNOWN),
    _dies("subscribing in cyrillic", b"\xd0\x85UB a 1\r\n", UNKNOWN),
    _dies("a verb and no space", b"SUBa 1\r\n", UNKNOWN),
    _dies("pub and no space", b"PUB\r\n"),
    _dies("an unsub without a space", b"UNSUB\r\n"),
    _dies("an unknown verb and more behind it", b"FOO\r\nPING\r\nPUB a 1\r\nx\r\n", UNKNOWN),
    case(
        "an unknown verb behind a publish",
        hello(),
        hello("b"),
        send(b"SUB ve.1 1\r\n", "b"),
        sync("b"),
        send(pub(b"ve.1", b"x") + b"FOO\r\n"),
        ended(),
        sync("b"),
        shows=(UNKNOWN, ("b", b"MSG ve.1 1 1\r\nx\r\n")),
    ),
    case(
        "an unknown verb behind a message of one's own",
        hello(),
        send(b"SUB ve.2 1\r\n" + pub(b"ve.2", b"x") + b"FOO\r\n"),
        ended(),
        shows=(b"MSG ve.2 1 1\r\nx\r\n", UNKNOWN),
        ends="fin",
    ),
    case("an unknown verb with verbose", hello(verbose=True), send(b"FOO\r\n"), ended(), shows=UNKNOWN),
    _lives("ping with arguments", b"PING x\r\n"),
    _lives("pong with arguments", b"PONG x y\r\n"),
    _lives("ping with a trailing space", b"PING \r\n"),
    _lives(
        "verbs in small letters",
        b"sub vb.1 1\r\npub vb.1 1\r\nx\r\nunsub 1\r\nping\r\npong\r\n",
        b"MSG vb.1 1 1\r\nx\r\nPONG\r\n",
    ),
    _lives(
        "verbs in letters of both kinds",
        b"SuB vb.2 1\r\npUb vb.2 1\r\nx\r\nUnSuB 1\r\nPiNg\r\n",
        b"MSG vb.2 1 1\r\nx\r\nPONG\r\n",
    ),
    _lives("lines that end in a line feed alone", b"SUB vb.3 1\nPUB vb.3 1\r\nx\r\nPING\n", b"PONG"),
)

WHITESPACE: tuple[Case, ...] = (
    _lives("tabs between fields", b"SUB\tws.1\t1\r\nPUB\tws.1\t1\r\nx\r\n", b"MSG ws.1 1 1\r\nx\r\n"),
    _lives("many spaces between fields", b"SUB   ws.2   1\r\nPUB   ws.2   1\r\nx\r\n", b"MSG ws.2 1 1\r\nx\r\n"),
    _lives("spaces at the end of the line", b"SUB ws.3 1 \t \r\nPUB ws.3 1 \t\r\nx\r\n", b"MSG ws.3 1 1\r\nx\r\n"),
    _lives(
        "spaces in hpub", b"SUB ws.4 1\r\nHPUB  ws.4\t r   18 \t 19 \r\n" + BLOCK + b"x\r\n", b"HMSG ws.4 1 r 18 19\r\n"
    ),
    _lives("spaces in unsub", b"SUB ws.5 1\r\nUNSUB \t1 \r\n" + pub(b"ws.5", b"x")),
    _lives("other whitespace is a letter", b"SUB ws.6\x0b 1\r\nPUB ws.6\x0b 1\r\nx\r\n", b"MSG ws.6\x0b 1 1\r\nx"),
    _lives("a carriage return inside a line", b"SUB ws.7 1\r\nPUB ws.7\r 1\r\nx\r\n"),
)

SIZES: tuple[Case, ...] = (
    _dies("a size that is no number", b"PUB a x\r\nx\r\n"),
    _dies("a negative size", b"PUB a -1\r\n\r\n"),
    _dies("a size with a sign", b"PUB a +1\r\nx\r\n"),
    _dies("a size with a point", b"PUB a 1.0\r\nx\r\n"),
    _dies("a size in hexadecimal", b"PUB a 0x1\r\nx\r\n"),
    _dies("a size of ten digits", b"PUB a 9999999999\r\n", b"INFO"),
    _dies("a size of thirty digits", b"PUB a 999999999999999999999999999999\r\n", b"INFO"),
    _dies("a size just above what an int32 holds", b"PUB a 2147483648\r\n", b"INFO"),
    _lives("a size with leading zeros", b"SUB sz.1 1\r\nPUB sz.1 0001\r\nx\r\n", b"MSG sz.1 1 "),
    _dies("pub with one field", b"PUB a\r\n"),
    _dies("pub with no field", b"PUB \r\n"),
    _dies("pub with four fields", b"PUB a b c 1\r\nx\r\n"),
    _dies("a size too small by one", b"SUB sz.2 1\r\nPUB sz.2 1\r\nxy\r\n", UNKNOWN),
    _dies("a size too small by two", b"SUB sz.3 1\r\nPUB sz.3 1\r\nxyz\r\n", UNKNOWN),
    _dies("a size of zero and a payload", b"SUB sz.4 1\r\nPUB sz.4 0\r\nx\r\n", UNKNOWN),
    case(
        "a size too large by one",
        hello(),
        send(b"SUB sz.5 1\r\nPUB sz.5 3\r\nxy\r\n"),
        quiet(),
        send(b"PING\r\n"),
        ended(),
        shows=UNKNOWN,
        lacks=b"MSG ",
    ),
    case(
        "a size too large by two takes the end of the line",
        hello(),
        send(b"SUB sz.6 1\r\nPUB sz.6 4\r\nxy\r\n"),
        quiet(),
        send(b"\r\n"),
        sync(),
        shows=b"MSG sz.6 1 4\r\nxy\r\n\r\nPONG",
    ),
    case(
        "a size too large swallows what comes",
        hello(),
        send(b"SUB sz.7 1\r\nPUB sz.7 8\r\nxy\r\nPING\r\n"),
        send(b"\r\n"),
        quiet(),
        send(b"PING\r\n"),
        quiet(),
        shows=b"INFO",
    ),
    _dies("a payload that ends in a line feed alone", b"SUB sz.8 1\r\nPUB sz.8 1\r\nx\nPING\r\n", UNKNOWN),
    _dies("a payload that ends in a carriage return alone", b"SUB sz.9 1\r\nPUB sz.9 1\r\nx\rPING\r\n", UNKNOWN),
    _dies("a payload that ends in two letters", b"SUB sz.10 1\r\nPUB sz.10 1\r\nxABPING\r\n", UNKNOWN),
    _dies("headers that end wrong", b"SUB sz.11 1\r\nHPUB sz.11 18 19\r\n" + BLOCK + b"xyz\r\n", UNKNOWN),
    _dies("a total smaller than the header block", b"HPUB sz.12 18 17\r\n" + BLOCK + b"\r\n"),
    _dies("headers of negative total", b"HPUB sz.13 18 -18\r\n" + BLOCK + b"\r\n"),
    _dies("headers with only a subject", b"HPUB sz.14\r\n"),
    _dies("headers with nothing", b"HPUB \r\n"),
    case(
        "a payload that never comes whole",
        hello(),
        send(b"SUB sz.15 1\r\nPUB sz.15 10\r\nabc"),
        quiet(),
        shows=b"INFO",
        ends="open",
    ),
    case("a line that never ends", hello(), send(b"SUB sz.16 1"), quiet(), shows=b"INFO", ends="open"),
)

LIMITS: tuple[Case, ...] = (
    _lives("a payload of max_payload", b"SUB li.1 1\r\n" + pub(b"li.1", b"x" * 100), b"MSG li.1 1 100\r\n", SMALL),
    _dies("a payload of one byte more", b"SUB li.2 1\r\n" + pub(b"li.2", b"x" * 101), TOO_LARGE, config=SMALL),
    _dies("a payload of very much more", b"PUB li.3 100000\r\n", TOO_LARGE, config=SMALL),
    _lives(
        "headers and payload of max_payload",
        b"SUB li.4 1\r\n" + hpub(b"li.4", BLOCK, b"x" * 82),
        b"HMSG li.4 1 18 100\r\n",
        SMALL,
    ),
    _dies(
        "headers and payload of one byte more",
        b"SUB li.5 1\r\n" + hpub(b"li.5", BLOCK, b"x" * 83),
        TOO_LARGE,
        b"HMSG ",
        SMALL,
    ),
    _dies("a too large payload with a reply subject", b"PUB li.6 r 101\r\n", TOO_LARGE, config=SMALL),
    _dies("a size too large for an int64", b"PUB li.7 99999999999999999999\r\n", b"INFO", config=SMALL),
    case("the limit is told", opened(), quiet(), shows=b'"max_payload":100', config=SMALL),
    _dies("a payload of more than a mebibyte", b"PUB li.8 1048577\r\n", TOO_LARGE),
    case(
        "a payload of a mebibyte",
        hello(),
        send(b"SUB li.9 1\r\n" + pub(b"li.9", b"m" * 1048576)),
        sync(),
        shows=b"MSG li.9 1 1048576\r\nm",
    ),
    *(
        case(
            f"a line of {size} bytes where 64 are allowed",
            opened(),
            send(SMALL_CONNECT),
            expect(PONG),
            send(b"SUB " + b"s" * (size - 6) + b" 1\r\n"),
            sync(),
            shows=PONG,
            config=SHORT_LINES,
        )
        for size in (62, 64, 66, 67, 68)
    ),
    *(
        case(
            f"a line of {size} bytes where 64 are allowed",
            opened(),
            send(SMALL_CONNECT),
            expect(PONG),
            send(b"SUB " + b"s" * (size - 6) + b" 1\r\n"),
            ended(),
            shows=TOO_LONG,
            config=SHORT_LINES,
        )
        for size in (69, 70, 200)
    ),
    *(
        case(
            f"a line of {size} bytes in pieces where 64 are allowed",
            opened(),
            send(SMALL_CONNECT),
            expect(PONG),
            send(b"SUB " + b"s" * (size - 6) + b" 1\r\n", cuts=(20, 50)),
            quiet(),
            shows=PONG,
            config=SHORT_LINES,
        )
        for size in (64, 67, 68, 69, 70, 75)
    ),
    case(
        "a long line without end where 64 are allowed",
        opened(),
        send(SMALL_CONNECT),
        expect(PONG),
        send(b"SUB " + b"s" * 66, cuts=(10,)),
        ended(),
        shows=TOO_LONG,
        config=SHORT_LINES,
    ),
    case(
        "a long publish line where 64 are allowed",
        opened(),
        send(SMALL_CONNECT),
        expect(PONG),
        send(pub(b"s" * 61, b"x") + pub(b"s" * 63, b"x")),
        ended(),
        shows=TOO_LONG,
        config=SHORT_LINES,
    ),
    case(
        "a long hpub line where 64 are allowed",
        opened(),
        send(SMALL_CONNECT),
        expect(PONG),
        send(hpub(b"s" * 60, BLOCK)),
        ended(),
        shows=TOO_LONG,
        config=SHORT_LINES,
    ),
    case(
        "a long unsub line where 64 are allowed",
        opened(),
        send(SMALL_CONNECT),
        expect(PONG),
        send(b"UNSUB " + b"1" * 65 + b"\r\n"),
        ended(),
        shows=TOO_LONG,
        config=SHORT_LINES,
    ),
    case(
        "a long connect where 64 are allowed",
        opened(),
        send(connect_line()),
        ended(),
        shows=TOO_LONG,
        config=SHORT_LINES,
    ),
    _dies("a control line of 4200 bytes", b"SUB " + b"s" * 4200 + b" 1\r\n", TOO_LONG),
    _lives("a control line of 4000 bytes", b"SUB " + b"s" * 4000 + b" 1\r\n"),
    _dies("a publish line of 4200 bytes", b"PUB " + b"s" * 4200 + b" 1\r\nx\r\n", TOO_LONG),
    case("a control line that never ends", hello(), send(b"SUB " + b"s" * 4200), ended(), shows=TOO_LONG),
    case(
        "an unknown line that never ends",
        hello(),
        send(b"PING" + b"s" * 5000),
        quiet(0.1),
        shows=PONG,
        lacks=b"-ERR",
        ends="open",
    ),
    _lives(
        "a third subscription of two",
        b"SUB ms.1 1\r\nSUB ms.2 2\r\nSUB ms.3 3\r\n" + pub(b"ms.3", b"x") + pub(b"ms.1", b"y"),
        b"-ERR 'maximum subscriptions exceeded'\r\nMSG ms.1 1 1\r\ny\r\nPONG",
        FEW,
    ),
    _lives("a third subscription under a known sid", b"SUB ms.4 1\r\nSUB ms.5 2\r\nSUB ms.6 1\r\n", config=FEW),
    _lives(
        "a third subscription after unsub",
        b"SUB ms.7 1\r\nSUB ms.8 2\r\nUNSUB 1\r\nSUB ms.9 3\r\n" + pub(b"ms.9", b"x"),
        b"MSG ms.9 3 1\r\nx\r\n",
        FEW,
    ),
    _lives(
        "a third subscription after a maximum",
        b"SUB ms.10 1\r\nSUB ms.11 2\r\nUNSUB 1 1\r\n" + pub(b"ms.10", b"x") + b"SUB ms.12 3\r\n" + pub(b"ms.12", b"y"),
        b"MSG ms.12 3 1\r\ny\r\n",
        FEW,
    ),
    _lives("an invalid third subscription", b"SUB ms.13 1\r\nSUB ms.14 2\r\nSUB ms..15 3\r\n", config=FEW),
    case(
        "a third subscription with verbose",
        hello(verbose=True),
        send(b"SUB ms.16 1\r\nSUB ms.17 2\r\nSUB ms.18 3\r\n"),
        sync(),
        shows=b"-ERR 'maximum subscriptions exceeded'",
        config=FEW,
    ),
)

# The same bytes, read by the server in two or more pieces, cut inside verbs, fields, sizes, line ends and payloads.
_CUT = b"SUB cut.%d g 1\r\n" + pub(b"cut.%d", b"hello", b"r") + hpub(b"cut.%d", BLOCK, b"x") + b"UNSUB 1 2\r\n"
_CUTS = (1, 3, 4, 7, 13, 15, 16, 17, 20, 24, 28, 31, 33, 35, 36, 37, 40, 41, 42, 43, 44, 50, 60, 62, 63, 64, 70, 80)


def _cut(position: int) -> Case:
    data = _CUT.replace(b"%d", b"%03d" % position)
    return case(
        f"a cut at {position}",
        hello(),
        send(data, cuts=(position,)),
        sync(),
        shows=(b"MSG cut.%03d 1 r 5\r\nhello\r\n" % position, b"HMSG cut.%03d 1 18 19\r\n" % position, PONG),
    )


CUTS: tuple[Case, ...] = (
    *(_cut(position) for position in _CUTS),
    case(
        "every byte alone",
        hello(),
        send(b"SUB cut.x 1\r\n" + pub(b"cut.x", b"hi", b"r") + b"UNSUB 1\r\n", cuts=range(1, 43)),
        sync(),
        shows=b"MSG cut.x 1 r 2\r\nhi\r\n",
    ),
    case("an unknown verb in two pieces", hello(), send(b"FOO\r\n", cuts=(1,)), ended(), shows=UNKNOWN),
    case("a ping in four pieces", hello(), send(b"PING\r\n", cuts=(1, 2, 5)), expect(PONG), sync(), shows=PONG),
    case("a wrong trailer in two pieces", hello(), send(b"PUB cut.y 1\r\nxAB\r\n", cuts=(14,)), ended(), shows=UNKNOWN),
    case(
        "connect and all else in two pieces",
        opened(),
        send(connect_line() + b"PING\r\nSUB cut.z 1\r\n" + pub(b"cut.z", b"x"), cuts=(len(connect_line()) + 8,)),
        sync(),
        expect(PONG),
        shows=(PONG, b"MSG cut.z 1 1\r\nx\r\n"),
    ),
)

CASES = (*VERBS, *WHITESPACE, *SIZES, *LIMITS, *CUTS)

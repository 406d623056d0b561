"""Cases: two servers joined by a route: what clients of each are told, and what crosses."""

from __future__ import annotations

from typing import Any

from ._script import Act, Case, HalfClose, Open, Steps, Wait, case, ended, expect, hello, hpub, pub, quiet, send, sync

PONG = b"PONG\r\n"
BLOCK = b"NATS/1.0\r\nA: b\r\n\r\n"
LDM = b'"ldm":true'
# Interest takes its time from one server to the other, and so do messages.
CROSS = Wait(0.1)


def _two(*steps: Steps, **fields: Any) -> list[Steps]:
    """Client "a" on the first server, "b" on the second."""
    return [hello("a", **fields), hello("b", server=1, **fields), *steps]


INFOS: tuple[Case, ...] = (
    case(
        "a cluster is told of",
        _two(sync("a", "b")),
        shows=(b'"cluster":"c"', b'"connect_urls":["', ("b", b'"connect_urls":["')),
        servers=2,
    ),
    case(
        "a server that dies is told of",
        _two(Act("kill", 1), ended("b"), expect(b'"connect_urls":["'), sync()),
        shows=(b'"connect_info":true', b'"connect_urls":["', PONG),
        servers=2,
    ),
    case(
        "a server that comes back is told of",
        _two(
            Act("kill", 1),
            ended("b"),
            expect(b'"connect_urls":["'),
            Act("start", 1),
            expect(b'"connect_urls":["'),
            sync(),
        ),
        shows=(b'"connect_info":true', b'"connect_urls":["', b'"connect_urls":["', PONG),
        servers=2,
    ),
    case(
        "a client of protocol 0 is told of no death",
        _two(hello("c", protocol=0), Act("kill", 1), expect(b'"connect_urls":["'), quiet(0.1, "c"), sync("c")),
        shows=(("c", PONG), ("c", PONG)),
        servers=2,
    ),
    case(
        "a lame duck in a cluster",
        _two(Act("lame_duck", 1), expect(LDM, "b"), quiet(0.2), sync("a", "b")),
        shows=(("b", LDM),),
        servers=2,
    ),
    case(
        "a lame duck's cluster takes its clients",
        _two(Act("lame_duck", 1), expect(LDM, "b"), CROSS, Open("c", 1), hello("d"), sync("a", "b", "d")),
        shows=("d", PONG),
        ends={"c": "refused"},
        servers=2,
    ),
    case(
        "a cluster in three",
        hello("a"),
        hello("b", server=1),
        hello("c", server=2),
        sync("a", "b", "c"),
        shows=("c", b'"connect_urls":["'),
        servers=3,
    ),
)

MESSAGES: tuple[Case, ...] = (
    case(
        "a message crosses",
        _two(
            send(b"SUB x.1 7\r\n", "b"), sync("b"), CROSS, send(pub(b"x.1", b"hi", b"r")), sync(), expect(b"MSG ", "b")
        ),
        shows=("b", b"MSG x.1 7 r 2\r\nhi\r\n"),
        servers=2,
    ),
    case(
        "a message with headers crosses",
        _two(
            send(b"SUB x.2 7\r\n", "b"),
            sync("b"),
            CROSS,
            send(hpub(b"x.2", BLOCK, b"x", b"r")),
            sync(),
            expect(b"HMSG ", "b"),
        ),
        shows=("b", b"HMSG x.2 7 r 18 19\r\n"),
        servers=2,
    ),
    case(
        "a message with headers crosses to who takes none",
        _two(
            hello("c", server=1, headers=False, no_responders=False),
            send(b"SUB x.3 7\r\n", "c"),
            sync("c"),
            CROSS,
            send(hpub(b"x.3", BLOCK, b"x")),
            sync(),
            expect(b"MSG ", "c"),
        ),
        shows=("c", b"MSG x.3 7 1\r\nx\r\n"),
        servers=2,
    ),
    case(
        "many subscriptions there get a copy each",
        _two(
            send(b"SUB x.4 1\r\nSUB x.* 2\r\nSUB x.> 3\r\n", "b"),
            sync("b"),
            CROSS,
            send(pub(b"x.4", b"x")),
            sync(),
            CROSS,
            sync("b"),
        ),
        shows=(("b", b"MSG x.4 "), ("b", b"MSG x.4 "), ("b", b"MSG x.4 ")),
        servers=2,
    ),
    case(
        "here and there get a copy each",
        _two(
            send(b"SUB x.5 1\r\n"),
            send(b"SUB x.5 2\r\n", "b"),
            sync("a", "b"),
            CROSS,
            send(pub(b"x.5", b"x")),
            sync(),
            expect(b"MSG ", "b"),
        ),
        shows=(b"MSG x.5 1 1", ("b", b"MSG x.5 2 1")),
        servers=2,
    ),
    case(
        "without echo a message crosses and does not return",
        _two(
            send(b"SUB x.6 1\r\n"),
            send(b"SUB x.6 2\r\n", "b"),
            sync("a", "b"),
            CROSS,
            send(pub(b"x.6", b"x")),
            sync(),
            expect(b"MSG ", "b"),
            CROSS,
            sync(),
            echo=False,
        ),
        shows=("b", b"MSG x.6 2 1"),
        lacks=b"MSG x.6 1",
        servers=2,
    ),
    case(
        "nobody there on either server",
        _two(send(b"SUB in.1 1\r\n" + pub(b"x.7", b"?", b"in.1")), sync()),
        shows=b"HMSG in.1 1 35 35\r\nNATS/1.0 503",
        servers=2,
    ),
    case(
        "nobody there any more",
        _two(
            send(b"SUB x.8 1\r\n", "b"),
            sync("b"),
            CROSS,
            send(b"UNSUB 1\r\n", "b"),
            sync("b"),
            CROSS,
            send(b"SUB in.2 1\r\n" + pub(b"x.8", b"?", b"in.2")),
            sync(),
        ),
        shows=b"HMSG in.2 1 ",
        servers=2,
    ),
    case(
        "nobody there after a link's end",
        _two(
            send(b"SUB x.9 1\r\n", "b"),
            sync("b"),
            CROSS,
            HalfClose("b"),
            CROSS,
            send(b"SUB in.3 1\r\n" + pub(b"x.9", b"?", b"in.3")),
            sync(),
        ),
        shows=b"HMSG in.3 1 ",
        servers=2,
    ),
    case(
        "nobody there after a server's end",
        _two(
            send(b"SUB x.10 1\r\n", "b"),
            sync("b"),
            CROSS,
            Act("kill", 1),
            ended("b"),
            expect(b'"connect_urls":["'),
            CROSS,
            send(b"SUB in.4 1\r\n" + pub(b"x.10", b"?", b"in.4")),
            sync(),
        ),
        shows=b"HMSG in.4 1 ",
        servers=2,
    ),
    case(
        "a request and its reply cross",
        _two(
            send(b"SUB x.11 1\r\n", "b"),
            sync("b"),
            CROSS,
            send(b"SUB in.5 1\r\n" + pub(b"x.11", b"?", b"in.5")),
            sync(),
            expect(b"MSG ", "b"),
            send(pub(b"in.5", b"!"), "b"),
            sync("b"),
            expect(b"MSG in.5"),
        ),
        shows=(("b", b"MSG x.11 1 in.5 1\r\n?\r\n"), b"MSG in.5 1 1\r\n!\r\n"),
        servers=2,
    ),
    case(
        "a maximum counts what crossed",
        _two(
            send(b"SUB x.12 1\r\nUNSUB 1 2\r\n", "b"),
            sync("b"),
            CROSS,
            send(pub(b"x.12", b"1") + pub(b"x.12", b"2") + pub(b"x.12", b"3")),
            sync(),
            CROSS,
            sync("b"),
            CROSS,
            send(b"SUB in.6 1\r\n" + pub(b"x.12", b"?", b"in.6")),
            sync(),
        ),
        shows=(("b", b"MSG x.12 1 1\r\n2\r\nPONG"), b"HMSG in.6 1 "),
        servers=2,
    ),
    case(
        "a queue group over both gets one copy",
        _two(
            send(b"SUB x.13 g 1\r\n"),
            send(b"SUB x.13 g 1\r\n", "b"),
            sync("a", "b"),
            CROSS,
            send(b"".join(pub(b"x.13", b"%d" % n) for n in range(20))),
            sync(),
            CROSS,
            sync("a", "b"),
        ),
        shows=PONG,
        queue_sids=(b"1",),
        servers=2,
    ),
    case(
        "a queue group there gets one copy",
        _two(
            send(b"SUB x.14 g 1\r\nSUB x.14 g 2\r\nSUB x.14 3\r\n", "b"),
            sync("b"),
            CROSS,
            send(b"".join(pub(b"x.14", b"%d" % n) for n in range(20))),
            sync(),
            CROSS,
            sync("b"),
        ),
        shows=("b", b"MSG x.14 3 2\r\n19\r\n"),
        queue_sids=(b"1", b"2"),
        servers=2,
    ),
    case(
        "two queue groups there get a copy each",
        _two(
            send(b"SUB x.15 g 1\r\nSUB x.15 h 2\r\n", "b"),
            sync("b"),
            CROSS,
            send(pub(b"x.15", b"x")),
            sync(),
            CROSS,
            sync("b"),
        ),
        shows=(("b", b"MSG x.15 "), ("b", b"MSG x.15 ")),
        servers=2,
    ),
    case(
        "subscriptions from before the other came",
        _two(
            send(b"SUB x.16 1\r\n"),
            sync(),
            Act("kill", 1),
            ended("b"),
            expect(b'"connect_urls":["'),
            Act("start", 1),
            expect(b'"connect_urls":["'),
            Wait(0.3),
            hello("c", server=1),
            send(pub(b"x.16", b"x"), "c"),
            sync("c"),
            expect(b"MSG "),
        ),
        shows=b"MSG x.16 1 1\r\nx\r\n",
        servers=2,
    ),
    case(
        "a message crosses once among three",
        hello("a"),
        hello("b", server=1),
        hello("c", server=2),
        send(b"SUB x.17 1\r\n", "b"),
        send(b"SUB x.17 1\r\n", "c"),
        sync("b", "c"),
        CROSS,
        send(pub(b"x.17", b"x")),
        sync(),
        expect(b"MSG ", "b"),
        expect(b"MSG ", "c"),
        CROSS,
        sync("a", "b", "c"),
        shows=(("b", b"MSG x.17 1 1\r\nx\r\nPONG"), ("c", b"MSG x.17 1 1\r\nx\r\nPONG")),
        servers=3,
    ),
    case(
        "odd subjects cross",
        _two(
            send(b"SUB odd.* 1\r\n", "b"),
            sync("b"),
            CROSS,
            send(pub(b"odd.\xff\xfe", b"x") + pub(b"odd.*", b"y")),
            sync(),
            CROSS,
            sync("b"),
        ),
        shows=("b", b"MSG odd.\xff\xfe 1 1\r\nx\r\n"),
        servers=2,
    ),
    case(
        "an empty message crosses",
        _two(
            send(b"SUB x.18 1\r\n", "b"),
            sync("b"),
            CROSS,
            send(pub(b"x.18") + hpub(b"x.18", BLOCK)),
            sync(),
            expect(b"HMSG ", "b"),
        ),
        shows=("b", b"MSG x.18 1 0\r\n\r\nHMSG x.18 1 18 18\r\n"),
        servers=2,
    ),
)

CASES = (*INFOS, *MESSAGES)

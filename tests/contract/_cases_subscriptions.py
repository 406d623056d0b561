"""Cases: SUB and UNSUB: patterns, sids, maxima."""

from __future__ import annotations

from ._script import (
    Case,
    HalfClose,
    Wait,
    case,
    ended,
    hello,
    pub,
    send,
    sync,
)

PONG = b"PONG\r\n"

SUBSCRIBE: tuple[Case, ...] = (
    case(
        "one token",
        hello(),
        send(b"SUB w1.* 1\r\n" + pub(b"w1", b"0") + pub(b"w1.a", b"1") + pub(b"w1.a.b", b"2")),
        sync(),
        shows=b"MSG w1.a 1 1\r\n1\r\nPONG",
    ),
    case(
        "one token and more",
        hello(),
        send(b"SUB w2.> 1\r\n" + pub(b"w2", b"0") + pub(b"w2.a", b"1") + pub(b"w2.a.b", b"2")),
        sync(),
        shows=b"MSG w2.a 1 1\r\n1\r\nMSG w2.a.b 1 1\r\n2\r\nPONG",
    ),
    case(
        "a token in the middle",
        hello(),
        send(b"SUB w3.*.z 1\r\n" + pub(b"w3.a.z", b"1") + pub(b"w3.z", b"2")),
        sync(),
        shows=b"MSG w3.a.z 1 1\r\n1\r\nPONG",
    ),
    case(
        "every pattern gets a copy",
        hello(),
        send(b"SUB w4.a 1\r\nSUB w4.* 2\r\nSUB w4.> 3\r\nSUB w4.a 4\r\n" + pub(b"w4.a", b"x")),
        sync(),
        shows=(b"MSG w4.a ", b"MSG w4.a ", b"MSG w4.a ", b"MSG w4.a ", PONG),
    ),
    case(
        "wildcards inside tokens are letters",
        hello(),
        send(b"SUB w5.a* 1\r\nSUB w5.>b 2\r\n" + pub(b"w5.a*", b"1") + pub(b"w5.ab", b"2") + pub(b"w5.>b", b"3")),
        sync(),
        shows=b"MSG w5.a* 1 1\r\n1\r\nMSG w5.>b 2 1\r\n3\r\nPONG",
    ),
    case(
        "a full wildcard that is not last",
        hello(),
        send(b"SUB w6.>.a 1\r\n" + pub(b"w6.b.a", b"x")),
        sync(),
        shows=b"-ERR 'Invalid Subject'\r\nPONG",
    ),
    case(
        "empty tokens in a subscription",
        hello(),
        send(b"SUB w7..a 1\r\nSUB .w7 2\r\nSUB w7. 3\r\nSUB . 4\r\n"),
        sync(),
        shows=(b"-ERR 'Invalid Subject'\r\n" * 4, PONG),
    ),
    case(
        "subjects differ by case",
        hello(),
        send(b"SUB w8.Ab 1\r\n" + pub(b"w8.ab", b"1") + pub(b"w8.Ab", b"2")),
        sync(),
        shows=b"MSG w8.Ab 1 1\r\n2\r\nPONG",
    ),
    case(
        "the same sid twice keeps the first",
        hello(),
        send(b"SUB w9.a 1\r\nSUB w9.b 1\r\n" + pub(b"w9.a", b"1") + pub(b"w9.b", b"2")),
        sync(),
        shows=b"MSG w9.a 1 1\r\n1\r\n",
    ),
    case(
        "the same sid and subject twice",
        hello(),
        send(b"SUB w10 1\r\nSUB w10 1\r\n" + pub(b"w10", b"x")),
        sync(),
        shows=b"MSG w10 1 1\r\nx\r\nPONG",
    ),
    case(
        "the same sid again after unsub",
        hello(),
        send(b"SUB w11.a 1\r\nUNSUB 1\r\nSUB w11.b 1\r\n" + pub(b"w11.a", b"1") + pub(b"w11.b", b"2")),
        sync(),
        shows=b"MSG w11.b 1 1\r\n2\r\nPONG",
    ),
    case(
        "a sid may be any word",
        hello(),
        send(b"SUB w12 a-b.c>\xff\r\n" + pub(b"w12", b"x")),
        sync(),
        shows=b"MSG w12 a-b.c>\xff 1\r\nx\r\n",
    ),
    case(
        "a sid of a thousand letters",
        hello(),
        send(b"SUB w13 " + b"s" * 1000 + b"\r\n" + pub(b"w13", b"x")),
        sync(),
        shows=b"MSG w13 " + b"s" * 1000 + b" 1\r\nx\r\n",
    ),
    case("sub with one field", hello(), send(b"SUB w14\r\n"), ended(), shows=b"INFO", lacks=b"MSG "),
    case("sub with nothing", hello(), send(b"SUB \r\n"), ended(), shows=b"INFO"),
    case("sub with four fields", hello(), send(b"SUB w15 q 1 2\r\n"), ended(), shows=b"INFO"),
    case(
        "a subscription with surplus whitespace",
        hello(),
        send(b"SUB  \t w16 \t 1  \r\n" + pub(b"w16", b"x")),
        sync(),
        shows=b"MSG w16 1 1\r\nx\r\n",
    ),
    case(
        "a subscription that ends with its link",
        hello(),
        hello("b"),
        send(b"SUB w17 1\r\n", "b"),
        sync("b"),
        send(pub(b"w17", b"1")),
        sync("a", "b"),
        HalfClose("b"),
        Wait(0.05),
        hello("c"),
        send(b"SUB w17 2\r\n", "c"),
        sync("c"),
        send(pub(b"w17", b"2")),
        sync("a", "c"),
        shows=(("b", b"1\r\n"), ("c", b"MSG w17 2 1\r\n2\r\n")),
    ),
    case(
        "a subscription to everything",
        hello(),
        send(b"SUB > 1\r\n" + pub(b"w18", b"1") + pub(b"w18.a.b", b"2")),
        sync(),
        shows=(b"MSG w18 1 1", b"MSG w18.a.b 1 1"),
        private=True,
    ),
    case(
        "a subject with control letters",
        hello(),
        send(b"SUB w19.\x01\x7f 1\r\n" + pub(b"w19.\x01\x7f", b"x")),
        sync(),
        shows=b"MSG w19.\x01\x7f 1 1\r\nx",
    ),
    case(
        "a subject with a form feed", hello(), send(b"SUB w20.\x0c 1\r\n" + pub(b"w20.\x0c", b"x")), sync(), shows=PONG
    ),
    case(
        "a subscription with a lone line feed in it",
        hello(),
        send(b"SUB w21\n 1\r\n" + pub(b"w21", b"x")),
        ended(),
        shows=b"INFO",
        lacks=b"MSG ",
    ),
    case(
        "a subscription with a lone carriage return",
        hello(),
        send(b"SUB w22\r 1\r\n" + pub(b"w22\r", b"x")),
        sync(),
        shows=PONG,
    ),
)

UNSUBSCRIBE: tuple[Case, ...] = (
    case(
        "unsub ends a subscription",
        hello(),
        send(b"SUB u1 1\r\n" + pub(b"u1", b"1") + b"UNSUB 1\r\n" + pub(b"u1", b"2")),
        sync(),
        shows=b"MSG u1 1 1\r\n1\r\nPONG",
    ),
    case(
        "unsub with a maximum",
        hello(),
        send(b"SUB u2 1\r\nUNSUB 1 2\r\n" + pub(b"u2", b"1") + pub(b"u2", b"2") + pub(b"u2", b"3")),
        sync(),
        shows=b"MSG u2 1 1\r\n1\r\nMSG u2 1 1\r\n2\r\nPONG",
    ),
    case(
        "the maximum counts from the beginning",
        hello(),
        send(
            b"SUB u3 1\r\n"
            + pub(b"u3", b"1")
            + pub(b"u3", b"2")
            + b"UNSUB 1 3\r\n"
            + pub(b"u3", b"3")
            + pub(b"u3", b"4")
        ),
        sync(),
        shows=b"MSG u3 1 1\r\n3\r\nPONG",
    ),
    case(
        "a maximum that has been reached",
        hello(),
        send(b"SUB u4 1\r\n" + pub(b"u4", b"1") + pub(b"u4", b"2") + b"UNSUB 1 2\r\n" + pub(b"u4", b"3")),
        sync(),
        shows=b"2\r\nPONG",
    ),
    case(
        "a maximum that is long past",
        hello(),
        send(b"SUB u5 1\r\n" + pub(b"u5", b"1") + pub(b"u5", b"2") + b"UNSUB 1 1\r\n" + pub(b"u5", b"3")),
        sync(),
        shows=b"2\r\nPONG",
    ),
    case("a maximum of zero", hello(), send(b"SUB u6 1\r\nUNSUB 1 0\r\n" + pub(b"u6", b"1")), sync(), shows=PONG),
    case("a negative maximum", hello(), send(b"SUB u7 1\r\nUNSUB 1 -1\r\n" + pub(b"u7", b"1")), sync(), shows=PONG),
    case(
        "a maximum that is no number",
        hello(),
        send(b"SUB u8 1\r\nUNSUB 1 x\r\n" + pub(b"u8", b"1")),
        sync(),
        shows=PONG,
    ),
    case(
        "a maximum raised later",
        hello(),
        send(b"SUB u9 1\r\nUNSUB 1 1\r\nUNSUB 1 2\r\n" + pub(b"u9", b"1") + pub(b"u9", b"2") + pub(b"u9", b"3")),
        sync(),
        shows=b"2\r\nPONG",
    ),
    case(
        "a maximum taken back by unsub",
        hello(),
        send(b"SUB u10 1\r\nUNSUB 1 5\r\nUNSUB 1\r\n" + pub(b"u10", b"1")),
        sync(),
        shows=PONG,
        lacks=b"MSG ",
    ),
    case("an unknown sid", hello(), send(b"UNSUB 77\r\nUNSUB 78 3\r\n"), sync(), shows=PONG, lacks=b"-ERR"),
    case("unsub with nothing", hello(), send(b"UNSUB \r\n"), ended(), shows=b"INFO"),
    case("unsub with three fields", hello(), send(b"UNSUB 1 2 3\r\n"), ended(), shows=b"INFO"),
    case(
        "a maximum is each subscription's own",
        hello(),
        send(b"SUB u11 1\r\nSUB u11 2\r\nUNSUB 1 1\r\n" + pub(b"u11", b"1") + pub(b"u11", b"2")),
        sync(),
        shows=(b"MSG u11 ", b"MSG u11 2 1\r\n2\r\nPONG"),
    ),
    case(
        "a sid is free again after its maximum",
        hello(),
        send(
            b"SUB u12 1\r\nUNSUB 1 1\r\n"
            + pub(b"u12", b"1")
            + b"SUB u12.b 1\r\n"
            + pub(b"u12.b", b"2")
            + pub(b"u12", b"3")
        ),
        sync(),
        shows=b"MSG u12.b 1 1\r\n2\r\nPONG",
    ),
    case(
        "a sid subscribed again keeps its maximum",
        hello(),
        send(b"SUB u13 1\r\nUNSUB 1 1\r\nSUB u13 1\r\n" + pub(b"u13", b"1") + pub(b"u13", b"2")),
        sync(),
        shows=b"MSG u13 1 1\r\n1\r\nPONG",
    ),
    case(
        "a maximum with surplus whitespace",
        hello(),
        send(b"SUB u14 1\r\nUNSUB   1 \t 1  \r\n" + pub(b"u14", b"1") + pub(b"u14", b"2")),
        sync(),
        shows=b"MSG u14 1 1\r\n1\r\nPONG",
    ),
    case(
        "a maximum of messages without echo",
        hello(echo=False),
        hello("b"),
        send(b"SUB u15 1\r\nUNSUB 1 1\r\n" + pub(b"u15", b"own") + pub(b"u15", b"own")),
        sync(),
        send(pub(b"u15", b"x") + pub(b"u15", b"y"), "b"),
        sync("b", "a"),
        shows=b"MSG u15 1 1\r\nx\r\nPONG",
    ),
)


CASES = (
    *SUBSCRIBE,
    *UNSUBSCRIBE,
)

"""Cases: what a server allows to whom."""

from __future__ import annotations

from typing import Any

from ._script import Case, Step, case, ended, hello, hpub, pub, send, sync
from ._server import Rule, ServerConfig, User

PONG = b"PONG\r\n"
BLOCK = b"NATS/1.0\r\nA: b\r\n\r\n"

DENIED = User(
    "denied", "p", publish=Rule(deny=("no.>", "also.*.no", "one")), subscribe=Rule(deny=("no.>", "also.*.no", "one"))
)
ALLOWED = User(
    "allowed", "p", publish=Rule(allow=("yes.>", "some.*")), subscribe=Rule(allow=("yes.>", "some.*", "in.>"))
)
BOTH = User(
    "both",
    "p",
    publish=Rule(allow=("yes.>",), deny=("yes.no.>",)),
    subscribe=Rule(allow=("yes.>", "_INBOX.>"), deny=("yes.no.>", "yes.one")),
)
WORKER = User("worker", "p", subscribe=Rule(allow=("jobs workers", "jobs.* work*", "free.>", "both", "both q")))
GROUPS = User("groups", "p", subscribe=Rule(deny=("jobs bad", "jobs.* worse*", "alone")))
NOTHING = User("nothing", "p", publish=Rule(deny=(">",)), subscribe=Rule(deny=(">",)))
BOSS = User("boss", "p")
CONFIG = ServerConfig(users=(DENIED, ALLOWED, BOTH, WORKER, GROUPS, NOTHING, BOSS))


def user(name: str, client: str = "a", **fields: Any) -> list[Step]:
    """Connect as one of the users."""
    return hello(client, user=name, pass_="p", **fields)


def refuses(what: str) -> bytes:
    """The -ERR."""
    return f"-ERR 'Permissions Violation for {what}'\r\n".encode()


PUBLISH: tuple[Case, ...] = (
    case(
        "a denied publish",
        user("denied"),
        send(b"SUB x 1\r\n" + pub(b"no.a", b"x") + pub(b"x", b"y")),
        sync(),
        shows=refuses('Publish to "no.a"') + b"MSG x 1 1\r\ny\r\nPONG",
        config=CONFIG,
    ),
    case(
        "a denied publish does not arrive",
        user("denied"),
        user("boss", "b"),
        send(b"SUB > 1\r\n", "b"),
        sync("b"),
        send(pub(b"no.b", b"x") + pub(b"yes.b", b"y")),
        sync("a", "b"),
        shows=("b", b"MSG yes.b 1 1"),
        lacks=b"MSG no.b",
        config=CONFIG,
    ),
    case(
        "a denied publish by a wildcard in the middle",
        user("denied"),
        send(pub(b"also.x.no") + pub(b"also.x.yes")),
        sync(),
        shows=refuses('Publish to "also.x.no"') + PONG,
        config=CONFIG,
    ),
    case(
        "a denied publish with headers and reply",
        user("denied"),
        send(hpub(b"no.c", BLOCK, b"x", b"r")),
        sync(),
        shows=refuses('Publish to "no.c"'),
        config=CONFIG,
    ),
    case(
        "a denied publish with verbose",
        user("denied", verbose=True),
        send(pub(b"no.d", b"x") + pub(b"yes.d", b"x")),
        sync(),
        shows=refuses('Publish to "no.d"'),
        config=CONFIG,
    ),
    case(
        "a denied publish with pedantic",
        user("denied", pedantic=True),
        send(pub(b"no.*", b"x")),
        sync(),
        shows=PONG,
        config=CONFIG,
    ),
    case(
        "a publish that is not allowed",
        user("allowed"),
        send(pub(b"other") + pub(b"yes.a") + pub(b"some.a.b") + pub(b"yes")),
        sync(),
        shows=refuses('Publish to "other"') + refuses('Publish to "some.a.b"') + refuses('Publish to "yes"'),
        config=CONFIG,
    ),
    case(
        "a publish both allowed and denied",
        user("both"),
        send(pub(b"yes.a") + pub(b"yes.no.a") + pub(b"other")),
        sync(),
        shows=refuses('Publish to "yes.no.a"') + refuses('Publish to "other"'),
        config=CONFIG,
    ),
    case(
        "a denied publish to a wildcard",
        user("denied"),
        send(pub(b"no.>", b"x") + pub(b"*", b"x") + pub(b">", b"x")),
        sync(),
        shows=refuses('Publish to "no.>"'),
        config=CONFIG,
    ),
    case(
        "nobody there for a denied request",
        user("denied"),
        send(b"SUB in.1 1\r\n" + pub(b"no.e", b"?", b"in.1")),
        sync(),
        shows=refuses('Publish to "no.e"'),
        lacks=b"HMSG ",
        config=CONFIG,
    ),
    case(
        "a denied reply subject",
        user("denied"),
        send(b"SUB yes.f 1\r\n" + pub(b"yes.f", b"?", b"no.f")),
        sync(),
        shows=b"MSG yes.f 1 no.f 1\r\n?\r\n",
        config=CONFIG,
    ),
    case(
        "empty tokens in a denied publish",
        user("denied"),
        send(pub(b"no..a") + pub(b"no.") + pub(b"ok..bad") + pub(b".")),
        sync(),
        shows=PONG,
        lacks=b"-ERR",
        config=CONFIG,
    ),
    case(
        "empty tokens where little is allowed",
        user("allowed"),
        send(pub(b"yes..a") + pub(b"yes.") + pub(b"ok..bad")),
        sync(),
        shows=b"".join(refuses(f'Publish to "{subject}"') for subject in ("yes..a", "yes.", "ok..bad")),
        config=CONFIG,
    ),
    *(
        case(
            f"a refused subject is quoted, {number}",
            user("denied"),
            send(pub(b"no." + token) + b"SUB no." + token + b" " + token + b" 1\r\n"),
            sync(),
            shows=(b"-ERR 'Permissions Violation for Publish to", b"using queue"),
            config=CONFIG,
        )
        for number, token in enumerate(
            (
                b'a"b',
                b"a\\c",
                b"\xff\xfe",
                "größe".encode(),
                b"\x01\x7f\x00",
                "\u200b\U0010ffff\xa0\xad".encode(),
                b"'",
                b"\xed\xa0\x80",
                b"\x07\x08\x0b\x0c\x1b",
                "\ufeff\ufffd\u2028\u0301x".encode(),
                "\U000e0001\U0001f600\ue000".encode(),
            )
        )
    ),
    case(
        "a very long refused subject",
        user("denied"),
        send(pub(b"no." + b"x" * 3000)),
        sync(),
        shows=b"-ERR 'Permissions Violation for Publish to \"no.xxx",
        config=CONFIG,
    ),
    case(
        "the same refusal again and again",
        user("denied"),
        send(pub(b"no.g") * 5),
        sync(),
        shows=refuses('Publish to "no.g"') * 5,
        config=CONFIG,
    ),
    case(
        "a wrong size for a denied subject",
        user("denied"),
        send(b"PUB no.h 1\r\nxy\r\n"),
        ended(),
        shows=b"-ERR 'Unknown Protocol Operation'",
        config=CONFIG,
    ),
)

SUBSCRIBE: tuple[Case, ...] = (
    case(
        "a denied subscription",
        user("denied"),
        send(b"SUB no.a 1\r\nSUB yes.a 2\r\n" + pub(b"yes.a")),
        sync(),
        shows=refuses('Subscription to "no.a"') + b"MSG yes.a 2 0",
        config=CONFIG,
    ),
    case(
        "a denied subscription with a queue group",
        user("denied"),
        send(b"SUB no.b q 1\r\n"),
        sync(),
        shows=refuses('Subscription to "no.b" using queue "q"'),
        config=CONFIG,
    ),
    case(
        "a denied subscription with verbose",
        user("denied", verbose=True),
        send(b"SUB no.c 1\r\nUNSUB 1\r\n"),
        sync(),
        shows=refuses('Subscription to "no.c"') + b"+OK\r\n",
        config=CONFIG,
    ),
    case(
        "a wildcard wider than what is denied",
        user("denied"),
        user("boss", "b"),
        send(b"SUB > 1\r\nSUB no.> 2\r\nSUB *.a 3\r\n"),
        sync(),
        send(pub(b"no.d", b"1") + pub(b"yes.d", b"2") + pub(b"no.a", b"3") + pub(b"one", b"4"), "b"),
        sync("b", "a"),
        shows=refuses('Subscription to "no.>"') + PONG + b"MSG yes.d 1 1\r\n2\r\n",
        lacks=b"MSG no.",
        config=CONFIG,
    ),
    case(
        "a wildcard inside what is denied",
        user("denied"),
        send(b"SUB no.* 1\r\nSUB no.*.x 2\r\nSUB also.*.no 3\r\nSUB also.*.* 4\r\n"),
        sync(),
        shows=refuses('Subscription to "no.*"') + refuses('Subscription to "no.*.x"'),
        config=CONFIG,
    ),
    case(
        "a subscription that is not allowed",
        user("allowed"),
        send(
            b"SUB other 1\r\nSUB yes.a 2\r\nSUB some.* 3\r\nSUB some.> 4\r\n"
            b"SUB > 5\r\nSUB * 6\r\nSUB yes.> 7\r\nSUB yes.*.z 8\r\n"
        ),
        sync(),
        shows=refuses('Subscription to "other"') + refuses('Subscription to ">"') + refuses('Subscription to "*"'),
        config=CONFIG,
    ),
    case(
        "a subscription both allowed and denied",
        user("both"),
        user("boss", "b"),
        send(b"SUB yes.> 1\r\nSUB yes.no.a 2\r\nSUB yes.one 3\r\nSUB yes.* 4\r\n"),
        sync(),
        send(pub(b"yes.one", b"1") + pub(b"yes.two", b"2") + pub(b"yes.no.a", b"3"), "b"),
        sync("b", "a"),
        shows=(refuses('Subscription to "yes.no.a"') + refuses('Subscription to "yes.one"'), b"MSG yes.two "),
        lacks=b"MSG yes.no.a",
        config=CONFIG,
    ),
    case(
        "a filtered message does not count",
        user("denied"),
        user("boss", "b"),
        send(b"SUB > 1\r\nUNSUB 1 2\r\n"),
        sync(),
        send(
            pub(b"no.e", b"1") + pub(b"ok.e", b"2") + pub(b"no.e", b"3") + pub(b"ok.e", b"4") + pub(b"ok.e", b"5"), "b"
        ),
        sync("b", "a"),
        shows=b"MSG ok.e 1 1\r\n2\r\nMSG ok.e 1 1\r\n4\r\nPONG",
        config=CONFIG,
    ),
    case(
        "a filtered member of a group passes on",
        user("denied"),
        user("boss", "b"),
        send(b"SUB > g 1\r\n"),
        send(b"SUB no.f g 2\r\n", "b"),
        sync("a", "b"),
        send(b"".join(pub(b"no.f", b"%d" % n) for n in range(8)), "b"),
        sync("b", "a"),
        shows=(("b", b"\r\n0\r\n"), ("b", b"\r\n7\r\n")),
        config=CONFIG,
    ),
    case(
        "nobody there but one who is filtered",
        user("denied"),
        user("boss", "b"),
        send(b"SUB > 1\r\n"),
        send(b"SUB in.2 2\r\n", "b"),
        sync("a", "b"),
        send(pub(b"no.g", b"?", b"in.2"), "b"),
        sync("b", "a"),
        shows=("b", b"HMSG in.2 2 "),
        config=CONFIG,
    ),
    case(
        "queue groups that are allowed",
        user("worker"),
        send(
            b"SUB jobs workers 1\r\nSUB jobs others 2\r\nSUB jobs 3\r\n"
            b"SUB jobs.a workers 4\r\nSUB jobs.a work 5\r\nSUB jobs.a others 6\r\nSUB jobs.> workers 7\r\n"
            b"SUB free.a any 8\r\nSUB free.> 9\r\n"
        ),
        sync(),
        shows=refuses('Subscription to "jobs" using queue "others"') + refuses('Subscription to "jobs"'),
        config=CONFIG,
    ),
    case(
        "a queue group and plain are both allowed",
        user("worker"),
        send(b"SUB both 1\r\nSUB both q 2\r\nSUB both r 3\r\n"),
        sync(),
        shows=PONG,
        config=CONFIG,
    ),
    case(
        "queue groups that are denied",
        user("groups"),
        send(
            b"SUB jobs bad 1\r\nSUB jobs good 2\r\nSUB jobs 3\r\n"
            b"SUB jobs.a worse 4\r\nSUB jobs.a worsening 5\r\nSUB jobs.a good 6\r\n"
            b"SUB alone 7\r\nSUB alone q 8\r\nSUB > bad 9\r\n"
        ),
        sync(),
        shows=refuses('Subscription to "jobs" using queue "bad"'),
        config=CONFIG,
    ),
    case(
        "who may do nothing",
        user("nothing"),
        send(b"SUB a 1\r\nSUB > 2\r\nSUB _INBOX.a 3\r\n" + pub(b"a", b"x") + pub(b"a", b"?", b"b")),
        sync(),
        shows=refuses('Subscription to "a"'),
        config=CONFIG,
    ),
    case(
        "an invalid subject that is denied",
        user("denied"),
        send(b"SUB no..a 1\r\nSUB no. 2\r\nSUB no.>.x 3\r\n"),
        sync(),
        shows=PONG,
        config=CONFIG,
    ),
    case(
        "an invalid subject that is not allowed",
        user("allowed"),
        send(b"SUB x..a 1\r\nSUB yes..a 2\r\n"),
        sync(),
        shows=PONG,
        config=CONFIG,
    ),
    case(
        "a denied sid may be used again",
        user("denied"),
        send(b"SUB no.h 1\r\nSUB ok.h 1\r\n" + pub(b"ok.h", b"x")),
        sync(),
        shows=b"MSG ok.h 1 1\r\nx\r\n",
        config=CONFIG,
    ),
    case(
        "a denied subscription uses no place",
        hello(user="u", pass_="p"),
        send(b"SUB no.a 1\r\nSUB a 2\r\nSUB b 3\r\n"),
        sync(),
        shows=refuses('Subscription to "no.a"'),
        config=ServerConfig(users=(User("u", "p", subscribe=Rule(deny=("no.>",))),), max_subscriptions=1),
    ),
    case(
        "each user has permissions of its own",
        user("denied"),
        user("boss", "b"),
        send(b"SUB no.i 1\r\n"),
        send(b"SUB no.i 1\r\n", "b"),
        sync("a", "b"),
        send(pub(b"no.i", b"x"), "b"),
        sync("b", "a"),
        shows=("b", b"MSG no.i 1 1\r\nx"),
        config=CONFIG,
    ),
    case(
        "a second connect changes the permissions",
        user("boss"),
        send(b"SUB no.j 1\r\n"),
        sync(),
        send(b'CONNECT {"verbose":false,"user":"denied","pass":"p"}\r\n'),
        sync(),
        send(b"SUB no.k 2\r\n" + pub(b"no.l", b"x")),
        sync(),
        shows=PONG,
        config=CONFIG,
    ),
    case(
        "credentials of nobody's user have its permissions",
        hello(),
        send(b"SUB no.m 1\r\n" + pub(b"no.m", b"x")),
        sync(),
        shows=refuses('Subscription to "no.m"') + refuses('Publish to "no.m"'),
        config=ServerConfig(users=(DENIED, BOSS), no_auth_user="denied"),
    ),
)

CASES = (*PUBLISH, *SUBSCRIBE)

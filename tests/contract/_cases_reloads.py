"""Cases: another configuration while clients are there."""

from __future__ import annotations

from typing import Any

from ._cases_permissions import BOSS, PONG, refuses
from ._script import Case, Reload, Step, Wait, case, ended, expect, hello, pub, send, sync
from ._server import Rule, ServerConfig, User

_OPEN = ServerConfig(users=(User("u", "p"), BOSS))
_U_DENIED = ServerConfig(users=(User("u", "p", publish=Rule(deny=("no.>",)), subscribe=Rule(deny=("no.>",))), BOSS))


def _u(client: str = "a", **fields: Any) -> list[Step]:
    return hello(client, user="u", pass_="p", **fields)


RELOAD: tuple[Case, ...] = (
    case(
        "a subscription that is denied now",
        _u(),
        send(b"SUB no.a 7\r\nSUB yes.a 8\r\n"),
        sync(),
        Reload(_U_DENIED),
        expect(b"Permissions Violation"),
        send(pub(b"no.a", b"x") + pub(b"yes.a", b"y")),
        sync(),
        shows=refuses('Subscription to "no.a" (sid "7")') + refuses('Publish to "no.a"') + b"MSG yes.a 8 1",
        config=_OPEN,
    ),
    case(
        "a queue subscription that is denied now",
        _u(),
        send(b"SUB no.b q 7\r\n"),
        sync(),
        Reload(_U_DENIED),
        expect(b"Permissions Violation"),
        sync(),
        shows=b'-ERR \'Permissions Violation for Subscription to "no.b"',
        config=_OPEN,
    ),
    case(
        "a wide subscription is filtered now",
        _u(),
        hello("b", user="boss", pass_="p"),
        send(b"SUB *.c 7\r\n"),
        sync(),
        Reload(_U_DENIED),
        Wait(0.05),
        send(pub(b"no.c", b"x") + pub(b"yes.c", b"y"), "b"),
        sync("b", "a"),
        shows=b"MSG yes.c 7 1",
        lacks=b"MSG no.c",
        config=_OPEN,
    ),
    case(
        "what was denied is allowed now",
        _u(),
        send(pub(b"no.d", b"x") + b"SUB no.d 1\r\n"),
        sync(),
        Reload(_OPEN),
        Wait(0.05),
        send(b"SUB no.d 2\r\n" + pub(b"no.d", b"y")),
        sync(),
        shows=(refuses('Publish to "no.d"'), b"MSG no.d 2 1\r\ny\r\n"),
        config=_U_DENIED,
    ),
    case(
        "a user whose password has changed",
        _u(),
        Reload(ServerConfig(users=(User("u", "other"), BOSS))),
        ended(),
        shows=b"-ERR 'Authorization Violation'",
        ends="fin",
        config=_OPEN,
    ),
    case(
        "a user who is no more",
        _u(),
        hello("b", user="boss", pass_="p"),
        Reload(ServerConfig(users=(BOSS,))),
        ended(),
        sync("b"),
        shows=(b'"connect_info":true', ("b", PONG)),
        config=_OPEN,
    ),
    case(
        "users who were not asked for before", hello(), Reload(_OPEN), ended(), shows=b"-ERR 'Authorization Violation'"
    ),
    case(
        "a token who was not asked for before",
        hello(),
        Reload(ServerConfig(token="t")),
        ended(),
        shows=b"-ERR 'Authorization Violation'",
    ),
    case(
        "a smaller max_payload",
        hello(),
        Reload(ServerConfig(max_payload=100)),
        Wait(0.05),
        send(pub(b"a", b"x" * 101)),
        ended(),
        shows=b"-ERR 'Maximum Payload Violation'",
    ),
    case(
        "a smaller max_payload is told to a new client",
        hello(),
        Reload(ServerConfig(max_payload=100)),
        Wait(0.05),
        hello("b"),
        sync("a"),
        shows=(("a", PONG), ("b", b'"max_payload":100')),
    ),
    case(
        "a reload that changes nothing",
        hello(),
        send(b"SUB r.a 1\r\n"),
        sync(),
        Reload(ServerConfig()),
        send(pub(b"r.a", b"x")),
        sync(),
        shows=b"MSG r.a 1 1\r\nx\r\n",
        private=True,
    ),
    case(
        "a smaller control line",
        hello(),
        Reload(ServerConfig(max_control_line=64)),
        Wait(0.05),
        send(b"SUB " + b"s" * 100 + b" 1\r\n"),
        ended(),
        shows=b"-ERR 'maximum control line exceeded'",
    ),
)

CASES = RELOAD

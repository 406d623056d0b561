"""Cases: who is let in, who is not, and what each is told."""

from __future__ import annotations

from ._script import Case, case, connect_line, ended, expect, hello, opened, pub, quiet, send, sync
from ._server import ServerConfig, User

ALICE = User("alice", "sesame")
BOB = User("bob", "b")
USERS = ServerConfig(users=(ALICE, BOB))
TOKEN = ServerConfig(token="t0ken")
HURRIED = ServerConfig(users=(ALICE,), auth_timeout_seconds=0.3)
ANYBODY = ServerConfig(users=(ALICE, BOB), no_auth_user="bob")

PONG = b"PONG\r\n"
OK = b"+OK\r\n"
SECOND_INFO = b'"connect_info":true'
VIOLATION = b"-ERR 'Authorization Violation'\r\n"

CREDENTIALS: tuple[Case, ...] = (
    case(
        "user and password",
        hello(user="alice", pass_="sesame"),
        send(b"SUB au 1\r\n" + pub(b"au")),
        sync(),
        shows=(b'"auth_required":true', PONG, b"MSG au 1 0\r\n\r\n"),
        config=USERS,
    ),
    case(
        "a wrong password",
        opened(),
        send(connect_line(user="alice", pass_="x") + b"PING\r\n"),
        ended(),
        shows=VIOLATION,
        lacks=PONG,
        ends="fin",
        config=USERS,
    ),
    case(
        "an unknown user",
        opened(),
        send(connect_line(user="eve", pass_="x") + b"PING\r\n"),
        ended(),
        shows=VIOLATION,
        lacks=PONG,
        config=USERS,
    ),
    case(
        "no password", opened(), send(connect_line(user="alice") + b"PING\r\n"), ended(), shows=VIOLATION, config=USERS
    ),
    case(
        "a token where users are asked for",
        opened(),
        send(connect_line(auth_token="sesame") + b"PING\r\n"),
        ended(),
        shows=VIOLATION,
        config=USERS,
    ),
    case(
        "no credentials",
        opened(),
        send(connect_line() + b"PING\r\n"),
        ended(),
        shows=VIOLATION,
        lacks=PONG,
        config=USERS,
    ),
    case(
        "a wrong password with verbose",
        opened(),
        send(connect_line(verbose=True, user="a", pass_="")),
        ended(),
        shows=VIOLATION,
        lacks=OK,
        config=USERS,
    ),
    case("a ping before credentials", opened(), send(b"PING\r\n"), ended(), shows=VIOLATION, lacks=PONG, config=USERS),
    case("a pong before credentials", opened(), send(b"PONG\r\n"), ended(), shows=VIOLATION, config=USERS),
    case("a publish before credentials", opened(), send(pub(b"a", b"x")), ended(), shows=VIOLATION, config=USERS),
    case("a subscription before credentials", opened(), send(b"SUB a 1\r\n"), ended(), shows=VIOLATION, config=USERS),
    case("nonsense before credentials", opened(), send(b"FOO\r\n"), ended(), shows=VIOLATION, config=USERS),
    case(
        "a small connect before credentials",
        opened(),
        send(b"connect" + connect_line(user="bob", pass_="b")[7:] + b"ping\r\n"),
        expect(SECOND_INFO),
        shows=PONG,
        config=USERS,
    ),
    case("an empty line before credentials", opened(), send(b"\r\n"), ended(), shows=VIOLATION, config=USERS),
    case(
        "a bad protocol with credentials",
        opened(),
        send(connect_line(protocol=2, user="bob", pass_="b")),
        ended(),
        shows=b"-ERR 'invalid client protocol'",
        config=USERS,
    ),
    case(
        "a second connect as somebody else",
        hello(user="alice", pass_="sesame"),
        send(connect_line(user="bob", pass_="b")),
        sync(),
        shows=(SECOND_INFO, PONG),
        config=USERS,
    ),
    case(
        "a second connect with a wrong password",
        hello(user="alice", pass_="sesame"),
        send(connect_line(user="bob", pass_="x")),
        ended(),
        shows=(SECOND_INFO, VIOLATION),
        config=USERS,
    ),
    case(
        "who listens to the system hears of a refusal",
        hello(user="alice", pass_="sesame"),
        send(b"SUB $SYS.> 1\r\n"),
        sync(),
        opened("b"),
        send(connect_line(user="eve", pass_="x"), "b"),
        ended("b"),
        quiet(0.1),
        sync(),
        shows=(b"MSG $SYS.ACCOUNT.CLIENT.AUTH.ERR 1 ", PONG),
        config=USERS,
        private=True,
    ),
    case("the right token", hello(auth_token="t0ken"), sync(), shows=(b'"auth_required":true', PONG), config=TOKEN),
    case(
        "a wrong token",
        opened(),
        send(connect_line(auth_token="token") + b"PING\r\n"),
        ended(),
        shows=VIOLATION,
        config=TOKEN,
    ),
    case(
        "a token as a user",
        opened(),
        send(connect_line(user="t0ken") + b"PING\r\n"),
        ended(),
        shows=VIOLATION,
        config=TOKEN,
    ),
    case(
        "a token as a password",
        opened(),
        send(connect_line(user="u", pass_="t0ken") + b"PING\r\n"),
        ended(),
        shows=VIOLATION,
        config=TOKEN,
    ),
    case(
        "who says nothing runs out of time",
        opened(),
        ended(),
        shows=b"-ERR 'Authentication Timeout'",
        ends="fin",
        config=HURRIED,
    ),
    case(
        "half a connect runs out of time",
        opened(),
        send(b"CONNECT {"),
        ended(),
        shows=b"-ERR 'Authentication Timeout'",
        config=HURRIED,
    ),
    case(
        "who is in time stays",
        hello(user="alice", pass_="sesame"),
        quiet(0.5),
        sync(),
        shows=(PONG, PONG),
        lacks=b"-ERR",
        config=HURRIED,
    ),
    case(
        "who has no credentials is somebody",
        hello(),
        send(b"SUB nau 1\r\n" + pub(b"nau")),
        sync(),
        shows=(b"INFO {", b'"auth_required":true', b"MSG nau 1 0"),
        config=ANYBODY,
    ),
    case(
        "wrong credentials are not nobody's",
        opened(),
        send(connect_line(user="eve", pass_="x")),
        ended(),
        shows=VIOLATION,
        config=ANYBODY,
    ),
    case(
        "with a user for everybody ping needs no connect",
        opened(),
        send(b"PING\r\n"),
        expect(PONG),
        quiet(),
        shows=PONG,
        config=ANYBODY,
    ),
    case(
        "with a user for everybody sub needs no connect",
        opened(),
        send(b"SUB a 1\r\n"),
        sync(),
        shows=b"+OK\r\n",
        config=ANYBODY,
    ),
)

CASES = CREDENTIALS

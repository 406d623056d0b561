"""Who may do what: credentials, permissions and their overlaps, and what a reload takes away."""

from __future__ import annotations

import attrs
import pytest

from beamline_trio.simulation._server import Rule, ServerConfig, User

from ._server_rig import FakeLink, Rig

LISTENER = User("listener", "l", subscribe=Rule(allow=("foo.*", "one v1", "two", "two v*", "three v.*")))
DENIED = User("denied", "d", publish=Rule(deny=("no.>",)), subscribe=Rule(deny=("no.>", "x.*.z", "qq dq")))
SENDER = User("sender", "s", publish=Rule(allow=("a", "b.*")))
FREE = User("free", "f", publish=Rule(allow=()), subscribe=Rule(allow=()))
USERS = ServerConfig(users=(LISTENER, DENIED, SENDER, FREE))
VIOLATION = b"-ERR 'Authorization Violation'\r\n"


def login(rig: Rig, user: User) -> FakeLink:
    return rig.connect(**{"user": user.name, "pass": user.password})


def refused(link: FakeLink, *subs: bytes) -> list[bytes]:
    """Which of these SUB lines, each with its place as sid, are refused."""
    bad = []
    for number, sub in enumerate(subs):
        answer = link.talk(b"SUB %b %d\r\n" % (sub, number))
        if answer:
            assert answer.startswith(b"-ERR 'Permissions Violation for Subscription to ")
            bad.append(sub)
    return bad


def test_credentials() -> None:
    """The right ones let in; wrong, unknown and none are refused with one text and a close."""
    rig = Rig(USERS)
    assert login(rig, FREE).talk(b"PING\r\n") == b"PONG\r\n"
    for fields in (b'"user":"free","pass":"x"', b'"user":"who","pass":"f"', b'"user":"free"', b'"auth_token":"f"', b""):
        link = rig.dial()
        link.take()
        assert (link.talk(b"CONNECT {%b}\r\nPING\r\n" % fields), link.ending) == (VIOLATION, "close")


def test_a_token() -> None:
    """Everybody needs it; a user's name does not help."""
    rig = Rig(token="t")
    assert rig.connect(auth_token="t").talk(b"PING\r\n") == b"PONG\r\n"
    assert rig.connect(**{"user": "u", "pass": "t"}).ending == "close"


def test_before_connect_nothing_else_is_allowed() -> None:
    """A server that wants credentials takes no other operation first, and tells an unknown verb apart."""
    rig = Rig(USERS)
    for data, answer in (
        (b"P", VIOLATION),
        (b"CX", b"-ERR 'Unknown Protocol Operation'\r\n"),
        (b"CONNECT {]\r\n", b""),
    ):
        link = rig.dial()
        assert b'"auth_required":true' in link.take()
        assert (link.talk(data), link.ending) == (answer, "close")


def test_the_time_for_connect_is_limited() -> None:
    """Two seconds, then a text and the end; CONNECT stops the clock."""
    rig = Rig(USERS)
    silent, timely = rig.dial(), rig.dial()
    silent.take()
    rig.events.advance(1.9)
    timely.talk(b'CONNECT {"user":"free","pass":"f","verbose":false}\r\n')
    rig.events.advance(0.2)
    assert (silent.take(), silent.ending, timely.ending) == (b"-ERR 'Authentication Timeout'\r\n", "close", None)


def test_a_user_for_those_who_name_none() -> None:
    """The first INFO does not ask for credentials then, the second does; CONNECT is not needed at all."""
    rig = Rig(attrs.evolve(USERS, no_auth_user="denied"))
    link = rig.dial()
    assert b"auth_required" not in link.take()
    assert link.talk(b"PUB no.a 0\r\n\r\n") == b"-ERR 'Permissions Violation for Publish to \"no.a\"'\r\n"
    link = rig.connect()
    assert rig.server.connections[-1].user == "denied"
    link = rig.dial()
    link.take()
    assert b'"auth_required":true' in link.talk(b'CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n')
    assert login(rig, FREE).talk(b"PUB no.a 0\r\n\r\n") == b""


def test_an_empty_list_allows_everything() -> None:
    """As nats-server reads `allow: []`."""
    assert refused(login(Rig(USERS), FREE), b"a", b">") == []


def test_subscriptions_that_a_list_covers() -> None:
    """Queue groups too; and `foo.*` covers a subscription to `foo.>`, since its tokens are taken literally."""
    link = login(Rig(USERS), LISTENER)
    subs = (
        b"foo.a",
        b"foo.*",
        b"foo.>",
        b">",
        b"foo",
        b"foo..a",
        b"one",
        b"one v1",
        b"one v2",
        b"two",
        b"two v1",
        b"two v*",
        b"three v.a",
        b"three v",
    )
    assert refused(link, *subs) == [b">", b"foo", b"foo..a", b"one", b"one v2", b"two v1", b"three v"]


def test_a_wildcard_over_what_is_denied_is_allowed_and_filtered() -> None:
    """From the first such subscription on, nothing denied is delivered."""
    rig = Rig(USERS)
    link, free = login(rig, DENIED), login(rig, FREE)
    assert refused(link, b"no.a", b"no.*", b"x.y.z", b"qq dq", b"qq", b"qq od") == [
        b"no.a",
        b"no.*",
        b"x.y.z",
        b"qq dq",
    ]
    link.send(b"SUB *.a 7\r\nSUB x.> 8\r\n")
    free.send(b"PUB no.a 0\r\n\r\nPUB yes.a 0\r\n\r\nPUB x.y.z 0\r\n\r\nPUB x.y 0\r\n\r\n")
    assert link.take() == b"MSG yes.a 7 0\r\n\r\nMSG x.y 8 0\r\n\r\n"


def test_a_request_that_only_the_filtered_would_get_has_no_responders() -> None:
    """A delivery that is filtered is none."""
    rig = Rig(USERS)
    link, free = login(rig, DENIED), login(rig, FREE)
    link.send(b"SUB *.a 7\r\n")
    assert free.talk(b"SUB r 1\r\nPUB no.a r 0\r\n\r\n").startswith(b"HMSG r 1 36 36\r\nNATS/1.0 503\r\n")


def test_publishing() -> None:
    """What is not allowed or denied is refused, without closing; wildcards are literal tokens."""
    rig = Rig(USERS)
    link = login(rig, SENDER)
    assert link.talk(b"PUB a 0\r\n\r\nPUB b.> 0\r\n\r\nPUB b.x 0\r\n\r\n") == b""
    assert link.talk(b"PUB b..c 0\r\n\r\nPUB c 0\r\n\r\nPING\r\n") == (
        b"-ERR 'Permissions Violation for Publish to \"b..c\"'\r\n"
        b"-ERR 'Permissions Violation for Publish to \"c\"'\r\nPONG\r\n"
    )


def test_a_refused_queue_subscription_is_named_with_its_group() -> None:
    """The text quotes both."""
    assert login(Rig(USERS), LISTENER).talk(b'SUB "a\xff q\\ 1\r\n') == (
        b'-ERR \'Permissions Violation for Subscription to "\\"a\\xff" using queue "q\\\\"\'\r\n'
    )


def test_a_reload_takes_subscriptions_away() -> None:
    """Each that is not allowed any more ends with an error that has its sid; the others stay."""
    rig = Rig(USERS)
    link = login(rig, FREE)
    link.send(b"SUB no.a 1\r\nSUB no.b q 2\r\nSUB yes 3\r\nSUB *.a 4\r\n")
    rig.server.reload(ServerConfig(users=(User("free", "f", subscribe=Rule(deny=("no.>",))),)))
    assert link.take() == (
        b'-ERR \'Permissions Violation for Subscription to "no.a" (sid "1")\'\r\n'
        b'-ERR \'Permissions Violation for Subscription to "no.b" using queue "q" (sid "2")\'\r\n'
    )
    assert [sub.sid for sub in rig.server.subscriptions()] == ["3", "4"]
    assert link.talk(b"PUB no.a 0\r\n\r\nPUB yes 0\r\n\r\n") == b"MSG yes 3 0\r\n\r\n"


def test_a_reload_closes_who_is_not_welcome_any_more() -> None:
    """A removed user without a word, a changed password and missing credentials with a text."""
    rig = Rig(USERS)
    removed, changed, kept, unknown = login(rig, FREE), login(rig, SENDER), login(rig, DENIED), rig.dial()
    unknown.take()
    rig.server.reload(ServerConfig(users=(attrs.evolve(SENDER, password="new"), DENIED)))
    assert [(link.take(), link.ending) for link in (removed, changed, kept, unknown)] == [
        (b"", "close"),
        (VIOLATION, "close"),
        (b"", None),
        (VIOLATION, "close"),
    ]


def test_any_reload_closes_a_named_client_of_a_server_without_users() -> None:
    """The server does not find the user, whatever it was that changed."""
    rig = Rig()
    named, nameless = rig.connect(user="u"), rig.connect()
    rig.server.reload(ServerConfig(ping_interval_seconds=60))
    assert (named.ending, nameless.ending) == ("close", None)


def test_limits_change_by_reload_for_those_connected() -> None:
    """Payload and line hold at once; too many clients are closed by chance."""
    rig = Rig()
    links = [rig.connect() for _ in range(3)]
    rig.server.reload(ServerConfig(max_payload=10, max_control_line=30, max_connections=2))
    closed = [link for link in links if link.ending]
    assert [link.take() for link in closed] == [b"-ERR 'maximum connections exceeded'\r\n"]
    one, other = [link for link in links if not link.ending]
    assert one.talk(b"PUB a 11\r\n") == b"-ERR 'Maximum Payload Violation'\r\n"
    assert other.talk(b"SUB " + b"x" * 40 + b" 1\r\n") == b"-ERR 'maximum control line exceeded'\r\n"


@pytest.mark.parametrize(
    "fields, text",
    [
        ({"no_auth_user": "who"}, "no_auth_user 'who' is none of the users"),
        ({"users": (User("u", "p", publish=Rule(deny=("a..b",))),)}, "publish: 'a..b' is no subject"),
        ({"users": (User("u", "p", subscribe=Rule(allow=("a b c",))),)}, "subscribe: 'a b c' is no subject"),
        ({"max_pending_bytes": 1000}, "max_payload is 1048576 bytes and max_pending_bytes 1000"),
        ({"lame_duck_duration_seconds": 20}, "must be at least 30"),
        ({"lame_duck_grace_seconds": 120}, "less than that"),
    ],
)
def test_configurations_that_the_server_would_refuse(fields: dict[str, object], text: str) -> None:
    """They are refused at the start and by a reload, which then changes nothing."""
    with pytest.raises(ValueError, match=text):
        Rig(ServerConfig(**fields))  # type: ignore[arg-type]
    rig = Rig()
    with pytest.raises(ValueError, match=text):
        rig.server.reload(ServerConfig(**fields))  # type: ignore[arg-type]
    assert rig.server.config == ServerConfig()


def test_what_needs_a_restart() -> None:
    """A reload that changes it is refused."""
    with pytest.raises(ValueError, match="max_subscriptions cannot be reloaded: old=0, new=5"):
        Rig().server.reload(ServerConfig(max_subscriptions=5))

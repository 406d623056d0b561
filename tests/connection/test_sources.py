"""Credentials come from texts, files and callbacks, anew for each attempt; what cannot be got is told of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from beamline_trio import (
    ClientOptions,
    CredentialsError,
    CredentialsNotFoundError,
    NkeySigner,
    OptionsError,
    ReconnectFailed,
    Secret,
    UserJWT,
    open_client,
)
from beamline_trio.protocol import signature_text
from tests._memory import MemoryDialer, ToyServer, wait_connected
from tests._user_jwt import creds_file, new_key

NONCE = "j1DE6qA_nn6Tnp0"
USER = new_key("U", bytes(range(32)))
JWT = "eyJ0eXAi.eyJqdGki.c2lnbmF0_-E"
SIGNATURE = signature_text(USER.sign(NONCE.encode()))
WITH_NKEY = {"nkey": USER.public, "sig": SIGNATURE}
WITH_JWT = {"jwt": JWT, "sig": SIGNATURE}


async def said(**options: Any) -> dict[str, Any]:
    """What CONNECT says about who the client is."""
    server = ToyServer(nonce=NONCE)
    async with open_client(server.url, dialer=MemoryDialer(server), **options):
        about = server.link.about
    return {key: about[key] for key in ("user", "pass", "auth_token", "nkey", "jwt", "sig") if key in about}


def later(value: Any) -> Callable[..., Any]:
    """An async callback."""

    async def give(*_: Any) -> Any:
        await trio.sleep(0.1)
        return value

    return give


async def test_user_password_and_token_may_be_callbacks(autojump_clock: MockClock) -> None:
    """A text, a synchronous callback and an async one give the same CONNECT."""
    for password in ("s3cret", Secret("s3cret"), lambda: "s3cret", later("s3cret")):
        assert await said(user=lambda: "alice", password=password) == {"user": "alice", "pass": "s3cret"}
        assert await said(token=password) == {"auth_token": "s3cret"}


async def test_an_nkey_in_every_form(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Seed as text, bytes or file, and a signer whose seed is elsewhere: public key and signature of the nonce."""
    file = tmp_path / "user.nk"
    file.write_text(USER.seed + "\n")
    signer, async_signer = NkeySigner(USER.public, USER.sign), NkeySigner(USER.public, later(USER.sign(NONCE.encode())))
    for nkey in (USER.seed, USER.seed.encode(), Secret(USER.seed), file, signer, async_signer):
        assert await said(nkey=nkey) == WITH_NKEY


async def test_creds_in_every_form(tmp_path: Path, autojump_clock: MockClock) -> None:
    """File by str or Path, content as bytes or text, callbacks, and a JWT whose seed is elsewhere or not needed."""
    content = creds_file(JWT, USER.seed)
    file = tmp_path / "user.creds"
    file.write_bytes(content)
    forms: list[Any] = [str(file), file, content, content.decode(), Secret(content.decode())]
    forms += [lambda: content, content.decode, later(content)]
    forms += [UserJWT(JWT, USER.sign), UserJWT(lambda: JWT, later(USER.sign(NONCE.encode())))]
    for creds in forms:
        assert await said(creds=creds) == WITH_JWT
    for bearer in (UserJWT(JWT), JWT.encode(), lambda: JWT):
        assert await said(creds=bearer) == {"jwt": JWT}


async def test_the_url_wins(autojump_clock: MockClock) -> None:
    """With credentials in the URL no callback is asked, and no file read."""
    server = ToyServer(nonce=NONCE)
    async with open_client("nats://u:p@toy", dialer=MemoryDialer(server), creds="nowhere.creds"):
        assert server.link.about["user"] == "u"
        assert "jwt" not in server.link.about


@pytest.mark.parametrize("extra", [{}, {"auth_required": False}])
async def test_credentials_are_sent_whatever_the_first_info_says(extra: Any, autojump_clock: MockClock) -> None:
    """`auth_required` may be missing in the first INFO (no_auth_user): credentials go out all the same."""
    server = ToyServer(**extra)
    async with open_client(server.url, dialer=MemoryDialer(server), token="t"):
        assert server.link.about["auth_token"] == "t"


async def test_every_attempt_asks_anew(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A callback is called, and a file read, once for each attempt: a new password counts at the next one."""
    server = ToyServer()
    passwords = iter(["first", "second"])
    server.password = ("u", "first")
    async with open_client(server.url, dialer=MemoryDialer(server), user="u", password=lambda: next(passwords)) as nc:
        server.password = ("u", "second")
        server.drop()
        await trio.testing.wait_all_tasks_blocked()
        await wait_connected(nc)
        assert nc.stats().reconnect_attempts == 1


async def test_a_credential_that_expires_is_replaced(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The server ends a session that has expired: the next attempt reads the file again."""
    file = tmp_path / "user.creds"
    file.write_bytes(creds_file(JWT, USER.seed))
    server = ToyServer(nonce=NONCE)
    async with open_client(server.url, dialer=MemoryDialer(server), creds=file) as nc:
        fresh = "eyJ0eXAi.ZnJlc2g.c2lnbmF0_-E"
        file.write_bytes(creds_file(fresh, USER.seed))
        server.link.refuse("User Authentication Expired")
        await trio.testing.wait_all_tasks_blocked()
        await wait_connected(nc)
        assert server.link.about["jwt"] == fresh


async def test_a_missing_file_is_named_at_the_first_connect(tmp_path: Path, autojump_clock: MockClock) -> None:
    """FileNotFoundError with the file's name, in text and attribute; no byte of CONNECT has left."""
    server = ToyServer(nonce=NONCE)
    file = tmp_path / "missing"
    for options in (ClientOptions(creds=str(file)), ClientOptions(nkey=file)):
        with pytest.raises(FileNotFoundError, match=str(file)) as caught:
            async with open_client(server.url, dialer=MemoryDialer(server), options=options):
                raise AssertionError
        assert isinstance(caught.value, CredentialsNotFoundError)
        assert caught.value.filename == str(file)
    assert server.received == b""


@pytest.mark.parametrize("missing_at", [0, 1])
async def test_a_missing_file_is_named_whatever_other_servers_say(
    missing_at: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """With several servers, of which some cannot be reached: still FileNotFoundError with its name."""
    servers = [ToyServer("nats://one:4222", nonce="n"), ToyServer("nats://two:4222", nonce="n")]
    servers[1 - missing_at].refuses = True
    file = tmp_path / "user.creds"
    urls = [server.url for server in servers]
    with pytest.raises(FileNotFoundError, match=r"user\.creds") as caught:
        async with open_client(*urls, dialer=MemoryDialer(*servers), creds=file, keep_server_order=True):
            raise AssertionError
    assert caught.value.filename == str(file)


async def test_a_file_that_goes_missing_is_waited_for(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """During a reconnect: counted, logged, told by an event, at most one attempt per delay, and it recovers."""
    caplog.set_level(logging.INFO, "beamline_trio")
    file = tmp_path / "user.creds"
    file.write_bytes(creds_file(JWT, USER.seed))
    server = ToyServer(nonce=NONCE)
    options: dict[str, Any] = {
        "reconnect_delay_seconds": 1.0,
        "reconnect_delay_max_seconds": 1.0,
        "reconnect_jitter": "none",
    }
    async with open_client(server.url, dialer=MemoryDialer(server), creds=file, **options) as nc, nc.events() as events:
        content = file.read_bytes()
        file.unlink()
        lost = trio.current_time()
        server.drop()
        failed: list[ReconnectFailed] = []
        while len(failed) < 5:
            event = await events.receive()
            if isinstance(event, ReconnectFailed):
                failed.append(event)
        assert all(str(file) in event.reason for event in failed)
        assert trio.current_time() - lost >= 3.9
        assert nc.stats().reconnect_failures["auth"] == 5
        file.write_bytes(content)
        await wait_connected(nc)
    assert sum(record.message.startswith("NATS_RECONNECT_ATTEMPT") for record in caplog.records) >= 5


def broken(*_: Any) -> Any:
    raise ValueError("the vault is locked: hunter2")


def wrong(*_: Any) -> Any:
    return 5


@pytest.mark.parametrize(
    "options, text",
    [
        ({"token": broken}, "token raised ValueError"),
        ({"user": wrong}, "user returned no str"),
        ({"creds": broken}, "creds raised ValueError"),
        ({"creds": wrong}, "creds returned neither str nor bytes"),
        ({"creds": lambda: "nonsense"}, "is no credentials file"),
        ({"creds": b"nonsense"}, "is no credentials file"),
        ({"creds": UserJWT(broken)}, "creds raised ValueError"),
        ({"creds": UserJWT("a.b.c", wrong)}, "signed with something else than 64 bytes"),
        ({"nkey": NkeySigner(USER.public, broken)}, "nkey raised ValueError"),
        ({"nkey": NkeySigner(USER.public, lambda _: b"short")}, "signed with something else than 64 bytes"),
    ],
)
async def test_what_gives_no_credentials_says_why(options: Any, text: str, autojump_clock: MockClock) -> None:
    """The error names option and server, the cause is the callback's own error, and its words are not repeated."""
    server = ToyServer(nonce=NONCE)
    with pytest.raises(CredentialsError, match=text) as caught:
        async with open_client(server.url, dialer=MemoryDialer(server), **options):
            raise AssertionError
    assert "nats://toy:4222" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError) is ("raised" in text)
    assert server.received == b""


async def test_files_that_are_no_credentials(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A directory, a file without a seed, an account's seed: the error names the file."""
    server = ToyServer(nonce=NONCE)
    file = tmp_path / "file"
    file.write_text(new_key("A").seed)
    for option, path in (("nkey", file), ("creds", file), ("creds", tmp_path), ("nkey", tmp_path)):
        options: dict[str, Any] = {option: path}
        with pytest.raises(CredentialsError, match=str(tmp_path)) as caught:
            async with open_client(server.url, dialer=MemoryDialer(server), **options):
                raise AssertionError
        assert not isinstance(caught.value, FileNotFoundError)
    assert server.received == b""


@pytest.mark.parametrize(
    "options", [{"nkey": USER.seed}, {"creds": creds_file(JWT, USER.seed)}, {"creds": UserJWT("a.b.c", USER.sign)}]
)
async def test_a_server_that_gives_no_nonce_gets_nothing(options: Any, autojump_clock: MockClock) -> None:
    """Without a nonce there is nothing to sign: an error that says so."""
    server = ToyServer()
    with pytest.raises(CredentialsError, match="gave no nonce"):
        async with open_client(server.url, dialer=MemoryDialer(server), **options):
            raise AssertionError
    assert server.received == b""


@pytest.mark.parametrize("option", ["creds", "nkey"])
async def test_what_cannot_be_encoded_is_no_credential(option: str, autojump_clock: MockClock) -> None:
    """A text with half a surrogate is told like any other that is none, and is repeated by no error."""
    server = ToyServer(nonce="n")
    text = "hunter2\udcff\n"
    given: Any = (lambda: text) if option == "creds" else text
    with pytest.raises((CredentialsError, OptionsError)) as caught:
        async with open_client(server.url, dialer=MemoryDialer(server), **{option: given}):
            raise AssertionError
    assert "hunter2" not in str(caught.value)


async def test_an_async_callback_is_cancelled_with_its_attempt(autojump_clock: MockClock) -> None:
    """A callback that takes too long counts to connect_timeout_seconds; a cancelled open_client cancels it."""
    server = ToyServer()

    async def stuck() -> str:
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(trio.TooSlowError):
        async with open_client(server.url, dialer=MemoryDialer(server), token=stuck, connect_timeout_seconds=1):
            raise AssertionError
    with trio.move_on_after(0.5) as scope:
        async with open_client(server.url, dialer=MemoryDialer(server), token=stuck):
            raise AssertionError
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    "options, text",
    [
        ({"token": "t", "user": "u"}, "token and user are both given"),
        ({"nkey": USER.seed, "creds": "f"}, "nkey and creds are both given"),
        ({"nkey": "SUAA"}, "nkey is no user seed"),
        ({"nkey": new_key("A").seed}, "nkey is no user seed"),
        ({"nkey": 5}, "nkey must be a seed"),
        ({"nkey": NkeySigner("UAAA", USER.sign)}, "public key 'UAAA'"),
        ({"creds": 5}, "creds must be a path"),
        ({"password": 5}, "password must be a str or a callback"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_given(options: Any, text: str) -> None:
    """Two kinds of credentials, or one of the wrong kind: OptionsError, and no secret in it."""
    with pytest.raises(OptionsError, match=text) as caught:
        ClientOptions(**options)
    assert "SUAA" not in str(caught.value)

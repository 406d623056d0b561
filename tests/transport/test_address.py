"""Server URLs: where to dial, whom to say we are, and that no secret is ever shown, whatever is wrong with the URL."""

from __future__ import annotations

import traceback
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.protocol import Credentials, NatsError
from beamline_trio.transport import DEFAULT_PORT, AddressError, ServerAddress, parse_address

SECRET = "s3cr3t"
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@pytest.mark.parametrize(
    "url, text",
    [
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("nats://example.com", "nats://example.com:4222"),
        ("tls://example.com:443", "tls://example.com:443"),
        ("example.com:5222", "nats://example.com:5222"),
        ("example.com", "nats://example.com:4222"),
        ("localhost", "nats://localhost:4222"),
        ("10.0.0.1:1", "nats://10.0.0.1:1"),
        ("nats://h:65535", "nats://h:65535"),
        ("nats://example.com:4222/", "nats://example.com:4222"),
        ("  nats://example.com \n", "nats://example.com:4222"),
        ("NATS://Example.COM", "nats://example.com:4222"),
        ("nats://[::1]:4222", "nats://[::1]:4222"),
        ("nats://[2001:db8::7]", "nats://[2001:db8::7]:4222"),
        ("[::1]:4222", "nats://[::1]:4222"),
        ("[::1]", "nats://[::1]:4222"),
        ("tls://u:p@[fe80::1%25eth0]:4443", "tls://[fe80::1%25eth0]:4443"),
        ("nats://token@h", "nats://h:4222"),
        ("user:password@h:5", "nats://h:5"),
    ],
)
def test_urls_that_can_be_dialled(url: str, text: str) -> None:
    """Scheme, host and port are read; what is left out is nats and 4222; str() is a URL that reads back the same."""
    address = parse_address(url)
    assert str(address) == text
    again = parse_address(str(address))
    assert (again.scheme, again.host, again.port) == (address.scheme, address.host, address.port)
    assert address.wants_tls is text.startswith("tls")


def test_an_ipv6_host_is_dialled_without_brackets() -> None:
    """The brackets belong to the URL, not to the host."""
    address = parse_address("nats://[2001:db8::7]:4222")
    assert address.host == "2001:db8::7"
    assert parse_address("h").port == DEFAULT_PORT == 4222


@given(
    user=texts, password=st.none() | texts, host=st.sampled_from(["h", "10.0.0.1", "[::1]"]), port=st.integers(1, 65535)
)
def test_percent_encoded_credentials_arrive(user: str, password: str | None, host: str, port: int) -> None:
    """Any user and password, percent-encoded, arrive as they were; a user alone is a token."""
    information = quote(user, safe="") + (f":{quote(password, safe='')}" if password is not None else "")
    address = parse_address(f"nats://{information}@{host}:{port}")
    expected = Credentials(token=user) if password is None else Credentials(user=user, password=password)
    assert address == ServerAddress(host.strip("[]"), port, "nats", expected)
    assert str(address) == f"nats://{host}:{port}"


@pytest.mark.parametrize(
    "url, credentials",
    [
        ("nats://h", Credentials()),
        ("nats://@h", Credentials()),
        ("nats://t0ken@h", Credentials(token="t0ken")),
        ("nats://t%40ken@h", Credentials(token="t@ken")),
        ("nats://alice:s3cret@h", Credentials(user="alice", password="s3cret")),
        ("nats://alice:@h", Credentials(user="alice", password="")),
        ("nats://alice:a:b@h", Credentials(user="alice", password="a:b")),
        ("nats://alice:p@ss@h", Credentials(user="alice", password="p@ss")),
        ("nats://%C3%A9:%2F%3F%23@h", Credentials(user="é", password="/?#")),
    ],
)
def test_credentials_of_a_url(url: str, credentials: Credentials) -> None:
    """User and password, or a token; percent-encoding is undone."""
    address = parse_address(url)
    assert address.credentials == credentials
    assert address.host == "h"


@pytest.mark.parametrize(
    "url, names",
    [
        ("", "nats://"),
        ("   ", "nats://"),
        ("nats://", "nats://"),
        ("nats://:4222", ":4222"),
        ("nats://h:0", "1 to 65535"),
        ("nats://h:65536", "h:65536"),
        ("nats://h:-1", "h:-1"),
        ("nats://h:port", "h:port"),
        ("nats://[::1", "[::1"),
        ("nats://::1", "::1"),
        ("nats://a b", "a b"),
        ("http://h", "'http'"),
        ("nats://u:p@", "nats://"),
    ],
)
def test_urls_that_cannot_be_used(url: str, names: str) -> None:
    """An unknown scheme, no host or a bad port is an AddressError that shows the URL without its user information."""
    with pytest.raises(AddressError) as caught:
        parse_address(url)
    assert names in str(caught.value)
    assert isinstance(caught.value, NatsError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "url, shown, authority, resource",
    [
        ("ws://h", "ws://h:80", "h", ""),
        ("wss://h/", "wss://h:443", "h", ""),
        ("ws://h:8080/a/b", "ws://h:8080/a/b", "h:8080", "/a/b"),
        ("wss://h?t=s3cr3t", "wss://h:443/", "h", "/?t=s3cr3t"),
        ("wss://u:p@[::1]:443/a%20b?t=%2F&u", "wss://[::1]:443/a%20b", "[::1]", "/a%20b?t=%2F&u"),
    ],
)
def test_websocket_urls(url: str, shown: str, authority: str, resource: str) -> None:
    """Default ports 80 and 443; path and query are kept as written, and the query, which may be a secret, not shown."""
    address = parse_address(url)
    assert address.is_websocket
    assert not address.wants_tls
    assert (str(address), address.authority, address.resource.reveal()) == (shown, authority, resource)
    assert "s3cr3t" not in repr(address) + str(address)


@pytest.mark.parametrize("wrong", [None, b"nats://h", 4222, ["nats://h"]])
def test_a_url_is_a_str(wrong: Any) -> None:
    """Anything but str is a TypeError that says what it takes."""
    with pytest.raises(TypeError, match=type(wrong).__name__):
        parse_address(wrong)


def hidden(url: str) -> ServerAddress | None:
    """The address of a URL, None if it is refused; neither it nor a traceback of its error shows the secret."""
    address = None
    try:
        address = parse_address(url)
    except AddressError as error:
        shown = str(error) + "".join(traceback.format_exception(error))
    else:
        shown = f"{address} {address!r} {[address]}"
    assert SECRET not in shown, url
    return address


@pytest.mark.parametrize(
    "information", [SECRET, f"alice:{SECRET}", f"{SECRET}:", f"a%20b:{SECRET}%00", f"alice:x@{SECRET}"]
)
@pytest.mark.parametrize("scheme", ["nats://", "tls://", "", "wss://", "http://", "://"])
def test_a_secret_is_never_shown(scheme: str, information: str) -> None:
    """Neither an address nor any error about a URL shows its password or token."""
    for rest in ("@h", "@h:4222", "@h:0", "@h:99999", "@h:x", "@", "@:4222", "@[::1]", "@[::1", "@a b", "@h/p?q#f"):
        hidden(scheme + information + rest)


@pytest.mark.parametrize("mark", ["/", "?", "#", "[", "]", "\\", " ", "\t", "\n", "://", "//", "%", "%zz", ":", "@"])
def test_a_secret_that_was_not_encoded_is_never_shown(mark: str) -> None:
    """A password with a character that should have been percent-encoded is the usual mistake: it is read or refused,
    and never taken for a host and port that are then dialled and shown.
    """
    for secret in (f"{SECRET}{mark}x", f"{mark}{SECRET}", f"12{mark}{SECRET}", f"{SECRET}{mark}12"):
        for url in (f"nats://alice:{secret}@h", f"nats://{secret}@h:4222", f"alice:{secret}@h", f"_{secret}@h"):
            address = hidden(url)
            assert address is None or address.host == "h", url

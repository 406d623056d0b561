"""INFO is read leniently, CONNECT is written strictly, and neither shows a secret."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.protocol import ConnectOptions, Credentials, ProtocolError, ServerInfo, decode_info, encode_connect

# An INFO of nats-server 2.15 that answers the first PING, with everything the client reads.
FULL: dict[str, Any] = {
    "server_id": "NA",
    "server_name": "east",
    "version": "2.15.1",
    "proto": 1,
    "git_commit": "abc",
    "go": "go1.25",
    "host": "0.0.0.0",
    "port": 4222,
    "headers": True,
    "auth_required": True,
    "tls_required": True,
    "tls_available": True,
    "max_payload": 8192,
    "jetstream": True,
    "client_id": 7,
    "client_ip": "127.0.0.1",
    "nonce": "n0nce",
    "cluster": "c1",
    "domain": "hub",
    "connect_urls": ["10.0.0.1:4222", "[::1]:4222"],
    "ldm": True,
    "connect_info": True,
    "xkey": "X",
}
READ = {
    "server_id": "server_id",
    "server_name": "server_name",
    "version": "version",
    "proto": "protocol",
    "host": "host",
    "port": "port",
    "headers": "headers",
    "auth_required": "auth_required",
    "tls_required": "tls_required",
    "tls_available": "tls_available",
    "max_payload": "max_payload",
    "jetstream": "jetstream",
    "client_id": "client_id",
    "client_ip": "client_ip",
    "nonce": "nonce",
    "cluster": "cluster",
    "domain": "domain",
    "connect_urls": "connect_urls",
    "ldm": "lame_duck",
    "connect_info": "connect_info",
}


def test_every_field_of_info_is_read() -> None:
    """Each field arrives under its name; what is not read is in `raw`."""
    info = decode_info(json.dumps(FULL).encode())
    for key, name in READ.items():
        value = getattr(info, name)
        assert (list(value) if name == "connect_urls" else value) == FULL[key], name
    assert set(READ.values()) == {field.name for field in attrs.fields(ServerInfo)} - {"raw"}
    assert dict(info.raw) == FULL


def test_an_empty_info_is_all_defaults() -> None:
    """Nothing in INFO is required: a missing field is its default, and max_payload the server's own default."""
    assert decode_info(b"{}") == ServerInfo()
    assert ServerInfo().max_payload == 1_048_576
    assert not ServerInfo().auth_required


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(FULL)) | st.text(max_size=4), json_values))
def test_wrong_types_cost_their_field_only(fields: dict[str, Any]) -> None:
    """Whatever the values of an INFO, each field has its own type: the value that came, or the default."""
    info = decode_info(json.dumps(fields).encode())
    for field in attrs.fields(ServerInfo):
        value = getattr(info, field.name)
        if field.name == "connect_urls":
            assert isinstance(value, tuple)
            assert all(isinstance(url, str) for url in value)
        elif field.name != "raw":
            assert type(value) is type(field.default)
    assert info.max_payload > 0
    assert dict(info.raw) == fields


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "4096", None])
def test_a_max_payload_that_cannot_be_is_the_default(value: object) -> None:
    """A limit of zero, or no number, would stop all publishing: the default is used."""
    assert decode_info(json.dumps({"max_payload": value}).encode()).max_payload == 1_048_576


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"5", b"null", b'"x"', b"{}}", b"\xff", b"[" * 100_000, b'{"a":' + b"1" * 5000 + b"}", b"'{}'"],
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    """No JSON, or JSON that is no object, is a ProtocolError and nothing else."""
    with pytest.raises(ProtocolError, match="INFO") as caught:
        decode_info(text)
    assert len(str(caught.value)) < 300


def test_raw_cannot_be_changed() -> None:
    """`raw` is a view."""
    with pytest.raises(TypeError):
        decode_info(b"{}").raw["x"] = 1  # type: ignore[index]


def sent(options: ConnectOptions) -> dict[str, Any]:
    frame = encode_connect(options)
    assert frame.startswith(b"CONNECT {")
    assert frame.endswith(b"}\r\n")
    fields = json.loads(frame.removeprefix(b"CONNECT "))
    assert isinstance(fields, dict)
    return fields


def test_connect_without_credentials() -> None:
    """CONNECT has the fixed fields and no key for what is not given."""
    assert sent(ConnectOptions(version="1.2")) == {
        "verbose": False,
        "pedantic": False,
        "tls_required": False,
        "echo": True,
        "headers": True,
        "no_responders": True,
        "protocol": 1,
        "lang": "python-trio",
        "version": "1.2",
    }


def test_connect_with_everything() -> None:
    """Each option arrives under the server's name for it."""
    options = ConnectOptions(
        name="n",
        verbose=True,
        pedantic=True,
        echo=False,
        tls_required=True,
        credentials=Credentials(user="u", password="", token="t", nkey="k", jwt="j", signature="s"),
    )
    fields = sent(options)
    assert (
        fields
        | {
            "name": "n",
            "verbose": True,
            "pedantic": True,
            "echo": False,
            "tls_required": True,
            "user": "u",
            "pass": "",
            "auth_token": "t",
            "nkey": "k",
            "jwt": "j",
            "sig": "s",
        }
        == fields
    )


@given(headers=st.booleans(), no_responders=st.booleans())
def test_no_responders_needs_headers(headers: bool, no_responders: bool) -> None:
    """The server refuses no_responders without headers, so it is never asked for alone."""
    fields = sent(ConnectOptions(headers=headers, no_responders=no_responders))
    assert fields["headers"] is headers
    assert fields["no_responders"] is (headers and no_responders)


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_connect_is_one_line_whatever_it_says(name: str, user: str, password: str, token: str) -> None:
    """No text can break the line, surrogates neither; what was given arrives unchanged."""
    frame = encode_connect(
        ConnectOptions(name=name, credentials=Credentials(user=user, password=password, token=token))
    )
    assert frame.count(b"\n") == frame.count(b"\r") == 1
    assert frame.isascii()
    fields = json.loads(frame.removeprefix(b"CONNECT "))
    assert (fields.get("name", ""), fields["user"], fields["pass"], fields["auth_token"]) == (
        name,
        user,
        password,
        token,
    )


def test_secrets_are_not_shown() -> None:
    """The repr of CONNECT's options has neither password nor token, that of INFO no nonce."""
    secrets = Credentials(user="alice", password="s3cret", token="t0ken", jwt="jw7", signature="s1g")
    shown = repr(ConnectOptions(credentials=secrets))
    assert "alice" in shown
    for secret in ("s3cret", "t0ken", "jw7", "s1g"):
        assert secret not in shown
    assert "n0nce" not in repr(decode_info(json.dumps(FULL).encode()))

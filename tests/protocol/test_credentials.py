"""Credentials: what a URL's user information means, and that a secret is never shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.protocol import Credentials, credentials_of_url


def test_a_url_without_user_information_has_none() -> None:
    """No user information is no credentials, and those are false: the options' own are used then."""
    assert credentials_of_url(None, None) == Credentials()
    assert not credentials_of_url(None, None)
    assert not Credentials(password="alone means nothing")


def test_a_user_alone_is_a_token() -> None:
    """A user without a password is a token, as in every NATS client."""
    credentials = credentials_of_url("s3cret", None)
    assert credentials == Credentials(token="s3cret")
    assert credentials.user is None
    assert credentials


def test_user_and_password() -> None:
    """An empty password is a password."""
    assert credentials_of_url("alice", "s3cret") == Credentials(user="alice", password="s3cret")
    assert credentials_of_url("alice", "") == Credentials(user="alice", password="")
    assert credentials_of_url("alice", "")


@given(st.text(min_size=1), st.none() | st.text())
def test_exactly_one_kind(user: str, password: str | None) -> None:
    """There is a token or a user with a password, never both and never half."""
    credentials = credentials_of_url(user, password)
    assert credentials
    assert (credentials.token is None) is (credentials.user is not None) is (credentials.password is not None)


def test_secrets_are_not_shown() -> None:
    """Neither repr nor str shows a secret; they show the user."""
    for credentials in (Credentials(user="alice", password="s3cret"), Credentials(user="alice", token="s3cret")):
        for shown in (repr(credentials), str(credentials), f"{[credentials]}"):
            assert "alice" in shown
            assert "s3cret" not in shown

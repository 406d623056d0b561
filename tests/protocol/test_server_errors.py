"""The `-ERR` texts of nats-server 2.15: each means one typed error, in any case, quoted or not."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.protocol import AuthorizationError, NatsError, PermissionsError, ServerError, server_error

# text, whether the server drops the connection
OTHERS = [
    ("Invalid Subject", False),
    ("Invalid Publish Subject", False),
    ("maximum subscriptions exceeded", False),
    ("Failed Account Registration", False),
    ("maximum connections exceeded", True),
    ("maximum account active connections exceeded", True),
    ("Connection throttling is active. Please try again later.", True),
    ("Secure Connection - TLS Required", True),
    ("Maximum Payload Violation", True),
    ("maximum control line exceeded", True),
    ("Unknown Protocol Operation", True),
    ("no responders requires headers support", True),
    ("invalid client protocol", True),
    ("Stale Connection", True),
    ("something no server has ever said", False),
    ("", False),
]
AUTHORIZATION = [
    "Authorization Violation",
    "Authentication Timeout",
    "User Authentication Expired",
    "User Authentication Revoked",
    "Account Authentication Expired",
]
# text, operation, subject, queue group, sid, reply
PERMISSIONS = [
    ('Permissions Violation for Publish to "a.B"', "publish", "a.B", None, None, None),
    ('Permissions Violation for Publish to "größe.€"', "publish", "größe.€", None, None, None),
    ('Permissions Violation for Publish with Reply of "r.B"', "publish", "", None, None, "r.B"),
    ('Permissions Violation for Subscription to "a.>"', "subscription", "a.>", None, None, None),
    ('Permissions Violation for Subscription to "a.*" using queue "Q"', "subscription", "a.*", "Q", None, None),
    ('Permissions Violation for Subscription to "a" (sid "7")', "subscription", "a", None, "7", None),
    ('Permissions Violation for Subscription to "a" using queue "Q" (sid "7")', "subscription", "a", "Q", "7", None),
    ('Permissions Violation for Subscription to "a.b.c", too many tokens', "subscription", "a.b.c", None, None, None),
]


def recase(text: str, change: Callable[[str], str]) -> str:
    """The server's words in another case; what stands in double quotes is the user's and stays."""
    return "".join(part if part.startswith('"') else change(part) for part in re.split(r'("[^"]*")', text))


def said(text: str) -> list[str]:
    """The ways in which a text may come: in any case, quoted or not, with blanks around."""
    cased = [recase(text, change) for change in (str, str.lower, str.upper, str.swapcase, str.title)]
    return [form % one for one in cased for form in ("'%s'", "%s", " '%s' ", "%s\t")]


@pytest.mark.parametrize("text, closes", OTHERS)
def test_plain_errors(text: str, closes: bool) -> None:
    """An error about the connection is a ServerError that knows whether the server hangs up; an unknown one no."""
    for form in said(text):
        error = server_error(form)
        assert type(error) is ServerError
        assert error.closes is closes
        assert error.text.lower() == text.lower()
    assert server_error(f"'{text}'").text == text


@pytest.mark.parametrize("text", AUTHORIZATION)
def test_authorization_errors(text: str) -> None:
    """Refused or expired credentials are an AuthorizationError; the server hangs up; the text says what to check."""
    for form in said(text):
        error = server_error(form)
        assert type(error) is AuthorizationError
        assert error.closes
        assert error.text.lower() == text.lower()
        assert "check user and password, token, nkey or creds" in str(error)


@pytest.mark.parametrize("text, operation, subject, queue_group, sid, reply", PERMISSIONS)
def test_permission_errors(
    text: str, operation: str, subject: str, queue_group: str | None, sid: str | None, reply: str | None
) -> None:
    """A refused subject is a PermissionsError with operation, subject, queue group, sid and reply subject as fields."""
    for form in said(text):
        error = server_error(form)
        assert isinstance(error, PermissionsError)
        found = (error.operation, error.subject, error.queue_group, error.sid, error.reply)
        assert found == (operation, subject, queue_group, sid, reply)
        assert not error.closes


@pytest.mark.parametrize(
    "quoted, name",
    [
        (r"a\"b", 'a"b'),
        (r"a\\b", "a\\b"),
        (r"a\vb", "a\vb"),
        (r"a\ab", "a\ab"),
        (r"a\x7fb", "a\x7fb"),
        (r"a\xffb", "a\udcffb"),
        (r"a\u200bb", "a\u200bb"),
        (r"a\U000e0001b", "a\U000e0001b"),
        (r"a\\u0041", r"a\u0041"),
        (r"größe\\\"", 'größe\\"'),
    ],
)
def test_the_quoting_of_subjects_is_undone(quoted: str, name: str) -> None:
    """nats-server 2.15 writes subjects and queue groups as Go's %q: a subject with a quote, a backslash or a character
    that does not print must come back as it was sent, or the refusal would not find its subscription or publish.
    """
    error = server_error(f"'Permissions Violation for Publish to \"{quoted}\"'")
    assert isinstance(error, PermissionsError)
    assert error.subject == name
    error = server_error(f'\'Permissions Violation for Subscription to "{quoted}" using queue "{quoted}"\'')
    assert isinstance(error, PermissionsError)
    assert (error.subject, error.queue_group) == (name, name)


# As it comes off the wire (no surrogates), and with nothing that Go would escape.
_unquoted = st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cs"]), max_size=12)


@given(_unquoted, st.none() | _unquoted)
def test_any_subject_and_queue_group_is_found(subject: str, queue_group: str | None) -> None:
    """Whatever stands between the quotes is the subject, whole, and the queue group likewise."""
    suffix = "" if queue_group is None else f' using queue "{queue_group}"'
    error = server_error(f"'Permissions Violation for Subscription to \"{subject}\"{suffix}'")
    assert isinstance(error, PermissionsError)
    assert (error.subject, error.queue_group) == (subject, queue_group)


@pytest.mark.parametrize(
    "quoted", [r"a\x", r"a\xz", r"a\u", r"a\u12", r"a\ud800", r"a\U", r"a\U00110000", r"a\Uffffffff", r"\0"]
)
def test_an_escape_that_is_none_raises_nothing(quoted: str) -> None:
    """An escape that Go would never write is still a PermissionsError: no text of a server may end the reader."""
    assert isinstance(server_error(f"'Permissions Violation for Publish to \"{quoted}\"'"), PermissionsError)


@given(st.text(max_size=40))
def test_no_text_raises(text: str) -> None:
    """Any text is some ServerError, and its words are kept."""
    for form in (
        text,
        f"'{text}'",
        f"Permissions Violation for {text}",
        f'Permissions Violation for Publish to "{text}',
    ):
        error = server_error(form)
        assert isinstance(error, ServerError)
        assert isinstance(error, NatsError)
        assert error.text in form
        assert str(error)


def test_one_quote_is_no_pair() -> None:
    """Only a pair of quotes goes."""
    assert server_error("'").text == "'"
    assert server_error("''").text == ""
    assert server_error("'x").text == "'x"
    assert server_error("it's").text == "it's"

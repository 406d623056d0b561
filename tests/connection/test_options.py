"""The options of a client: a bad value is refused where it is given, with key, value and bound; no secret is shown."""

from __future__ import annotations

import math
import ssl
import traceback
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.connection import DEFAULT_SERVER, OPTION_NAMES, ClientOptions, OptionsError, combine_options
from beamline_trio.protocol import NatsError

SECRET = "s3cr3t"
FIELDS = {field.name: field for field in attrs.fields(ClientOptions)}

# Numbers: the least value, whether it is a whole number, whether None is allowed.
NUMBERS: dict[str, tuple[float, bool, bool]] = {
    "reconnect_attempts": (1, True, True),
    "reconnect_delay_seconds": (0.001, False, False),
    "reconnect_delay_max_seconds": (0.001, False, False),
    "connect_timeout_seconds": (0.001, False, False),
    "operation_timeout_seconds": (0.001, False, True),
    "ping_interval_seconds": (0.001, False, False),
    "pong_timeout_seconds": (0.001, False, False),
    "outbox_bytes_max": (1, True, False),
    "pending_operations_max": (0, True, False),
    "pending_bytes_max": (0, True, False),
    "pending_timeout_seconds": (0.001, False, True),
    "subscription_pending_messages_max": (1, True, False),
    "subscription_pending_bytes_max": (1, True, False),
    "drain_deadline_seconds": (0.001, False, False),
    "control_line_bytes_max": (64, True, False),
    "message_bytes_max": (1, True, False),
    "events_pending_max": (1, True, False),
    "requests_inflight_max": (1, True, False),
    "acks_pending_max": (1, True, False),
    "discovered_servers_max": (1, True, False),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "reconnect_jitter": ("upper_half", "full", "none"),
    "pending_policy": ("block", "error", "drop_oldest", "drop_new"),
    "subscription_pending_policy": ("drop_new", "drop_oldest", "error"),
}
FLAGS = [
    "give_up_on_auth_error",
    "retry_first_connect",
    "tls_first",
    "keep_server_order",
    "ignore_discovered",
    "trust_discovered",
    "probe_after_exhaustion",
    "fail_open",
    "echo",
    "verbose",
    "pedantic",
]
FUNCTIONS = ["reconnect_delay_callback", "choose_server"]
TEXTS = ["user", "password", "token"]
OTHERS = [
    *FUNCTIONS,
    "reconnect_jitter_tls",
    "servers",
    "name",
    "inbox_prefix",
    "tls",
    "websocket_headers",
    "nkey",
    "creds",
]  # the last two: test_sources.py


def urls(options: ClientOptions) -> tuple[str, ...]:
    """The servers, in plain."""
    return tuple(server.reveal() for server in options.servers)


def made(**values: Any) -> ClientOptions:
    return ClientOptions(**values)


def refusal(**values: Any) -> str:
    """The text of the OptionsError for a value, whichever way it is given."""
    with pytest.raises(OptionsError) as caught:
        made(**values)
    with pytest.raises(OptionsError) as combined:
        combine_options((), ClientOptions(), values)
    assert isinstance(caught.value, NatsError)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == str(combined.value)
    return str(caught.value)


def test_every_option_has_its_laws_here() -> None:
    """An option that is new must be given its bounds in this file too."""
    assert sorted([*NUMBERS, *CHOICES, *FLAGS, *TEXTS, *OTHERS]) == sorted(OPTION_NAMES) == sorted(FIELDS)


def test_the_defaults_are_those_that_are_documented() -> None:
    """The defaults of `open_client`, as its users read them."""
    assert attrs.asdict(ClientOptions()) == {
        "servers": ("nats://127.0.0.1:4222",),
        "name": "default",
        "keep_server_order": False,
        "ignore_discovered": False,
        "discovered_servers_max": 256,
        "trust_discovered": False,
        "reconnect_attempts": None,
        "probe_after_exhaustion": True,
        "reconnect_delay_seconds": 0.1,
        "reconnect_delay_max_seconds": 5,
        "reconnect_jitter": "upper_half",
        "reconnect_jitter_tls": None,
        "reconnect_delay_callback": None,
        "choose_server": None,
        "retry_first_connect": False,
        "connect_timeout_seconds": 5,
        "operation_timeout_seconds": 5,
        "ping_interval_seconds": 20,
        "pong_timeout_seconds": 5,
        "outbox_bytes_max": 128 * 1024,
        "pending_operations_max": 1000,
        "pending_bytes_max": 8 * 1024 * 1024,
        "pending_timeout_seconds": 60,
        "pending_policy": "block",
        "fail_open": False,
        "subscription_pending_messages_max": 65_536,
        "subscription_pending_bytes_max": 64 * 1024 * 1024,
        "subscription_pending_policy": "drop_new",
        "drain_deadline_seconds": 30,
        "control_line_bytes_max": 4096,
        "message_bytes_max": 64 * 1024 * 1024,
        "inbox_prefix": "_INBOX",
        "events_pending_max": 1000,
        "requests_inflight_max": 65_536,
        "acks_pending_max": 65_536,
        "user": None,
        "password": None,
        "token": None,
        "nkey": None,
        "creds": None,
        "give_up_on_auth_error": False,
        "tls": None,
        "tls_first": False,
        "websocket_headers": None,
        "echo": True,
        "verbose": False,
        "pedantic": False,
    }


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name: str) -> None:
    """The bound itself is taken; below it, not a number, a bool, a str: the text has key, value and bound."""
    least, whole, optional = NUMBERS[name]
    assert getattr(made(**{name: least if not whole else int(least)}), name) == least
    bad: list[object] = [math.nan, -math.inf, -1, True, False, str(least), [least], least - (1 if whole else 0.0005)]
    bad += [least + 0.5, float(least), math.inf] if whole else []
    bad += [] if optional else [None]
    for value in bad:
        text = refusal(**{name: value})
        assert text.startswith(f"{name} is {value!r}")
        assert f"{'a whole number' if whole else 'a number'} of at least {least:g}" in text
        assert (", or None" in text) is optional
    if optional:
        assert getattr(made(**{name: None}), name) is None


@pytest.mark.parametrize("name", NUMBERS)
@given(value=st.one_of(st.floats(), st.integers(-5, 10**12)))
def test_numbers_are_taken_from_their_bound_on(name: str, value: float) -> None:
    """Every number from the bound on is taken, every other is refused."""
    least, whole, _ = NUMBERS[name]
    if (isinstance(value, int) or not whole) and value >= least:
        assert getattr(made(**{name: value}), name) == value
    else:
        assert name in refusal(**{name: value})


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str) -> None:
    """Each choice is taken; anything else is refused with all choices."""
    for choice in CHOICES[name]:
        assert getattr(made(**{name: choice}), name) == choice
    for value in ("", "other", CHOICES[name][0].upper(), None, True, 1, [CHOICES[name][0]]):
        assert refusal(**{name: value}) == f"{name} is {value!r}; it must be one of {', '.join(CHOICES[name])}"


@pytest.mark.parametrize("name", FLAGS)
def test_flags(name: str) -> None:
    """True and False are taken, and nothing that merely looks like them."""
    for value in (True, False):
        assert getattr(made(**{name: value}), name) is value
    wrongs: list[object] = [None, 0, 1, "true", "False", []]
    for wrong in wrongs:
        assert refusal(**{name: wrong}) == f"{name} is {wrong!r}; it must be True or False"


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str) -> None:
    """A str or None; the error names key and type and never repeats a value that may be a secret."""
    for value in (None, "", "x", "ü\x00"):
        assert getattr(made(**{name: value}), name) == value
    for wrong in (SECRET.encode(), [SECRET], 5):
        text = refusal(**{name: wrong})
        assert text == f"{name} must be a str or a callback that gives one, not {type(wrong).__name__}"


def test_name() -> None:
    """A name is a str, and there is always one: it is the label of the metrics."""
    assert ClientOptions(name="orders").name == "orders"
    for wrong in (5, b"orders", None):
        text = refusal(name=wrong)
        assert "name" in text
        assert type(wrong).__name__ in text or repr(wrong) in text


@pytest.mark.parametrize("prefix", ["", "a.*", ">", "a b", "a.", "a\r\nb", "\ud800", None, 5, b"_INBOX"])
def test_inbox_prefix(prefix: Any) -> None:
    """An inbox prefix is a subject without wildcards."""
    assert ClientOptions(inbox_prefix="_INBOX.team.7").inbox_prefix == "_INBOX.team.7"
    assert refusal(inbox_prefix=prefix) == f"inbox_prefix is {prefix!r}; it must be a subject without wildcards"


def test_tls() -> None:
    """A context, True, False or None."""
    for value in (ssl.create_default_context(), True, False, None):
        assert ClientOptions(tls=value).tls is value
    wrongs: list[object] = ["yes", 1, {}]
    for wrong in wrongs:
        text = refusal(tls=wrong)
        assert text.startswith("tls must be an ssl.SSLContext, TLSFiles, True, False or None, not ")
        assert type(wrong).__name__ in text


def test_servers() -> None:
    """One URL or several; none is refused."""
    assert urls(ClientOptions(servers="nats://a")) == ("nats://a",)
    assert urls(ClientOptions(servers=["nats://a", "b:1"])) == ("nats://a", "b:1")
    assert urls(ClientOptions()) == (DEFAULT_SERVER,)
    for empty in (tuple, list):
        assert refusal(servers=empty()) == "servers is empty; give at least one, such as nats://127.0.0.1:4222"


@pytest.mark.parametrize("wrong", [None, 5, b"nats://h", [5], [b"nats://h"], ["nats://h", None]])
def test_servers_are_texts(wrong: Any) -> None:
    """What is no URL or list of URLs is refused like every other bad value: by an OptionsError that names the key."""
    assert "servers" in refusal(servers=wrong)


def test_overrides_win() -> None:
    """Overrides win over the servers of the call, those over the options, those over the defaults."""
    options = ClientOptions(servers=["nats://options"], name="options", echo=False)
    assert combine_options((), None, {}) == ClientOptions()
    assert combine_options((), options, {}) == options
    assert urls(combine_options(("nats://call",), options, {})) == ("nats://call",)
    combined = combine_options(("nats://call",), options, {"servers": "nats://override", "name": "override"})
    assert (urls(combined), combined.name, combined.echo) == (("nats://override",), "override", False)
    assert options.name == "options"


def test_a_mapping_is_no_options() -> None:
    """What stands for the options and is something else is a TypeError that says how a mapping is given."""
    wrong: Any = {"name": "orders"}
    with pytest.raises(TypeError, match=r"options must be ClientOptions, not dict; a mapping m is given as \*\*m"):
        combine_options((), wrong, {})


def test_an_unknown_override_is_a_type_error() -> None:
    """It is named, before any value is looked at, beside the names there are."""
    with pytest.raises(TypeError, match=r"unknown option reconect_attempts, zzz; .*reconnect_attempts") as caught:
        combine_options((), None, {"zzz": 1, "reconect_attempts": 3, "echo": "no bool"})
    assert not isinstance(caught.value, NatsError)
    with pytest.raises(TypeError, match="zzz"):
        made(zzz=1)


def test_options_are_frozen() -> None:
    """Options do not change under a running client."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ClientOptions().name = "other"  # type: ignore[misc]


def test_secrets_are_never_shown() -> None:
    """Neither repr nor an error about another option shows a password, a token, or a URL that may hold one."""
    secrets: dict[str, Any] = {"servers": f"nats://alice:{SECRET}@h", "password": SECRET}
    options = ClientOptions(user="alice", **secrets)
    assert SECRET not in repr(ClientOptions(token=SECRET))
    for shown in (repr(options), str(options), repr([options])):
        assert "alice" in shown
        assert SECRET not in shown
    with pytest.raises(OptionsError) as caught:
        combine_options((), options, {"echo": 5})
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(TypeError) as unknown:
        combine_options((), options, {"passwort": SECRET})
    assert SECRET not in str(unknown.value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    """A function or None, and nothing else; the refusal names the key."""
    assert getattr(made(**{name: print}), name) is print
    assert getattr(made(**{name: None}), name) is None
    assert name in refusal(**{name: "print"})


def test_the_jitter_of_tls() -> None:
    """One of the kinds, or None for the same as without TLS."""
    for kind in ("upper_half", "full", "none", None):
        assert made(reconnect_jitter_tls=kind).reconnect_jitter_tls == kind
    assert "upper_half, full, none, or None" in refusal(reconnect_jitter_tls="some")

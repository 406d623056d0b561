"""Log records as lines: what is kept, what can be read back, and what never gets out."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.connection import ClientLog
from beamline_trio.metrics import JSONLogFormatter, TextLogFormatter, redact

URL = "nats://user:pa55@10.0.0.1:4222"


def record(message: str = "m", *args: object, extra: dict[str, Any] | None = None, **fields: Any) -> logging.LogRecord:
    made = logging.getLogger("beamline_trio").makeRecord(
        "beamline_trio", logging.WARNING, "file.py", 1, message, args, fields.pop("exc_info", None), extra=extra
    )
    vars(made).update(fields)
    return made


def formatted(made: logging.LogRecord) -> dict[str, Any]:
    line = JSONLogFormatter().format(made)
    assert "\n" not in line
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_a_record_is_one_object_on_one_line() -> None:
    """Time, level, logger, event, message and the extra fields, and nothing of logging's own."""
    made = record("lost %s", "it", extra={"event": "NATS_CONNECTION_LOST", "reason": "a\nb", "unknown": 3})
    made.created = 1_700_000_000.25
    assert formatted(made) == {
        "time": "2023-11-14T22:13:20.250000+00:00",
        "level": "warning",
        "logger": "beamline_trio",
        "event": "NATS_CONNECTION_LOST",
        "message": "lost it",
        "reason": "a\nb",
        "unknown": 3,
    }


def test_a_record_without_an_event_has_none() -> None:
    """`event` is there for every line, so that a query on it needs no exception."""
    assert formatted(record("hello"))["event"] is None


def test_an_exception_is_a_field() -> None:
    """The traceback is in the same line, redacted."""
    try:
        raise ValueError(f"cannot reach {URL}")
    except ValueError:
        fields = formatted(record("x", exc_info=sys.exc_info(), stack_info=f"Stack {URL}"))
    assert fields["exception"].startswith("Traceback")
    assert fields["exception"].endswith("ValueError: cannot reach nats://***@10.0.0.1:4222")
    assert fields["stack"] == "Stack nats://***@10.0.0.1:4222"


@pytest.mark.parametrize(
    "name", ["password", "nats_token", "client_secret", "creds", "nkey_seed", "Authorization", "jwt"]
)
def test_a_field_with_a_telling_name_is_never_shown(name: str) -> None:
    """Whoever logs a secret by its name logs three stars, at any depth."""
    made = record("x", extra={name: "pa55", "options": {name: "pa55", "list": [{name: "pa55"}]}})
    line = JSONLogFormatter().format(made)
    assert "pa55" not in line
    assert json.loads(line)[name] == "***"


@pytest.mark.parametrize(
    "text, expected",
    [
        (URL, "nats://***@10.0.0.1:4222"),
        ("nats://to/k@en:p@ss@host:1 and tls://t0ken@[::1]:2", "nats://***@host:1 and tls://***@[::1]:2"),
        ("nats://u:pa55@a:1,nats://u:pa55@b:2", "nats://***@a:1,nats://***@b:2"),
        ("nats://host:4222 told me@home", "nats://host:4222 told me@home"),
        ("no URL, mail a@b.c", "no URL, mail a@b.c"),
    ],
)
def test_the_user_information_of_urls_is_redacted(text: str, expected: str) -> None:
    """From the scheme to the last @ before the host, also where the password holds what should have been escaped."""
    assert redact(text) == expected
    assert formatted(record("%s", text))["message"] == expected
    assert TextLogFormatter().format(record("%s", text)).endswith(f"beamline_trio: {expected}")


def test_a_value_that_cannot_be_shown_does_not_cost_the_line() -> None:
    """What JSON does not know is shown as text, and what has no text by its type."""

    class Bad:
        def __str__(self) -> str:
            raise RuntimeError

    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    extra = {"bad": Bad(), "nan": float("nan"), "data": b"\x00", "none": None, "on": True, "deep": deep, "set": {1}}
    fields = formatted(record("x", extra=extra))
    assert fields["bad"] == "<Bad: RuntimeError>"
    assert (fields["nan"], fields["data"], fields["none"], fields["on"], fields["set"]) == (
        "nan", r"b'\x00'", None, True, "{1}",
    )  # fmt: skip


def test_an_extra_field_never_hides_one_of_the_lines_own() -> None:
    """A field named like one of ours gets another name."""
    fields = formatted(record("x", extra={"time": "yesterday", "level": 3}))
    assert (fields["field_time"], fields["field_level"], fields["level"]) == ("yesterday", 3, "warning")


@given(message=st.text(), value=st.recursive(st.none() | st.text() | st.floats() | st.binary(), st.lists))
def test_any_text_makes_one_line_of_ascii(message: str, value: object) -> None:
    """Newlines, control characters and lone surrogates are escaped."""
    line = JSONLogFormatter().format(record("%s", message, extra={"value": value}))
    assert line.isascii()
    assert line.splitlines() == [line]
    json.loads(line)


class TestLinesOfText:
    """Whoever reads text has the code and the client's name, with any formatter."""

    def test_code_and_client_begin_the_message(self, caplog: pytest.LogCaptureFixture) -> None:
        """The facts follow, and then the words; the exception is below."""
        with caplog.at_level(logging.INFO, "beamline_trio"):
            ClientLog("orders")(logging.INFO, "NATS_RETRY_PENDING", pending=3)
            ClientLog("orders")(
                logging.ERROR, "NATS_HANDLER_ERROR", subject="a", words="the handler raised", exc_info=ValueError("no")
            )
        pending, failed = [TextLogFormatter().format(one) for one in caplog.records]
        assert pending.endswith(" INFO beamline_trio: NATS_RETRY_PENDING client=orders pending=3")
        first, *rest = failed.splitlines()
        assert first.endswith(" ERROR beamline_trio: NATS_HANDLER_ERROR client=orders subject=a: the handler raised")
        assert rest == ["ValueError: no"]

    def test_words_and_exception_are_no_facts(self, caplog: pytest.LogCaptureFixture) -> None:
        """A record has the fields that the contract lists, and no others."""
        ClientLog("orders")(logging.ERROR, "NATS_HANDLER_ERROR", subject="a", words="w", exc_info=ValueError("no"))
        fields = formatted(caplog.records[0])
        assert (fields["event"], fields["client"], fields["subject"]) == ("NATS_HANDLER_ERROR", "orders", "a")
        assert not {"words", "exc_info"} & fields.keys()

    def test_two_clients_are_told_apart(self, caplog: pytest.LogCaptureFixture) -> None:
        """In one program's log too."""
        for name in ("a", "b"):
            ClientLog(name)(logging.WARNING, "NATS_LAME_DUCK", server="s")
        assert [one.getMessage() for one in caplog.records] == [
            f"NATS_LAME_DUCK client={name} server=s" for name in ("a", "b")
        ]

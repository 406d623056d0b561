"""Log records as JSON lines, and what no log line may hold.

    handler.setFormatter(JSONLogFormatter())

A record keeps its wall clock time, its event code and the fields that were given as `extra`. Passwords in URLs and the
values of fields with a telling name never get through, whoever logged them.

Must not log anything itself.
"""

from __future__ import annotations

import json
import logging
import math
import re
from datetime import UTC, datetime
from typing import Any, Final

# What every record has, on every supported Python; the rest came as `extra`.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}
_OURS: Final = ("time", "level", "logger", "event", "message", "exception", "stack")
_REDACTED: Final = "***"
# From a scheme to the last @ before white space or the next URL: a password may hold nearly anything unescaped.
_USER_INFORMATION: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:(?![A-Za-z][A-Za-z0-9+.-]*://)\S)*@")
_SECRET_NAME: Final = re.compile(r"passw|secret|token|credential|nkey|jwt|^creds?$|authorization", re.IGNORECASE)
_NESTING_MAX: Final = 4


def redact(text: str) -> str:
    """A text without the user information of the URLs in it."""
    return _USER_INFORMATION.sub(rf"\1{_REDACTED}@", text)


class JSONLogFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `event`, `message`, and the fields of `extra`.

    `time` is the record's own, in UTC; `event` is the code of `extra={"event": ...}`, or null; `exception` is the
    traceback of an exception, `stack` that of `stack_info`. A field of `extra` with such a name becomes `field_<name>`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _plain(getattr(record, "event", None)),
            "message": redact(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and name != "event":
                shown = f"field_{name}" if name in _OURS else name
                fields[shown] = _REDACTED if _SECRET_NAME.search(name) else _plain(value)
        if record.exc_info:
            fields["exception"] = redact(self.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = redact(self.formatStack(record.stack_info))
        return json.dumps(fields)


class TextLogFormatter(logging.Formatter):
    """A line for people, with the same redaction: wall clock time, level, logger, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; a traceback follows it."""
        return redact(super().format(record))


def _plain(value: object, depth: int = 0) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < _NESTING_MAX and isinstance(value, dict):
        return {
            redact(str(name)): _REDACTED if _SECRET_NAME.search(str(name)) else _plain(inner, depth + 1)
            for name, inner in value.items()
        }
    if depth < _NESTING_MAX and isinstance(value, (list, tuple)):
        return [_plain(inner, depth + 1) for inner in value]
    try:
        return redact(str(value))
    except Exception as error:  # noqa: BLE001  # a value that cannot be shown must not cost the line
        return f"<{type(value).__name__}: {type(error).__name__}>"

"""Where the log of a command goes: stderr, as JSON for machines and as text for people.

Must not replace what the user's own module has set up.
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum

from ..metrics import JSONLogFormatter, TextLogFormatter


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


def set_up_logs(form: LogFormat) -> None:
    """Log to stderr from INFO on, unless logging is set up already; `auto` is text on a terminal, else JSON."""
    if form is LogFormat.AUTO:
        form = LogFormat.TEXT if sys.stderr.isatty() else LogFormat.JSON
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLogFormatter() if form is LogFormat.JSON else TextLogFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])

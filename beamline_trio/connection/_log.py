"""The log of one client: records with a code, the client's name and facts, on transitions and errors only.

Code and name begin the message too, so that every formatter shows them: whoever reads text tells one client's lines
from another's.

Must not be given a secret: what it is given is written.
"""

from __future__ import annotations

import logging

_log = logging.getLogger("beamline_trio")


class ClientLog:
    """Called with a level, a code and the facts; `words` and an exception come behind them, and are no facts.

    Args:
        client: the client's name.
    """

    def __init__(self, client: str) -> None:
        self._client = client

    def __call__(
        self, level: int, event: str, *, words: str = "", exc_info: BaseException | None = None, **fields: object
    ) -> None:
        """Write one record."""
        if _log.isEnabledFor(level):
            extra = {"event": event, "client": self._client, **fields}
            details = "".join(f" {key}={value}" for key, value in extra.items() if key != "event")
            said = f": {words}" if words else ""
            _log.log(level, "%s%s%s", event, details, said, exc_info=exc_info, extra=extra)

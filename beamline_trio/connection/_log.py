"""The log of one client: records with a code, the client's name and facts, on transitions and errors only.

Must not be given a secret: what it is given is written.
"""

from __future__ import annotations

import logging

_log = logging.getLogger("beamline_trio")


class ClientLog:
    """Called with a level, a code and the facts.

    Args:
        client: the client's name.
    """

    def __init__(self, client: str) -> None:
        self._client = client

    def __call__(self, level: int, event: str, **fields: object) -> None:
        """Write one record."""
        if _log.isEnabledFor(level):
            details = " ".join(f"{key}={value}" for key, value in fields.items())
            _log.log(level, "%s %s", event, details, extra={"event": event, "client": self._client, **fields})

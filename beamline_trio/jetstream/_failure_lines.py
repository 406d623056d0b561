"""The log of publishes that failed or are unknown: one line for all of one reason that one wake-up brings.

A dead link, or a stream that is gone, ends a whole window at once: as many lines would say nothing more than their
count. A line has the subject and the error of the first.

Must not count for statistics.
"""

from __future__ import annotations

import logging

import attrs

from ..connection import Connection


@attrs.define
class _Line:
    subject: str
    error: str
    count: int = 0


class FailureLines:
    """The lines of one publisher.

    Args:
        connection: whose wake-ups these are, and whose log it is.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lines: dict[str, _Line] = {}

    def note(self, subject: str, reason: str, error: Exception) -> None:
        """A publish has ended so; the line is written when all that has come is worked off."""
        line = self._lines.get(reason)
        if line is None:
            if not self._lines:
                self._connection.deferred.append(self.write)
            line = self._lines[reason] = _Line(subject, str(error))
        line.count += 1

    def write(self) -> None:
        """Write what was noted."""
        log, lines, self._lines = self._connection.log, self._lines, {}
        for reason, line in lines.items():
            log(
                logging.WARNING,
                "NATS_PUBLISH_WITH_ACK_ERROR",
                subject=line.subject,
                reason=reason,
                error=line.error,
                count=line.count,
            )

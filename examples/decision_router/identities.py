"""An id is for one content: what came under each id within the hour.

Must not know what a content is.
"""

from __future__ import annotations

from typing import Final

import attrs

from .errors import ErrorCode, Refusal
from .remembered import Remembered

TTL_SECONDS: Final = 3600.0


@attrs.define
class Identities:
    """The contents of one kind of message by id."""

    kind: str
    _contents: Remembered[str, str] = attrs.field(factory=lambda: Remembered(TTL_SECONDS), init=False)

    def is_new(self, identity: str, content: str, now: float) -> bool:
        """Whether nothing came under this id.

        Raises:
            Refusal: IDEMPOTENCY_VIOLATION, something else did.
        """
        known = self._contents.get(identity, now)
        if known is not None and known != content:
            raise Refusal(
                ErrorCode.IDEMPOTENCY_VIOLATION,
                f"{self.kind} {identity} came before with another content; give a new one an id of its own",
                {"id": identity},
            )
        return known is None

    def note(self, identity: str, content: str, now: float) -> None:
        """It has come, and was not refused."""
        self._contents.put(identity, content, now)

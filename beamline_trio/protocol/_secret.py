"""A text that is never shown: what holds it may be printed, logged, and stand in a traceback with its locals.

Must not be opened but where its text goes to the wire or to a library that needs it.
"""

from __future__ import annotations

from typing import Final

SHOWN: Final = "Secret(...)"


class Secret:
    """A text behind a repr that says nothing.

    It equals its text and another Secret with the same, so that options can be compared.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text."""
        return self._text

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Secret):
            return self._text == other._text
        return self._text == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return SHOWN


def hidden(text: str | Secret) -> Secret:
    """A text as a Secret; a Secret as it is."""
    return text if isinstance(text, Secret) else Secret(text)


def hidden_or_none(text: str | Secret | None) -> Secret | None:
    """A text as a Secret; None as it is."""
    return None if text is None else hidden(text)

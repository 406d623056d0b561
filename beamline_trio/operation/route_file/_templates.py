"""Templates: values with paths in braces, filled in from a message.

    "{payload.total}"             the value itself: a number stays a number
    "order {payload.id}"          text with values in it
    "{payload.note?}"             null, or no text, where the message has no such value
    "{{" and "}}"                 braces

Nothing is evaluated: there are paths, constants and their joining, and no other language.

Must not know where a value goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import attrs

from ._errors import MappingError, RouteFileError
from ._paths import Input, Path, parse_path

_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_WHITE_OR_WILD: Final = re.compile(r"[\s.*>]")


@attrs.frozen
class Slot:
    """A place that a value of the message fills.

    Attributes:
        path: which value.
        optional: whether the message may lack it.
    """

    path: Path
    optional: bool

    def value(self, source: Input) -> Any:
        """The value; None where it may be missing and is.

        Raises:
            MappingError: the message has no such value.
        """
        try:
            return self.path.find(source)
        except MappingError:
            if self.optional:
                return None
            raise

    def text(self, source: Input) -> str:
        """The value within a text.

        Raises:
            MappingError: there is none, or it is an object or an array, null, or bytes.
        """
        value = self.value(source)
        if value is None and self.optional:
            return ""
        if isinstance(value, str):
            return value
        if isinstance(value, (bool, int, float)):
            return json.dumps(value)
        kind = {dict: "an object", list: "an array", type(None): "null"}.get(type(value), type(value).__name__)
        raise MappingError(f"{self.path.text} is {kind}, which cannot stand within a text")


@attrs.frozen
class TextTemplate:
    """A text, with slots.

    Attributes:
        pieces: texts and slots, in order.
    """

    pieces: tuple[str | Slot, ...]

    @property
    def slots(self) -> Iterator[Slot]:
        """Its slots."""
        return (piece for piece in self.pieces if isinstance(piece, Slot))

    def value(self, source: Input) -> Any:
        """The value of its only slot, where it is nothing but that; else its text.

        Raises:
            MappingError: see `Slot`.
        """
        if len(self.pieces) == 1 and isinstance(self.pieces[0], Slot):
            return self.pieces[0].value(source)
        return self.text(source)

    def text(self, source: Input) -> str:
        """The text.

        Raises:
            MappingError: see `Slot`.
        """
        return "".join(piece if isinstance(piece, str) else piece.text(source) for piece in self.pieces)

    def subject(self, source: Input) -> str:
        """The text as a subject: what fills a slot is one token, but for the whole subject of the message.

        Raises:
            MappingError: a value is empty, or has a dot, a wildcard or white space.
        """
        return "".join(piece if isinstance(piece, str) else _token(piece, source) for piece in self.pieces)

    def pattern(self) -> str:
        """The subjects that it may become: a token with a slot is `*`, and from the whole subject on it is `>`."""
        marked = "".join(
            piece if isinstance(piece, str) else "\0" if _is_whole_subject(piece) else "\1" for piece in self.pieces
        )
        tokens: list[str] = []
        for token in marked.split("."):
            if "\0" in token:
                return ".".join([*tokens, ">"])
            tokens.append("*" if "\1" in token else token)
        return ".".join(tokens)


Template: TypeAlias = TextTemplate | dict[str, Any] | list[Any] | bool | int | float


def compile_text(text: Any, where: str) -> TextTemplate:
    """Read a text with slots.

    Raises:
        RouteFileError: it is no text, or what stands in braces is no path.
    """
    if not isinstance(text, str):
        raise RouteFileError(where, f"it is {text!r}; it must be a text")
    pieces: list[str | Slot] = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        if match[1] is not None:
            pieces.append(_slot(match[1], where))
        elif piece in ("{", "}"):
            raise RouteFileError(where, f"{text!r} has a {piece!r} that belongs to no path; write {piece * 2!r} for it")
        else:
            pieces.append({"{{": "{", "}}": "}"}.get(piece, piece))
    return TextTemplate(tuple(pieces))


def compile_template(value: Any, where: str) -> Template:
    """Read a value with slots in its texts, however deep.

    Raises:
        RouteFileError: see `compile_text`; or it is a date or a time, which JSON has not.
    """
    if isinstance(value, str):
        return compile_text(value, where)
    if isinstance(value, dict):
        return {key: compile_template(one, f"{where}.{key}") for key, one in value.items()}
    if isinstance(value, list):
        return [compile_template(one, f"{where}[{index}]") for index, one in enumerate(value)]
    if isinstance(value, (bool, int, float)):
        return value
    raise RouteFileError(where, f"{value} is of the type {type(value).__name__}, which JSON has not; write a text")


def fill(template: Template, source: Input) -> Any:
    """The value that a template becomes with a message.

    Raises:
        MappingError: the message lacks what it needs.
    """
    if isinstance(template, TextTemplate):
        return template.value(source)
    if isinstance(template, dict):
        return {key: fill(one, source) for key, one in template.items()}
    if isinstance(template, list):
        return [fill(one, source) for one in template]
    return template


def slots_of(template: Template) -> Iterator[Slot]:
    """The slots of a template, however deep."""
    if isinstance(template, TextTemplate):
        yield from template.slots
    elif isinstance(template, (dict, list)):
        for one in template.values() if isinstance(template, dict) else template:
            yield from slots_of(one)


def _slot(text: str, where: str) -> Slot:
    optional = text.endswith("?")
    try:
        return Slot(parse_path(text.removesuffix("?")), optional)
    except ValueError as error:
        raise RouteFileError(where, str(error)) from None


def _is_whole_subject(slot: Slot) -> bool:
    return slot.path.parts == ("subject",)


def _token(slot: Slot, source: Input) -> str:
    text = slot.text(source)
    if not _is_whole_subject(slot) and (not text or _WHITE_OR_WILD.search(text)):
        raise MappingError(f"{slot.path.text} is {text[:40]!r}, which cannot be a token of a subject")
    return text

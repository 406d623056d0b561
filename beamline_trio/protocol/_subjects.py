"""Subjects, queue groups and inbox prefixes: what may go on the wire (ADR-6, nats-server 2.15 sublist.go).

A space in a SUB subject silently becomes a queue group and a line break a new operation, so everything is checked
here before a byte leaves. `*` and `>` are wildcards only as whole tokens, `>` only as the last.

Must not know about messages or connections.
"""

from __future__ import annotations

import re

from ._errors import InvalidSubjectError

# The server parts arguments at space and tab, ends them at CR LF, and refuses form feed in a subject.
_FORBIDDEN = " \t\r\n\f"
_LITERAL = re.compile(r"(?!(?:.*\.)?[*>](?:\.|\Z))[^ \t\r\n\f.]+(?:\.[^ \t\r\n\f.]+)*\Z", re.DOTALL)


def encode_subject(subject: str) -> bytes:
    """Check a subject to publish to, and encode it.

    Raises:
        TypeError: it is not a str.
        InvalidSubjectError: it is empty, has an empty token, white space or a wildcard token, or is not valid UTF-8
            (a subject that arrived with surrogate escapes).
    """
    if not isinstance(subject, str):
        raise TypeError(f"subject must be a str, not {type(subject).__name__}")
    if _LITERAL.match(subject) is None:
        raise InvalidSubjectError(f"cannot publish to {_shown(subject)}: {_reason(subject, wildcards=False)}")
    return _utf8(subject)


def encode_pattern(subject: str) -> bytes:
    """Check a subject to subscribe to, in which `*` and a last `>` are wildcards, and encode it.

    Raises:
        TypeError: it is not a str.
        InvalidSubjectError: it is empty, has an empty token or white space, `>` before the end, or is not valid UTF-8.
    """
    if not isinstance(subject, str):
        raise TypeError(f"subject must be a str, not {type(subject).__name__}")
    reason = _reason(subject, wildcards=True)
    if reason:
        raise InvalidSubjectError(f"cannot subscribe to {_shown(subject)}: {reason}")
    return _utf8(subject)


def encode_queue_group(name: str) -> bytes:
    """Check a queue group's name, and encode it.

    Raises:
        TypeError: it is not a str.
        InvalidSubjectError: it is empty or has white space, or is not valid UTF-8.
    """
    if not isinstance(name, str):
        raise TypeError(f"queue_group must be a str, not {type(name).__name__}")
    if not name or any(char in _FORBIDDEN for char in name):
        raise InvalidSubjectError(f"queue group {_shown(name)} must have no white space and not be empty")
    return _utf8(name)


def check_name(name: str, what: str = "name") -> str:
    r"""Check the name of a stream, consumer or service: no `. * > / \` or white space, at most 255 characters.

    Raises:
        InvalidSubjectError: the name breaks the rule.
    """
    if not isinstance(name, str):
        raise TypeError(f"the {what} is {name!r}; it must be a str")
    if not name or len(name) > 255 or any(char in " \t\r\n\f.*>/\\" for char in name):
        raise InvalidSubjectError(
            f"{what} {_shown(name)} must be 1 to 255 characters without white space and without . * > / \\"
        )
    _utf8(name)
    return name


def check_inbox_prefix(prefix: str) -> str:
    """Check a prefix for inbox subjects: a literal subject.

    Raises:
        InvalidSubjectError: it is not a subject without wildcards.
    """
    if _LITERAL.match(prefix) is None:
        raise InvalidSubjectError(
            f"inbox_prefix {_shown(prefix)} must be a subject without wildcards: {_reason(prefix, wildcards=False)}"
        )
    _utf8(prefix)
    return prefix


def decode_subject(subject: bytes) -> str:
    """A subject from the wire as text; bytes that are not UTF-8 (other clients may send them) become surrogates."""
    return subject.decode("utf-8", "surrogateescape")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise InvalidSubjectError(f"{_shown(text)} is not valid UTF-8 text; only such subjects are sent") from exc


def _reason(subject: str, *, wildcards: bool) -> str:
    """Why a subject is refused, or an empty string."""
    if not subject:
        return "it is empty"
    if any(char in _FORBIDDEN for char in subject):
        return "it has white space"
    tokens = subject.split(".")
    if "" in tokens:
        return "it has an empty token (a dot at an end, or two dots running)"
    if not wildcards and ("*" in tokens or ">" in tokens):
        return "it has a wildcard token; publish to one subject"
    if ">" in tokens[:-1]:
        return "`>` may only be the last token"
    return ""


def _shown(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 80 else shown[:77] + "...'"

"""Subjects as the server sees them: tokens, wildcards, and which patterns cover or meet which.

The rules are the server's own, also where they surprise: it looks at the tokens of a subscription's subject as if they
were literal when it asks whether a permission covers it, so that `foo.*` covers a subscription to `foo.>`.

Must not know subscriptions.
"""

from __future__ import annotations


def is_valid(subject: bytes) -> bool:
    """Whether there may be a subscription to it: no empty token, and `>` only as the last."""
    tokens = subject.split(b".")
    return b"" not in tokens and b">" not in tokens[:-1]


def is_literal(subject: bytes) -> bool:
    """Whether it has no empty token and no wildcard: what a pedantic client may publish to."""
    tokens = subject.split(b".")
    return b"" not in tokens and b"*" not in tokens and b">" not in tokens


def has_wildcard(subject: bytes) -> bool:
    """Whether a token is a wildcard."""
    if b"*" not in subject and b">" not in subject:
        return False
    tokens = subject.split(b".")
    return b"*" in tokens or b">" in tokens


def is_subset(subject: bytes, pattern: bytes) -> bool:
    """Whether everything that `subject` matches is matched by `pattern` too."""
    tokens, tests = subject.split(b"."), pattern.split(b".")
    for index, test in enumerate(tests):
        if index >= len(tokens) or not test:
            return False
        if test == b">":
            return True
        token = tokens[index]
        if not token or token == b">":
            return False
        if token == b"*":
            if test != b"*":
                return False
        elif not test.startswith(b"*") and token != test:
            return False
    return len(tokens) == len(tests)


def collide(one: bytes, other: bytes) -> bool:
    """Whether there is a literal subject that both match."""
    if one == other:
        return True
    wild, other_wild = has_wildcard(one), has_wildcard(other)
    if not wild and not other_wild:
        return False
    if not wild:
        return is_subset(one, other)
    if not other_wild:
        return is_subset(other, one)
    return _patterns_collide(one.split(b"."), other.split(b"."))


def _patterns_collide(one: list[bytes], other: list[bytes]) -> bool:
    shorter = one if len(one) < len(other) else other
    if len(one) != len(other) and b">" not in shorter:
        return False
    return all(_tokens_can_match(*pair) for pair in zip(one, other, strict=False))


def _tokens_can_match(one: bytes, other: bytes) -> bool:
    if not one or not other:
        return False
    return one[:1] in (b"*", b">") or other[:1] in (b"*", b">") or one == other

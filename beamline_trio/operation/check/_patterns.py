"""Patterns of subjects against each other: which covers which, and which have a subject in common.

Must not know what a pattern is for.
"""

from __future__ import annotations


def covers(pattern: str, other: str) -> bool:
    """Whether every subject that `other` matches is matched by `pattern` too."""
    tests, tokens = pattern.split("."), other.split(".")
    for index, test in enumerate(tests):
        if index >= len(tokens):
            return False
        if test == ">":
            return True
        token = tokens[index]
        if token == ">" or test not in ("*", token):
            return False
    return len(tests) == len(tokens)


def overlap(one: str, other: str) -> bool:
    """Whether there is a subject that both match."""
    left, right = one.split("."), other.split(".")
    for index in range(max(len(left), len(right))):
        if index >= len(left) or index >= len(right):
            return False
        if left[index] == ">" or right[index] == ">":
            return True
        if "*" not in (left[index], right[index]) and left[index] != right[index]:
            return False
    return True

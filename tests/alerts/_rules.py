"""The alert rules as tests read them: records, and what an expression of PromQL asks for.

Must not judge a rule.
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs
import yaml

from beamline_trio.metrics import alert_rules

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_SELECTOR: Final = re.compile(r"\b(router_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER: Final = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_STRING})")
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


@attrs.frozen
class Rule:
    """One alert."""

    name: str
    severity: str
    expression: str
    waits: str
    annotations: dict[str, str]


@attrs.frozen
class Selector:
    """A metric that an expression asks for, and the values of labels that it wants: label -> alternatives."""

    metric: str
    matchers: dict[str, tuple[str, ...]]


def load_rules(text: str | None = None) -> list[Rule]:
    """The alerts of a rules file, in its order; None = the one that is shipped."""
    tree: dict[str, Any] = yaml.safe_load(alert_rules() if text is None else text)
    return [
        Rule(rule["alert"], rule["labels"]["severity"], rule["expr"], rule.get("for", "0s"), rule["annotations"])
        for group in tree["groups"]
        for rule in group["rules"]
    ]


def selectors(expression: str) -> list[Selector]:
    """What an expression asks for."""
    return [
        Selector(
            metric,
            {label: tuple(value.strip('"').split("|")) for label, _, value in _MATCHER.findall(wanted)},
        )
        for metric, wanted in _SELECTOR.findall(expression)
    ]


def grouping_labels(expression: str) -> set[str]:
    """The labels that an expression adds up over, keeps or joins on."""
    return {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",") if label.strip()}

"""The shipped alerts over the metrics of a run: which of them Prometheus would have raised, and when.

Of the rules those are taken that compare one metric with a number, which is what tells of servers, regions and
instances; those with rates and windows need Prometheus. Where a run is compressed, so is what they wait for.

Pure. Must not read metrics.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import attrs

# The target of a series, its metric, and the values of its labels.
Key: TypeAlias = tuple[str, str, tuple[str, ...]]

_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600}
_RULE: Final = re.compile(r"^ *- alert: (\w+)\n((?:(?! *- ).*\n?)*)", re.MULTILINE)
_EXPRESSION: Final = re.compile(r"^ *expr: (\w+) (==|!=|<=|>=|<|>) ([\d.]+)$", re.MULTILINE)
_FOR: Final = re.compile(r"^ *for: (\d+)([smh])$", re.MULTILINE)
# As often as a compressed run can be looked at.
FOR_SECONDS_MIN: Final = 1.0


@attrs.frozen
class Alert:
    """A rule that compares a metric with a number.

    Attributes:
        name: of the alert.
        metric: that it looks at, each series for itself.
        comparison: with the `threshold`, as `<`.
        threshold: what the metric is compared with.
        for_seconds: that it must have held before it is raised.
    """

    name: str
    metric: str
    comparison: str
    threshold: float
    for_seconds: float

    def holds(self, value: float) -> bool:
        """Whether a value is one to be told of."""
        return _COMPARISONS[self.comparison](value, self.threshold)


@attrs.frozen(kw_only=True)
class Raised:
    """An alert that was raised.

    Attributes:
        alert: its name.
        target: whose metrics told it.
        labels: the values of the labels of its series.
        since: when its rule began to hold, seconds since the start of the run.
        begins: when it was raised.
        ends: when it was over; None = not by the end of the run.
    """

    alert: str
    target: str
    labels: tuple[str, ...]
    since: float
    begins: float
    ends: float | None = None


def alerts_of(rules: str, scale: float = 1.0) -> list[Alert]:
    """The alerts of a rules file that compare one metric with a number.

    Args:
        rules: as `alert_rules` gives it.
        scale: of a compressed run: its length as a part of the full one.
    """
    alerts: list[Alert] = []
    for name, body in _RULE.findall(rules):
        compared = _EXPRESSION.search(body)
        if compared is None:
            continue
        waits = _FOR.search(body)
        seconds = int(waits[1]) * _SECONDS[waits[2]] * min(1.0, scale) if waits is not None else 0.0
        for_seconds = max(seconds, FOR_SECONDS_MIN) if waits is not None else 0.0
        alerts.append(Alert(name, compared[1], compared[2], float(compared[3]), for_seconds))
    return alerts


class AlertBook:
    """What becomes of some alerts, scrape after scrape.

    Args:
        alerts: that are looked at.

    Attributes:
        alerts: as given.
        over: those that were raised and are over.
    """

    def __init__(self, alerts: Iterable[Alert]) -> None:
        self.alerts = tuple(alerts)
        self.over: list[Raised] = []
        self._since: dict[tuple[Alert, Key], float] = {}
        self._raised: dict[tuple[Alert, Key], Raised] = {}

    @property
    def raised(self) -> list[Raised]:
        """All that were raised, those that are not over too, in the order of their raising."""
        return sorted([*self.over, *self._raised.values()], key=lambda one: (one.begins, one.alert, one.labels))

    @property
    def firing(self) -> int:
        """How many are raised now."""
        return len(self._raised)

    def take(self, now: float, values: Mapping[Key, float]) -> None:
        """A scrape: a series that is not in it has ended."""
        holding = {
            (alert, key)
            for key, value in values.items()
            for alert in self.alerts
            if alert.metric == key[1] and alert.holds(value)
        }
        for one in [one for one in self._since if one not in holding]:
            del self._since[one]
            raised = self._raised.pop(one, None)
            if raised is not None:
                self.over.append(attrs.evolve(raised, ends=now))
        for one in sorted(holding, key=lambda one: (one[0].name, one[1])):
            alert, (target, _, labels) = one
            since = self._since.setdefault(one, now)
            if one not in self._raised and now - since >= alert.for_seconds:
                self._raised[one] = Raised(alert=alert.name, target=target, labels=labels, since=since, begins=now)

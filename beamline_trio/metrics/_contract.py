"""The contract of metrics, logs and events as Python reads it: `contract.toml`, which is shipped beside this module.

Must not import prometheus_client, and must not know who emits what it lists.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias

import attrs

MetricType: TypeAlias = Literal["gauge", "counter", "histogram"]
LogLevel: TypeAlias = Literal["info", "warning", "error"]


@attrs.frozen
class MetricContract:
    """One metric that the collector shows.

    Attributes:
        name: with the prefix `router_`, as /metrics shows it.
        type: what it is.
        exposed_as: its TYPE line; `untyped` where Prometheus' linter refuses the type under this name.
        labels: name -> values, in order; empty values are the program's own (clients, routes).
        meaning: its HELP line.
    """

    name: str
    type: MetricType
    exposed_as: str
    labels: dict[str, tuple[str, ...]]
    meaning: str


@attrs.frozen
class LogContract:
    """One kind of log record.

    Attributes:
        code: the record's `event`.
        level: its level, in lower case.
        fields: what it carries beside the code. A record may lack one that does not apply to it.
        stages: the packages of `beamline_trio` that log it.
        meaning: when it is logged.
    """

    code: str
    level: LogLevel
    fields: tuple[str, ...]
    stages: tuple[str, ...]
    meaning: str


@attrs.frozen
class EventContract:
    """One kind of record that `nc.events()` gives.

    Attributes:
        name: of its class, which `beamline_trio` exports.
        fields: its attributes, in order.
        stage: the package of `beamline_trio` that it lives in.
        meaning: when it comes.
    """

    name: str
    fields: tuple[str, ...]
    stage: str
    meaning: str


@cache
def load_contract() -> tuple[MetricContract, ...]:
    """The metrics, in the order in which /metrics shows them."""
    return tuple(_metric(table) for table in _tables()["metric"])


@cache
def load_log_contract() -> tuple[LogContract, ...]:
    """The log records, in the order of docs/logs.md."""
    return tuple(
        LogContract(table["code"], table["level"], tuple(table["fields"]), tuple(table["stages"]), table["meaning"])
        for table in _tables()["log"]
    )


@cache
def load_event_contract() -> tuple[EventContract, ...]:
    """The events, in the order of the union `Event`."""
    return tuple(
        EventContract(table["name"], tuple(table["fields"]), table["stage"], table["meaning"])
        for table in _tables()["event"]
    )


@cache
def _tables() -> dict[str, list[dict[str, Any]]]:
    text = resources.files(__name__.rpartition(".")[0]).joinpath("contract.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _metric(table: dict[str, Any]) -> MetricContract:
    return MetricContract(
        name=table["name"],
        type=table["type"],
        exposed_as=table.get("exposed_as", table["type"]),
        labels={label: tuple(values) for label, values in table["labels"].items()},
        meaning=table["meaning"],
    )

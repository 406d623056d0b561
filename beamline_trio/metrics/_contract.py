"""The metrics contract as Python reads it: `contract.toml`, which is shipped beside this module.

Must not import prometheus_client.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias

import attrs

MetricType: TypeAlias = Literal["gauge", "counter", "histogram"]


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


@cache
def load_contract() -> tuple[MetricContract, ...]:
    """The contract, in the order in which /metrics shows it."""
    text = resources.files(__name__.rpartition(".")[0]).joinpath("contract.toml").read_text(encoding="utf-8")
    return tuple(_metric(table) for table in tomllib.loads(text)["metric"])


def _metric(table: dict[str, Any]) -> MetricContract:
    return MetricContract(
        name=table["name"],
        type=table["type"],
        exposed_as=table.get("exposed_as", table["type"]),
        labels={label: tuple(values) for label, values in table["labels"].items()},
        meaning=table["meaning"],
    )

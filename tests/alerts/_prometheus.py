"""A real Prometheus: started with rules and targets, asked over its HTTP API, and gone with its block.

It scrapes and evaluates every second. Its data is gone with it: what an earlier run has left would be looked at too.

Must not know which rules or targets.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.parse
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from beamline_trio.server_process._ports import choose_port

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 10.0


def find_prometheus() -> str | None:
    """The executable; None where there is none."""
    return shutil.which("prometheus")


@attrs.frozen
class Alert:
    """An alert that is firing."""

    name: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def firing(self) -> list[Alert]:
        """The alerts that fire at this moment."""
        data = await self._get("/api/v1/alerts")
        return [
            Alert(alert["labels"]["alertname"], alert["labels"], alert["annotations"])
            for alert in data["alerts"]
            if alert["state"] == "firing"
        ]

    async def values(self, expression: str) -> list[float]:
        """The values of an expression now."""
        data = await self._get("/api/v1/query", query=expression)
        return [float(series["value"][1]) for series in data["result"]]

    async def range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of an expression over a time: labels as `metric`, and `values` of (Unix time, text)."""
        data = await self._get("/api/v1/query_range", query=expression, start=start, end=end, step=step)
        result: list[dict[str, Any]] = data["result"]
        return result

    async def _get(self, path: str, **arguments: object) -> dict[str, Any]:
        url = f"{self.url}{path}?{urllib.parse.urlencode(arguments)}"
        answer: dict[str, Any] = await trio.to_thread.run_sync(_read_json, url)
        data: dict[str, Any] = answer["data"]
        return data


def _read_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS) as answer:
        tree: dict[str, Any] = json.load(answer)
        return tree


@asynccontextmanager
async def open_prometheus(directory: Path, rules: str, targets: Mapping[str, list[str]]) -> AsyncGenerator[Prometheus]:
    """Run one; `targets` are the addresses of each job. Its log is `prometheus.log` in the directory."""
    (directory / "alerts.yml").write_text(rules, encoding="utf-8")
    jobs = [{"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in targets.items()]
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": jobs,
    }
    # JSON is YAML too.
    (directory / "prometheus.yml").write_text(json.dumps(configuration, indent=2), encoding="utf-8")
    port = choose_port("127.0.0.1")
    command = [
        str(find_prometheus()),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "prometheus.log").open("wb") as log, tempfile.TemporaryDirectory() as data:
        command.append(f"--storage.tsdb.path={data}")
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, command, stdout=log, stderr=log, check=False)
            await nursery.start(run)
            prometheus = Prometheus(f"http://127.0.0.1:{port}")
            with trio.fail_after(START_SECONDS):
                await _until_ready(prometheus)
            yield prometheus
            nursery.cancel_scope.cancel()


async def _until_ready(prometheus: Prometheus) -> None:
    while True:
        try:
            await prometheus.values("vector(1)")
        except OSError:
            await trio.sleep(0.2)
        else:
            return

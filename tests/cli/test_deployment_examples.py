"""The examples of a deployment name commands, options, variables and times that are real."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from beamline_trio.cli import _app
from beamline_trio.cli._exit_codes import USAGE_ERROR
from beamline_trio.cli._fault_plan import load_fault_plan
from beamline_trio.operation import ROUTER_PROFILE, load_options
from beamline_trio.operation.check import needs_of
from beamline_trio.operation.route_file import build_router, load_route_file

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "deployment"


class Unit(configparser.RawConfigParser):
    """A unit file: names keep their case, and one may stand several times."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def unit() -> dict[str, list[str]]:
    """The settings of the service, name -> values."""
    found: dict[str, list[str]] = {}
    for line in (EXAMPLES / "beamline-router.service").read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def command_of(verb: str) -> Any:
    app = typer.Typer()
    app.command("run")(_app._run)
    app.command("check")(_app._check)
    group: Any = typer.main.get_command(app)
    return group.commands[verb]


def parse(arguments: list[str]) -> dict[str, object]:
    """What a command would be called with; fails on an option that it has not."""
    command = command_of(arguments[0])
    return dict(command.make_context(arguments[0], list(arguments[1:])).params)


def test_the_unit_is_one() -> None:
    """It has the three sections, and every line is a setting or a comment."""
    parser = Unit(strict=False)
    parser.read(EXAMPLES / "beamline-router.service")
    assert parser.sections() == ["Unit", "Service", "Install"]


@pytest.mark.parametrize("setting", ["ExecStartPre", "ExecStart"])
def test_the_unit_starts_what_there_is(setting: str) -> None:
    """Its command lines are taken by the commands, and use the file beside it."""
    (line,) = unit()[setting]
    program, *arguments = shlex.split(line)
    assert program.endswith("/bin/beamline")
    given = parse(arguments)
    assert given["target"] == "/etc/beamline/router.toml"
    if setting == "ExecStart":
        assert (given["metrics_port"], given["metrics_host"]) == (9001, "127.0.0.1")


def test_the_unit_lets_a_drain_end() -> None:
    """Systemd kills later than the drain may last, and does not restart what its own configuration has ended."""
    settings = unit()
    grace = load_route_file(EXAMPLES / "router.toml").grace_seconds
    assert grace is not None
    assert float(settings["TimeoutStopSec"][0]) > ROUTER_PROFILE.drain_deadline_seconds > grace
    assert settings["RestartPreventExitStatus"] == [str(USAGE_ERROR)]
    assert settings["KillSignal"] == ["SIGTERM"]


def test_the_variables_are_options() -> None:
    """Those of the unit, also the ones in comments, and of the container."""
    text = (EXAMPLES / "beamline-router.service").read_text() + (EXAMPLES / "Containerfile").read_text()
    variables = dict(re.findall(r"(?:Environment=|ENV )(\w+)=(\S+)", text))
    assert set(variables) == {"NATS_URL", "NATS_CREDS"}
    configuration = load_options(environment={"NATS_URL": variables["NATS_URL"]})
    assert configuration.servers_given
    assert load_options(environment={"NATS_CREDS": variables["NATS_CREDS"]}).client.creds is not None


def test_the_container_runs_what_there_is() -> None:
    """Its command is taken, it serves on the port it exposes, and its extras are the package's."""
    text = (EXAMPLES / "Containerfile").read_text()
    arguments = json.loads(re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)[-1])
    assert json.loads(re.findall(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)[0]) == ["beamline"]
    given = parse(arguments)
    assert f"EXPOSE {given['metrics_port']}\n" in text
    assert f":{given['metrics_port']}/healthz" in text
    assert given["metrics_host"] == "0.0.0.0"
    (extras,) = re.findall(r"beamline-trio\[([\w,]+)\]", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    for copied, _ in re.findall(r"^COPY (\S+) (\S+)$", text, re.MULTILINE):
        assert (EXAMPLES / copied).is_file()


def test_the_files_can_be_used() -> None:
    """The routes make a router, and the plan of faults can be injected."""
    router, handlers = build_router(load_route_file(EXAMPLES / "router.toml"))
    assert list(router.routes) == list(handlers) == ["billing", "echo"]
    assert [need.stored_subjects for need in needs_of(router)] == [("dlq.orders",), ()]
    plan = load_fault_plan(EXAMPLES / "faults.toml", accepted=True)
    assert plan is not None
    assert len(plan.faults) == 2

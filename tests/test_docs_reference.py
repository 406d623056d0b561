"""The reference pages list what the code has: options, errors, metrics, events, log codes; and nothing else."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import attrs
import pytest

import beamline_trio
from beamline_trio import Client, ClientOptions, OptionsError, Outcome, Secret, State, Subscription
from beamline_trio.jetstream import Consumer, JetStream, JetStreamMessage
from beamline_trio.metrics import load_contract, load_event_contract, load_log_contract
from beamline_trio.operation import CLIENT_PROFILE, ROUTER_PROFILE
from beamline_trio.operation._keys import KEYS
from tests._documents import DOCS, PAGES, names_in, rows, text_of

PUBLIC_PACKAGES = (
    "beamline_trio",
    "beamline_trio.jetstream",
    "beamline_trio.kv",
    "beamline_trio.operation",
    "beamline_trio.operation.check",
    "beamline_trio.operation.dead_letters",
    "beamline_trio.operation.route_file",
    "beamline_trio.router",
    "beamline_trio.server_process",
    "beamline_trio.service",
)


# ------------------------------------------------------------------------------------------------------ options

OPTION_COLUMNS = ("option", "value", "`open_client`", "`beamline run`", "other keys", "meaning")


def meanings() -> dict[str, str]:
    """Option -> its line in the docstring of ClientOptions."""
    section = inspect.cleandoc(ClientOptions.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def bound_of(option: str) -> str:
    """What the option itself says it must be."""
    nothing_it_takes: Any = object()
    with pytest.raises(OptionsError) as caught:
        ClientOptions(**{option: nothing_it_takes})
    text = str(caught.value).partition(" must be ")[2]
    return re.sub(r", not \w+$", "", text)


def shown(value: Any) -> str:
    """A default as the table shows it."""
    if isinstance(value, tuple):
        return ", ".join(f"`{one.reveal() if isinstance(one, Secret) else one}`" for one in value)
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def option_rows() -> list[tuple[str, ...]]:
    """The table of options that the code implies."""
    keys = {key.option: [name for name in key.file_names if name != key.option] for key in KEYS}
    return [
        (
            f"`{field.name}`",
            bound_of(field.name),
            shown(getattr(CLIENT_PROFILE, field.name)),
            shown(getattr(ROUTER_PROFILE, field.name)),
            ", ".join(f"`{name}`" for name in keys[field.name]),
            meanings()[field.name],
        )
        for field in attrs.fields(ClientOptions)
    ]


def test_the_options_page_has_every_option() -> None:
    """One row per option, in order: its bound, both profiles' defaults, its other keys, its line in the docstring."""
    assert rows(DOCS / "options.md", *OPTION_COLUMNS) == option_rows()


def test_the_options_page_has_the_keys_that_are_no_clients() -> None:
    """The keys that only files and the environment have are listed too."""
    listed = rows(DOCS / "options.md", "key", "other key", "meaning")
    own = [key for key in KEYS if key.option not in {field.name for field in attrs.fields(ClientOptions)}]
    assert [(names_in(key), names_in(other)) for key, other, _ in listed] == [
        ([key.option], [name for name in key.file_names if name != key.option]) for key in own
    ]


def test_the_quick_reference_has_the_same_defaults() -> None:
    """The options that are most often set have both profiles' defaults there too."""
    full = {row[0]: row[2:4] for row in option_rows()}
    short = rows(DOCS / "quick-reference.md", "option", "`open_client`", "`beamline run`", "for")
    assert len(short) >= 10
    assert {row[0]: row[1:3] for row in short} == {row[0]: full[row[0]] for row in short}


# --------------------------------------------------------------------------------------------- states and outcomes


def test_the_pages_have_every_state_and_outcome() -> None:
    """Each state and outcome has its row in the quick reference and on the page of the connection."""
    states = [f"`{state}`" for state in State]
    short = rows(DOCS / "quick-reference.md", "state", "gauge", "a publish", "a request")
    long = rows(DOCS / "connection.md", "`nc.state`", "when", "gauge")
    assert [row[0] for row in short] == [row[0] for row in long] == states
    assert [row[1] for row in short[2:]] == [row[2].replace("0 while it waits, ", "0, ") for row in long[2:]]
    outcomes = [f"`{outcome.name}`" for outcome in Outcome]
    assert [row[0] for row in rows(DOCS / "quick-reference.md", "outcome of `publish`", "it means")] == outcomes
    assert [
        row[0] for row in rows(DOCS / "connection.md", "outcome", "without `confirm`", "with `confirm=True`")
    ] == outcomes


# -------------------------------------------------------------------------------------------------------- methods

# What these classes have for the other stages of the library, which no program calls.
FOR_OTHER_STAGES: dict[type, set[str]] = {
    Client: {"respond_to", "pending_bounds", "register", "unregister"},
    Subscription: {
        "failure",
        "exhausted",
        "consumer",
        "end",
        "deliver",
        "deliver_run",
        "skipped",
        "refused",
        "closed",
    },
}


def documented_members(name: str) -> set[str] | None:
    """The members that the API page names for a class; None = all of them, by `:members:` alone."""
    (entry,) = re.findall(rf"^\.\. autoclass:: {name}(?:\(\))?$((?:\n   .*)*)", text_of(DOCS / "api.md"), re.MULTILINE)
    (members,) = re.findall(r":members:(.*)", entry)
    return {member.strip() for member in members.split(",")} if members.strip() else None


def methods_of(kind: type) -> set[str]:
    """The public methods and properties of a class, those that it inherits from the library among them."""
    return {
        name
        for name, value in inspect.getmembers(kind)
        if not name.startswith("_") and (callable(value) or isinstance(value, property))
    }


@pytest.mark.parametrize(
    "kind", [Client, JetStream, Consumer, Subscription, JetStreamMessage], ids=lambda kind: kind.__name__
)
def test_the_api_page_has_every_method(kind: type) -> None:
    """What a program can call on a client, and on what a client gives, is on the API page, with its own docstring."""
    methods = methods_of(kind) - FOR_OTHER_STAGES.get(kind, set())
    for method in methods:
        assert inspect.getdoc(getattr(kind, method)), method
    members = documented_members(kind.__name__)
    if members is not None:
        assert members == methods
    assert FOR_OTHER_STAGES.get(kind, set()) <= methods_of(kind)


# ------------------------------------------------------------------------------------------------------- errors


def errors_of(package: str) -> dict[str, type[Exception]]:
    """The errors that a package exports."""
    module = importlib.import_module(package)
    offered = {name: getattr(module, name) for name in dir(module)}
    return {name: value for name, value in offered.items() if isinstance(value, type) and issubclass(value, Exception)}


def base_names(error: type[Exception]) -> list[str]:
    """An error's direct bases, trio's with their package."""
    return [f"trio.{base.__name__}" if base.__module__ == "trio" else base.__name__ for base in error.__bases__]


def test_the_errors_page_has_every_error() -> None:
    """Each public error has exactly one row, with its bases and when it is raised; no row is about anything else."""
    errors: dict[str, type[Exception]] = {}
    for package in PUBLIC_PACKAGES:
        errors |= errors_of(package)
    listed = rows(DOCS / "errors.md", "error", "is also", "raised when", "what to do")
    assert {names_in(error)[0]: names_in(bases) for error, bases, _, _ in listed} == {
        name: base_names(error) for name, error in errors.items()
    }
    assert len(listed) == len(errors)
    assert all(when for _, _, when, _ in listed)


def test_no_stage_has_an_error_of_its_own() -> None:
    """What the stages raise is exported where users look for it, and so is on the errors page."""
    public = {error for package in PUBLIC_PACKAGES for error in errors_of(package).values()}
    for stage in ("protocol", "transport", "connection", "client", "jetstream", "kv", "router", "metrics"):
        assert set(errors_of(f"beamline_trio.{stage}").values()) <= public, stage


# ---------------------------------------------------------------------------------------------- events, logs, metrics


def test_the_events_page_has_the_contract() -> None:
    """One row per event with its fields and when it comes, in the contract's order."""
    assert rows(DOCS / "events.md", "event", "fields", "when") == [
        (f"`{event.name}`", in_code_font(event.fields), event.meaning) for event in load_event_contract()
    ]


def test_the_logs_page_has_the_contract() -> None:
    """One row per code with its level, its fields and when it is logged, in the contract's order."""
    assert rows(DOCS / "logs.md", "code", "level", "fields", "when") == [
        (f"`{log.code}`", log.level, in_code_font(log.fields), log.meaning) for log in load_log_contract()
    ]


def in_code_font(names: tuple[str, ...]) -> str:
    """Names as a cell has them."""
    return ", ".join(f"`{name}`" for name in names)


def test_codes_and_metrics_named_on_any_page_exist() -> None:
    """Whatever looks like a log code, a metric or a field of the ledger on a page is one."""
    codes = {log.code for log in load_log_contract()}
    metrics = {metric.name for metric in load_contract()}
    ledger = {field.name for field in attrs.fields(beamline_trio.Ledger)} | {"balanced"}
    statistics = {field.name for field in attrs.fields(beamline_trio.Statistics)}
    environment = {name for key in KEYS for name in key.environment_names} | {"NATS_SERVER"}
    for page in PAGES:
        for text in names_in(text_of(page)):
            for code in re.findall(r"\b(?:NATS|ROUTER|HTTP|CLUSTER|REGION)_[A-Z_]+\b", text):
                assert code in codes | environment, f"{page.name}: {code}"
            for metric in re.findall(r"\brouter_[a-z_]+\b(?!\.py)", text):  # a grep has the beginning of some
                assert any(name.startswith(metric) for name in metrics), f"{page.name}: {metric}"
            for entry in re.findall(r"\bledger\.(\w+)", text):
                assert entry in ledger, f"{page.name}: ledger.{entry}"
            for number in re.findall(r"stats\(\)\.(\w+)", text):
                assert number in statistics, f"{page.name}: {number}"


# --------------------------------------------------------------------------------------------------------- laws


def test_the_simulation_page_has_every_law() -> None:
    """Each law that can be asked for has its place in the table, and the table names nothing else."""
    table = text_of(DOCS / "simulation.md").split("| law | what must hold |", 1)[1].split("\n\n", 1)[0]
    listed = set(re.findall(r"`(\w+)", " ".join(line.split("|")[1] for line in table.splitlines()[2:])))
    laws = importlib.import_module("beamline_trio.simulation._laws")
    offered = {name for name in vars(laws) if name[0].islower() and callable(getattr(laws, name))}
    offered -= {"judge", "account"}  # no laws
    assert listed == offered

"""The contract of log records and events against the source: nothing unknown, nothing listed that is never emitted."""

from __future__ import annotations

import typing

import attrs
import pytest

import beamline_trio
from beamline_trio.connection import StageEvent
from beamline_trio.metrics import EventContract, load_event_contract, load_log_contract
from tests.metrics._source import LoggedCode, calls_without_a_code, logged_codes, logging_stages, names_called


def of_other_stages() -> list[type[StageEvent]]:
    """The kinds of `StageEvent`, in the order of the contract."""
    listed = [event.name for event in load_event_contract()]
    return sorted(StageEvent.__subclasses__(), key=lambda kind: listed.index(kind.__name__))


def test_the_source_logs_the_codes_of_the_contract_and_no_other() -> None:
    """A code that is not listed fails, and so do a listed one that nothing logs, a level, a field and a stage."""
    listed = {log.code: LoggedCode({log.level}, set(log.fields), set(log.stages)) for log in load_log_contract()}
    assert logged_codes() == listed


def test_no_code_is_listed_twice() -> None:
    """Neither is a field of one."""
    codes = [log.code for log in load_log_contract()]
    assert len(set(codes)) == len(codes)
    for log in load_log_contract():
        assert len(set(log.fields)) == len(log.fields), log.code


def test_whatever_is_about_a_client_names_it() -> None:
    """Who runs several clients can tell whose record it is."""
    assert [
        log.code for log in load_log_contract() if log.code.startswith("NATS_") and "client" not in log.fields
    ] == []


def test_the_client_writes_its_records_in_one_place() -> None:
    """So that code and client begin the message of each: no other place of the path calls a logger."""
    assert [stage for stage in logging_stages() if stage != "operation"] == []


def test_whatever_is_logged_has_a_code() -> None:
    """Nobody has to read a message to know what happened."""
    assert calls_without_a_code() == []


def test_the_events_of_the_contract_are_those_of_the_union() -> None:
    """Names, fields and stages, in the order of `Event`, and then the kinds of `StageEvent` that other stages have.

    Each can be imported from the package itself.
    """
    kinds = [kind for kind in typing.get_args(beamline_trio.Event) if kind is not StageEvent]
    assert [(event.name, event.fields, event.stage) for event in load_event_contract()] == [
        (kind.__name__, tuple(field.name for field in attrs.fields(kind)), kind.__module__.split(".")[1])
        for kind in (*kinds, *of_other_stages())
    ]
    for event in load_event_contract():
        assert hasattr(beamline_trio, event.name)


@pytest.mark.parametrize("event", load_event_contract(), ids=lambda event: event.name)
def test_every_event_is_made_somewhere(event: EventContract) -> None:
    """An event that nothing emits is no promise."""
    assert event.name in names_called()

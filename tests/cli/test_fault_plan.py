"""Plans of faults for `beamline run --faults`: refused unless accepted, read strictly, in force for their time only."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from beamline_trio import ClientOptions, WebSocketDialer, open_client
from beamline_trio.cli._failures import CommandError
from beamline_trio.cli._fault_plan import load_fault_plan, wrapped
from beamline_trio.client import dialer_of
from beamline_trio.faults import FaultDialer

PLAN = """
[[faults]]
operation = "publish_with_ack"
fault = "error"
reason = "no responders"
at_seconds = 10
for_seconds = 20
subjects = ["orders.>"]
probability = 0.5
seed = 7

[[faults]]
operation = "connect"
fault = "delay"
seconds = 2
for_seconds = 5
"""


def fault(*lines: str) -> str:
    return "\n".join(["[[faults]]", 'operation = "publish"', 'fault = "error"', "for_seconds = 1", *lines])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def test_it_has_to_be_accepted(file: Path) -> None:
    """A plan without the word is refused before anything runs; the word without a plan is a mistake too."""
    with pytest.raises(CommandError, match="add --accept-faults if this is a staging system"):
        load_fault_plan(file, accepted=False)
    with pytest.raises(CommandError, match="give --faults FILE too"):
        load_fault_plan(None, accepted=True)
    assert load_fault_plan(None, accepted=False) is None


async def test_each_fault_is_in_force_for_its_time(file: Path, autojump_clock: MockClock) -> None:
    """It is said when one begins and when it is over; cancelled, nothing is in force any more."""
    plan = load_fault_plan(file, accepted=True)
    assert plan is not None
    said: list[tuple[float, str]] = []
    began = trio.current_time()

    def say(line: str) -> None:
        said.append((round(trio.current_time() - began), line.split(":", maxsplit=1)[0]))

    async with trio.open_nursery() as nursery:
        dialer = await nursery.start(plan.run, ClientOptions(), say)
        assert isinstance(dialer, FaultDialer)
        await trio.sleep(15)
        assert len(dialer._links.injections) == 1
        nursery.cancel_scope.cancel()
    assert not dialer._links.in_force
    assert said == [
        (0, "WARNING"),
        (0, "fault in force for 5 s"),
        (5, "fault over, 0 hits"),
        (10, "fault in force for 20 s"),
    ]


@pytest.mark.parametrize(
    "text, what",
    [
        ("", "must have [[faults]]"),
        ("faults = []", "must have [[faults]]"),
        ("faults = [1]", "faults[0] is 1; it must be a table"),
        ("x = ", "is no TOML"),
        (PLAN + "[more]\n", "and nothing else"),
        (fault("color = 1"), "has no key 'color'"),
        (fault().replace("publish", "fly"), "operation is 'fly'"),
        (fault().replace('"error"', '"fire"'), "fault is 'fire'"),
        (fault().replace("for_seconds = 1", ""), "for_seconds is None"),
        (fault().replace("for_seconds = 1", "for_seconds = inf"), "for_seconds is inf"),
        (fault("at_seconds = -1"), "at_seconds is -1"),
        (fault('reason = "it\'s"'), "reason is"),
        (fault("reason = 'refused'"), "is for a connect"),
        (fault("probability = 2"), "probability is 2"),
        (fault("probability = 0.5\nseed = 'x'"), "seed is 'x'"),
        (fault().replace('"error"', '"delay"'), "seconds is 0"),
        (fault().replace('"error"', '"timeout"') + "\nseconds = -1", "seconds is -1"),
        (fault("subjects = 'a..b'"), "a..b"),
        (fault("subjects = 1"), "faults[0]"),
    ],
)
def test_what_is_refused(text: str, what: str, file: Path) -> None:
    """With the file, the place in it and what may stand there."""
    file.write_text(text)
    with pytest.raises(CommandError) as caught:
        load_fault_plan(file, accepted=True)
    assert what in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Its name and the reason are told."""
    with pytest.raises(CommandError, match=r"cannot read the plan .*none\.toml: No such file"):
        load_fault_plan(tmp_path / "none.toml", accepted=True)
    (tmp_path / "b.toml").write_bytes(b"\xff")
    with pytest.raises(CommandError, match="is no TOML"):
        load_fault_plan(tmp_path / "b.toml", accepted=True)


def test_every_kind_of_fault(file: Path) -> None:
    """Each is read, with one subject or several."""
    kinds = ["error", "timeout", "close_connection"]
    file.write_text("\n".join(fault("subjects = 'a.>'").replace('"error"', f'"{kind}"') for kind in kinds))
    plan = load_fault_plan(file, accepted=True)
    assert plan is not None
    assert [str(one).split("(")[0] for one in plan.faults] == [
        "publish on a.>: Error",
        "publish on a.>: Timeout",
        "publish on a.>: CloseConnection",
    ]


def test_certificates_and_headers_are_the_dialers() -> None:
    """What `open_client` refuses beside a dialer is left out for it, and TLS is still insisted on."""
    context = ssl.create_default_context()
    options = wrapped(ClientOptions(tls=context, websocket_headers={"A": "b"}))
    assert (options.tls, options.websocket_headers) == (True, None)
    open_client(options=options, dialer=dialer_of(ClientOptions(tls=context)))
    for flag in (None, True, False):
        assert wrapped(ClientOptions(tls=flag)).tls is flag
    assert isinstance(dialer_of(ClientOptions(servers=("ws://localhost",))), WebSocketDialer)

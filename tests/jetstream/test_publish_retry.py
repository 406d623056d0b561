"""Retried publishes: how often, when, under which id, and when it must stop."""

from __future__ import annotations

import random
import re
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio import (
    APIError,
    JetStream,
    NoStreamResponseError,
    OperationTimeoutError,
    OptionsError,
    PendingTimeoutError,
    PublishRetry,
    PublishUnknownError,
    Reconnected,
    WrongLastSequenceError,
)
from beamline_trio.faults._operations import covers
from beamline_trio.jetstream import statistics_of
from beamline_trio.jetstream._api import API
from beamline_trio.jetstream._attachment import attachment_of
from beamline_trio.jetstream._windows import (
    STREAMS_CACHED_MAX,
    SUBJECTS_CACHED_MAX,
    DuplicateWindows,
    Window,
    pattern_of,
)
from tests._memory import ToyServer, lose_link, opened
from tests.jetstream._script import answer, asked, error, headers_to, stored

STEADY = PublishRetry(jitter=0.0)


def ids(server: ToyServer) -> set[str]:
    """The message ids that were published to `a`."""
    headers = [header or b"" for header in headers_to(server, "a")]
    return {found.decode() for header in headers for found in re.findall(rb"Nats-Msg-Id: (\S+)", header)}


def with_window(server: ToyServer, seconds: float) -> None:
    """The stream of `a` remembers ids for so long."""
    answer(server, "$JS.API.STREAM.NAMES", {"total": 1, "streams": ["S"]})
    answer(server, "$JS.API.STREAM.INFO.S", {"config": {"name": "S", "duplicate_window": int(seconds * 1e9)}})


def codes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log codes of retries, in order."""
    found = [str(vars(record).get("event", "")) for record in caplog.records]
    return [code for code in found if code.startswith("NATS_PUBLISH_") and "_WITH_ACK_" not in code]


@given(
    st.integers(1, 200),
    st.sampled_from(["exponential", "linear"]),
    st.floats(0.001, 1),
    st.floats(0.001, 10),
    st.floats(0, 0.9),
    st.integers(),
)
def test_delays(failed: int, backoff: Any, base: float, most: float, jitter: float, seed: int) -> None:
    """Base times two to the power, or times the number; capped; and each within its jitter."""
    retry = PublishRetry(backoff=backoff, base_seconds=base, delay_max_seconds=most, jitter=jitter)
    plain = min(base * (2.0 ** (failed - 1) if backoff == "exponential" else failed), most)
    assert plain * (1 - jitter) * 0.999 <= retry.delay(failed, random.Random(seed)) <= plain * (1 + jitter) * 1.001


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"backoff": "square"},
        {"base_seconds": 0},
        {"jitter": 1},
        {"jitter": "much"},
        {"deadline_seconds": -1},
        {"duplicate_window_seconds": 0},
    ],
)
def test_a_policy_that_cannot_work(wrong: dict[str, Any]) -> None:
    """It is refused with the name of the field."""
    with pytest.raises(OptionsError, match=next(iter(wrong))):
        PublishRetry(**wrong)


async def test_one_id_for_its_whole_life(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Timeout, lost link, error like 5xx: each attempt carries the id of the first, and the last one's ack counts."""
    caplog.set_level("INFO")
    server = ToyServer()
    with_window(server, 120)
    answer(server, "a", None, error(503, 10008), stored(9))
    async with opened(server) as nc:
        began = trio.current_time()
        ack = await JetStream(nc, publish_retry=STEADY).publish("a", b"x")
        assert ack.sequence == 9
        assert trio.current_time() - began == pytest.approx(2 + 0.1 + 0.2)
        assert len(ids(server)) == 1
        assert server.payloads[2:] == [b"x", b"x", b"x"]
        statistics = statistics_of(nc)
        assert (statistics.publishes, statistics.publish_acks, statistics.publish_retries) == (1, 1, 2)
        assert (statistics.publish_retry_successes, statistics.publish_retry_failures) == (1, 0)
        assert not any(statistics.publish_failures.values())
    assert codes(caplog) == ["NATS_PUBLISH_RETRY_ATTEMPT", "NATS_PUBLISH_RETRY_ATTEMPT", "NATS_PUBLISH_RETRY_SUCCESS"]


async def test_an_earlier_attempt_that_is_being_stored(autojump_clock: MockClock) -> None:
    """A cluster says 10158 to a retry while the first attempt has no majority yet: that is no refusal, and the retry
    after it is told that it is a duplicate. Where that was the last attempt, the fate is unknown, and said to be.
    """
    for replies in ((None, error(409, 10158), stored(9, duplicate=True)), (error(409, 10158), stored(9))):
        server = ToyServer()
        with_window(server, 120)
        answer(server, "a", *replies)
        async with opened(server) as nc:
            assert (await JetStream(nc, publish_retry=STEADY).publish("a", b"x")).sequence == 9
        assert len(headers_to(server, "a")) == len(replies)
        assert len(ids(server)) == 1
    server = ToyServer()
    with_window(server, 120)
    answer(server, "a", error(409, 10158), error(503, 10008))
    async with opened(server) as nc:
        with pytest.raises(PublishUnknownError):
            await JetStream(nc, publish_retry=STEADY).publish("a", b"x")


async def test_the_users_id_is_kept(autojump_clock: MockClock) -> None:
    """An id that is given is the id of all attempts."""
    server = ToyServer()
    with_window(server, 120)
    answer(server, "a", None, stored())
    async with opened(server) as nc:
        await JetStream(nc).publish("a", b"x", message_id="mine", retry=STEADY)
    assert ids(server) == {"mine"}
    assert len(headers_to(server, "a")) == 2


async def test_over_a_reconnect(autojump_clock: MockClock) -> None:
    """A link that is lost under an attempt: the next attempt goes by the next link, with the same id."""
    server = ToyServer()
    with_window(server, 120)
    answer(server, "a", None, stored(3))
    async with opened(server) as nc, trio.open_nursery() as nursery:

        async def outage() -> None:
            await trio.sleep(1)
            server.go_down()
            await trio.sleep(4)
            server.come_up()

        nursery.start_soon(outage)
        assert (await JetStream(nc, publish_retry=STEADY).publish("a", b"x")).sequence == 3
    assert len(ids(server)) == 1


async def test_an_attempt_that_was_never_written_is_not_unknown(autojump_clock: MockClock) -> None:
    """Its time was over while older publishes were sent: it is withdrawn, and its error says that nothing was sent."""
    server = ToyServer()
    with_window(server, 120)
    answer(server, "a", stored())
    async with opened(server, reconnect_delay_seconds=0.5) as nc:
        js = JetStream(nc, publish_retry=attrs.evolve(STEADY, attempts=1, attempt_timeout_seconds=0.01))
        await js.publish("a", b"x")
        await lose_link(server)
        for _ in range(100):
            await nc.publish("b", b"queued")
        async with nc.events() as events:
            server.come_up()
            while not isinstance(await events.receive(), Reconnected):
                pass
        with pytest.raises(PendingTimeoutError, match="nothing was sent"):
            await js.publish("a", b"y")
        await nc.flush()
    assert len(headers_to(server, "a")) == 1


async def test_what_is_not_retried(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """The stream says no for a reason that stays: one attempt."""
    server = ToyServer()
    with_window(server, 120)
    answer(server, "a", error(400, 10071))
    async with opened(server) as nc:
        with pytest.raises(WrongLastSequenceError):
            await JetStream(nc, publish_retry=STEADY).publish("a", b"x", expected_last_sequence=4)
        assert len(headers_to(server, "a")) == 1
        assert statistics_of(nc).publish_failures["api_error"] == 1
    assert codes(caplog) == ["NATS_PUBLISH_NON_RETRYABLE_ERROR"]


@pytest.mark.parametrize(
    "reply, kind",
    [(None, OperationTimeoutError), (error(503, 10008), APIError), ("503", NoStreamResponseError)],
)
async def test_the_attempts_are_spent(
    reply: Any, kind: type[Exception], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After so many attempts the last error is raised; a policy replaces the two quick repeats of a 503."""
    server = ToyServer()
    with_window(server, 120)
    if reply != "503":
        answer(server, "a", reply)
    async with opened(server) as nc:
        with pytest.raises(kind):
            await JetStream(nc, publish_retry=STEADY).publish("a", b"x")
        assert len(headers_to(server, "a")) == 3
        statistics = statistics_of(nc)
        assert (statistics.publish_retry_failures, sum(statistics.publish_failures.values())) == (1, 1)
    assert codes(caplog) == ["NATS_PUBLISH_MAX_ATTEMPTS_EXCEEDED"]


async def test_the_deadline(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """All attempts and delays together take no longer than the deadline."""
    server = ToyServer()
    with_window(server, 120)
    answer(server, "a", None)
    async with opened(server) as nc:
        began = trio.current_time()
        retry = PublishRetry(attempts=100, jitter=0.0, deadline_seconds=5)
        with pytest.raises(OperationTimeoutError):
            await JetStream(nc).publish("a", b"x", retry=retry)
        assert trio.current_time() - began <= 5
    assert codes(caplog)[-1] == "NATS_PUBLISH_DEADLINE_EXCEEDED"


async def test_never_beyond_the_duplicate_window(autojump_clock: MockClock) -> None:
    """No attempt is written later than the window less the margin, counted from the first that may have arrived."""
    server = ToyServer()
    with_window(server, 6)
    answer(server, "a", None)
    async with opened(server) as nc:
        retry = PublishRetry(attempts=100, jitter=0.0, deadline_seconds=60, duplicate_margin_seconds=1)
        with pytest.raises(OperationTimeoutError):
            await JetStream(nc).publish("a", b"x", retry=retry)
    at = [one.at for one in server.record if one.args and one.args[0] == b"a"]
    assert len(at) == 3
    assert max(at) - min(at) < 6 - 1


async def test_the_window_also_bounds_what_waits_for_a_connection(autojump_clock: MockClock) -> None:
    """An attempt that waits in the queue when the window ends is withdrawn: the next link must not store it twice."""
    server = ToyServer()
    with_window(server, 6)
    answer(server, "a", None)
    async with opened(server) as nc, trio.open_nursery() as nursery:

        async def outage() -> None:
            await trio.sleep(1)
            server.go_down()
            await trio.sleep(30)
            server.come_up()

        nursery.start_soon(outage)
        with pytest.raises(PublishUnknownError):  # the first attempt was written
            await JetStream(nc).publish("a", b"x", retry=PublishRetry(attempts=9, deadline_seconds=60))
        await trio.sleep(60)
        assert len(headers_to(server, "a")) == 1


async def test_unknown_stays_unknown(autojump_clock: MockClock) -> None:
    """An attempt without an answer, then a refusal: the message may be stored, and the error says so with the id."""
    server = ToyServer()
    with_window(server, 120)
    answer(server, "a", None, error(400, 10071))
    async with opened(server) as nc:
        with pytest.raises(PublishUnknownError) as caught:
            await JetStream(nc).publish("a", b"x", retry=STEADY)
        assert {caught.value.message_id} == ids(server)
        assert isinstance(caught.value.__cause__, WrongLastSequenceError)
        assert statistics_of(nc).publish_failures["timeout"] == 1


async def test_the_window_is_looked_up_once(autojump_clock: MockClock) -> None:
    """For each stream, by whatever it is known; where the server does not tell, the policy's own is assumed."""
    server = ToyServer()
    with_window(server, 120)
    answer(server, "a", stored())
    async with opened(server) as nc:
        js = JetStream(nc, publish_retry=STEADY)
        for _ in range(3):
            await js.publish("a", b"x")
        assert len(server.operations("PUB")) == 2
        await js.publish("a", b"x", expected_stream="S")
        assert len(server.operations("PUB")) == 2
    mute = ToyServer()
    answer(mute, "a", None)
    async with opened(mute) as nc:
        retry = PublishRetry(
            attempts=100, jitter=0.0, deadline_seconds=60, duplicate_window_seconds=5, duplicate_margin_seconds=1
        )
        with pytest.raises(OperationTimeoutError):
            await JetStream(nc).publish("a", b"x", retry=retry)
    assert len(headers_to(mute, "a")) == 2


async def test_it_begins_while_down(autojump_clock: MockClock) -> None:
    """Without a connection an attempt waits for the next link, within the deadline."""
    server = ToyServer()
    answer(server, "a", stored())
    async with opened(server, reconnect_delay_max_seconds=1.0) as nc, trio.open_nursery() as nursery:
        await lose_link(server)

        async def come_up() -> None:
            await trio.sleep(3)
            server.come_up()

        nursery.start_soon(come_up)
        await JetStream(nc, publish_retry=STEADY).publish("a", b"x")
        assert len(ids(server)) == 1


@pytest.mark.parametrize("reply", [b"nonsense", b'{"streams":5}', None])
async def test_a_window_that_cannot_be_looked_up(reply: bytes | None, autojump_clock: MockClock) -> None:
    """No permission to ask, or no sense in the answer: the policy's window counts, and the publish is made."""
    server = ToyServer()
    answer(server, "a", stored())
    if reply is None:
        server.denied_publish.add(b"$JS.API.STREAM.NAMES")
    else:
        server.services[b"$JS.API.STREAM.NAMES"] = lambda _payload: reply
    async with opened(server) as nc:
        assert (await JetStream(nc, publish_retry=PublishRetry()).publish("a", b"x")).sequence == 1


async def test_windows_of_streams_and_subjects_are_apart(autojump_clock: MockClock) -> None:
    """A subject of the name of a stream that is another's has that other's window."""
    server = ToyServer()
    answer(server, "a", stored())
    answer(server, "b", stored())
    answer(server, "$JS.API.STREAM.NAMES", {"streams": ["b"], "total": 1})
    for name, seconds in (("a", 60), ("b", 5)):
        config = {"name": name, "duplicate_window": seconds * 1_000_000_000}
        answer(server, f"$JS.API.STREAM.INFO.{name}", {"config": config})
    async with opened(server) as nc:
        js = JetStream(nc, publish_retry=PublishRetry())
        await js.publish("b", b"x", expected_stream="a")
        await js.publish("a", b"x")
        assert len(asked(server, "$JS.API.STREAM.INFO.a")) == len(asked(server, "$JS.API.STREAM.INFO.b")) == 1


# The duplicate windows


def with_stream(server: ToyServer, name: str, *subjects: str, seconds: int = 120) -> None:
    """The stream that takes whatever is asked for, from now on."""
    answer(server, "$JS.API.STREAM.NAMES", {"total": 1, "streams": [name]})
    config = {"name": name, "subjects": subjects, "duplicate_window": seconds * 1_000_000_000}
    answer(server, f"$JS.API.STREAM.INFO.{name}", {"config": config})


async def test_a_stream_is_asked_for_once_for_all_its_subjects(autojump_clock: MockClock) -> None:
    """A hundred publishes with ids in their subjects cost two requests more; another stream's subject two again."""
    server = ToyServer()
    with_stream(server, "S", "orders.>", "users.*.name")
    async with opened(server) as nc:
        js = JetStream(nc, publish_retry=STEADY)
        for number in range(100):
            subject = f"orders.{number}.new" if number % 2 else f"users.{number}.name"
            answer(server, subject, stored())
            await js.publish(subject, b"x")
        assert [one[1] for one in server.operations("PUB")] == ["$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.S"]
        with_stream(server, "T", "users.*.mail")
        answer(server, "users.1.mail", stored(stream="T"))
        for _ in range(2):
            await js.publish("users.1.mail", b"x")
        assert [one[1] for one in server.operations("PUB")][2:] == ["$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.T"]


async def test_a_subject_that_has_moved(autojump_clock: MockClock) -> None:
    """The PubAck of another stream: its window is asked for by the next publish, and counts."""
    server = ToyServer()
    with_stream(server, "S", "a")
    answer(server, "a", stored(), stored(stream="T"), None)
    async with opened(server) as nc:
        js = JetStream(nc, publish_retry=attrs.evolve(STEADY, attempts=100, deadline_seconds=60.0))
        for _ in range(2):
            await js.publish("a", b"x")
        with_stream(server, "T", "a", seconds=6)
        with pytest.raises(OperationTimeoutError):
            await js.publish("a", b"x")
    at = [one.at for one in server.record if one.args and one.args[0] == b"a"][2:]
    assert max(at) - min(at) < 6 - 1


async def test_what_is_known_of_streams_is_bounded(autojump_clock: MockClock) -> None:
    """Beyond the bounds all is forgotten and asked for again; the windows stay right."""
    server = ToyServer()
    async with opened(server) as nc:
        windows = DuplicateWindows(API(attachment_of(nc), b"$JS.API."))
        known: Window | None = None
        for number in range(STREAMS_CACHED_MAX + 1):
            with_stream(server, f"S{number}", f"s.{number}", seconds=number + 1)
            known = await windows.ask(f"s.{number}", None)
            assert known is not None
            assert known.seconds == number + 1
        assert windows.find("s.0", None) is None
        assert windows.find(f"s.{STREAMS_CACHED_MAX}", None) is known
        with_stream(server, "M", "elsewhere")
        for number in range(SUBJECTS_CACHED_MAX + 1):
            await windows.ask(f"mapped.{number}", None)
        assert windows.find("mapped.0", None) is None
        assert windows.find(f"mapped.{SUBJECTS_CACHED_MAX}", None) is not None


TOKEN = st.sampled_from(["a", "b", "a.b", "+", "$"])


@given(st.lists(st.sampled_from("ab*+"), min_size=1, max_size=4), st.booleans(), st.lists(TOKEN, min_size=1))
def test_which_subjects_a_stream_takes(pattern: list[str], rest: bool, tokens: list[str]) -> None:
    """A token for each, `*` any one of them, and `>` one or more at the end: as the server matches."""
    pattern = [*pattern, ">"] if rest else pattern
    tokens = ".".join(tokens).split(".")
    takes = pattern_of(["never.this", ".".join(pattern)])
    expected = covers([one.encode() for one in pattern], [one.encode() for one in tokens])
    assert bool(takes.fullmatch(".".join(tokens))) is expected

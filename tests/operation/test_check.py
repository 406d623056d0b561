"""Checks of a router: for each thing that can be wrong one finding, with what to change; and none for what is right."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.jetstream import ConsumerConfig, ConsumerInfo, StreamConfig, StreamInfo, StreamSource
from beamline_trio.operation.check import (
    Finding,
    Permissions,
    RouteNeeds,
    Severity,
    SubjectPermissions,
    Survey,
    Target,
    find_problems,
)
from beamline_trio.operation.check._patterns import covers, overlap
from beamline_trio.operation.check._permissions import read_permissions

CONSUMER = ConsumerConfig(durable_name="billing", filter_subject="orders.*", ack_wait_seconds=30.0, max_deliver=4)
NEEDS = RouteNeeds(
    name="bill",
    subject="orders.*",
    stream="ORDERS",
    consumer=CONSUMER,
    dead_letter="dlq.orders",
    targets=(Target(pattern="bills.*", stored=True),),
    redelivery_seconds=98.0,
)
CORE = RouteNeeds(name="price", subject="price.get", queue_group="prices")


def stream(name: str, *subjects: str, **config: Any) -> StreamInfo:
    return StreamInfo(config=StreamConfig(name=name, subjects=subjects, **config))


STREAMS = {"ORDERS": stream("ORDERS", "orders.>"), "DLQ": stream("DLQ", "dlq.>"), "BILLS": stream("BILLS", "bills.>")}
GOOD = Survey(streams=STREAMS, takers={"dlq.orders": ("DLQ",), "bills.*": ("BILLS",)}, permissions=Permissions())


def with_stream(info: StreamInfo) -> Survey:
    return attrs.evolve(GOOD, streams={**STREAMS, info.config.name: info})


def with_consumer(**config: Any) -> Survey:
    paused = config.pop("paused", False)
    info = ConsumerInfo(name="billing", config=attrs.evolve(CONSUMER, **config), paused=paused)
    return attrs.evolve(GOOD, consumers={("ORDERS", "billing"): info})


def only(needs: RouteNeeds, survey: Survey) -> Finding:
    (finding,) = find_problems([needs], survey)
    return finding


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """A stream, a place for dead letters and targets, a durable as it is wanted, and every permission."""
    assert find_problems([NEEDS, CORE], GOOD) == ()
    assert find_problems([NEEDS], with_consumer()) == ()
    assert find_problems([CORE], Survey(jetstream="there is none", permissions=Permissions())) == ()


WRONG: dict[str, tuple[RouteNeeds, Survey, Severity, str]] = {
    "no JetStream": (NEEDS, Survey(jetstream="nobody answers"), Severity.ERROR, "needs JetStream, and nobody answers"),
    "no stream": (
        NEEDS,
        attrs.evolve(GOOD, streams={"DLQ": STREAMS["DLQ"], "BILLS": STREAMS["BILLS"]}),
        Severity.ERROR,
        "no stream 'ORDERS'; create it, as create_stream(StreamConfig(name='ORDERS', subjects=('orders.*',)))",
    ),
    "other subjects": (NEEDS, with_stream(stream("ORDERS", "order.>")), Severity.ERROR, "nothing that 'orders.*'"),
    "a name as subject": (NEEDS, with_stream(stream("ORDERS")), Severity.ERROR, "takes 'ORDERS'"),
    "a part": (NEEDS, with_stream(stream("ORDERS", "orders.1")), Severity.WARNING, "only a part of 'orders.*'"),
    "no dead letter": (attrs.evolve(NEEDS, dead_letter=None), GOOD, Severity.WARNING, "give it dead_letter="),
    "backoff": (NEEDS, with_consumer(backoff_seconds=(1.0, 2.0)), Severity.ERROR, "first value of 1 s"),
    "another ack wait": (NEEDS, with_consumer(ack_wait_seconds=5.0), Severity.WARNING, "the router changes it"),
    "another ack policy": (NEEDS, with_consumer(ack_policy="none"), Severity.ERROR, "the server cannot change it"),
    "paused": (NEEDS, with_consumer(paused=True), Severity.WARNING, "is paused; resume it"),
    "nobody takes dead letters": (
        NEEDS,
        attrs.evolve(GOOD, takers={"dlq.orders": (), "bills.*": ("BILLS",)}),
        Severity.ERROR,
        "no stream takes dead letters to 'dlq.orders'",
    ),
    "nobody takes a target": (
        NEEDS,
        attrs.evolve(GOOD, takers={"dlq.orders": ("DLQ",), "bills.*": ()}),
        Severity.ERROR,
        "no stream takes what it publishes to 'bills.*'",
    ),
    "a part of a target": (NEEDS, with_stream(stream("BILLS", "bills.1")), Severity.WARNING, "only a part of what it"),
    "sealed": (NEEDS, with_stream(stream("DLQ", "dlq.>", sealed=True)), Severity.ERROR, "is sealed"),
    "dropped dead letters": (
        NEEDS, with_stream(stream("DLQ", "dlq.>", max_msgs=9, max_bytes=-1)), Severity.WARNING, "oldest ones",
    ),
    "dead letters of interest": (
        NEEDS, with_stream(stream("DLQ", "dlq.>", retention="interest")), Severity.ERROR, "keeps nothing",
    ),
    "a short memory": (
        NEEDS,
        with_stream(stream("BILLS", "bills.>", duplicate_window_seconds=60.0)),
        Severity.WARNING,
        "set duplicate_window_seconds of the stream to at least 98",
    ),
}  # fmt: skip


@pytest.mark.parametrize("needs, survey, severity, words", WRONG.values(), ids=WRONG)
def test_one_thing_is_wrong(needs: RouteNeeds, survey: Survey, severity: Severity, words: str) -> None:
    """It is the only finding, it names the route, and it says what to change."""
    finding = only(needs, survey)
    assert (finding.severity, finding.route) == (severity, "bill")
    assert words in str(finding)
    assert str(finding).startswith(f"{severity}: route 'bill': ")


def test_a_dead_letter_that_comes_back() -> None:
    """Its own source would take it: the loop that has no end."""
    needs = attrs.evolve(NEEDS, subject="orders.>", dead_letter="orders.dead")
    survey = attrs.evolve(GOOD, takers={"orders.dead": ("ORDERS",), "bills.*": ("BILLS",)})
    assert "would come back to it" in str(only(needs, survey))


def test_a_mirror_has_the_subjects_of_others() -> None:
    """That its own subjects do not cover the route says nothing there."""
    info = stream("ORDERS", "orders.1", sources=(StreamSource(name="EU"),))
    assert find_problems([NEEDS], with_stream(info)) == ()


def test_dead_letters_that_wait_for_room_are_not_lost() -> None:
    """A bound with `discard = new` refuses, and what is refused is not acked."""
    assert find_problems([NEEDS], with_stream(stream("DLQ", "dlq.>", max_msgs=9, discard="new"))) == ()


def test_two_routes_with_one_durable() -> None:
    """They would take each other's messages."""
    (finding,) = find_problems([NEEDS, attrs.evolve(NEEDS, name="ship")], GOOD)
    assert (finding.route, finding.severity) == ("ship", Severity.ERROR)
    assert "that of the route 'bill' too" in finding.what


def test_errors_come_first_and_once() -> None:
    """What cannot be asked is told once, as a warning, and nothing is concluded from it."""
    survey = Survey(unanswered={"STREAM.INFO.ORDERS": "no"}, permissions=None)
    needs = attrs.evolve(NEEDS, dead_letter=None, targets=())
    both = find_problems([needs, attrs.evolve(needs, name="ship")], survey)
    assert [finding.severity for finding in both] == [Severity.ERROR, *[Severity.WARNING] * 3]
    assert not [finding for finding in both if "no stream" in finding.what]


# ---------------------------------------------------------------------------------------------------- permissions


def missing(needs: RouteNeeds, permissions: Permissions) -> list[str]:
    findings = find_problems([needs], attrs.evolve(GOOD, permissions=permissions))
    return [finding.change for finding in findings]


def publish(*allow: str, deny: tuple[str, ...] = ()) -> Permissions:
    return Permissions(user="u", publish=SubjectPermissions(allow=allow or None, deny=deny), responses=True)


def subscribe(*allow: str, deny: tuple[str, ...] = ()) -> Permissions:
    return Permissions(user="u", subscribe=SubjectPermissions(allow=allow or None, deny=deny))


def test_each_missing_permission_is_named_as_it_has_to_be_given() -> None:
    """A route from a stream asks JetStream's API, acks, and publishes; nothing else."""
    assert missing(NEEDS, publish("nothing")) == [
        "allow it: publish '$JS.API.CONSUMER.CREATE.ORDERS.billing'",
        "allow it: publish '$JS.API.CONSUMER.INFO.ORDERS.billing'",
        "allow it: publish '$JS.API.CONSUMER.MSG.NEXT.ORDERS.billing'",
        "allow it: publish '$JS.ACK.ORDERS.billing.>'",
        "allow it: publish 'dlq.orders'",
        "allow it: publish 'bills.*'",
        "allow it: publish '$JS.API.STREAM.NAMES'",
        "allow it: publish '$JS.API.STREAM.MSG.GET.ORDERS'",
    ]
    found = find_problems([NEEDS], attrs.evolve(GOOD, permissions=publish("nothing")))
    assert [one.severity for one in found] == [*[Severity.ERROR] * 6, *[Severity.WARNING] * 2]
    assert missing(NEEDS, publish("$JS.API.>", "$JS.ACK.>", "dlq.*", "bills.>")) == []
    assert missing(NEEDS, publish(deny=("bills.9",))) == ["allow it: publish 'bills.*'"]
    assert missing(NEEDS, subscribe("orders.>")) == ["allow it: subscribe '_INBOX.>'"]
    tenants = attrs.evolve(NEEDS, holds=True, dead_letter=None)
    assert "allow it: publish '$JS.API.STREAM.MSG.GET.ORDERS'" in missing(tenants, publish("nothing"))
    literal = attrs.evolve(NEEDS, subject="orders.1", targets=())
    assert "allow it: publish '$JS.API.CONSUMER.CREATE.ORDERS.billing.orders.1'" in missing(literal, publish("nothing"))


def test_a_core_route_subscribes_in_its_queue_group() -> None:
    """A permission may be for one queue group only."""
    assert missing(CORE, subscribe("price.*")) == []
    assert missing(CORE, subscribe("price.* prices")) == []
    assert missing(CORE, subscribe("price.* p*")) == ["allow it: subscribe 'price.get prices'"]
    assert missing(CORE, subscribe("price.* others")) == ["allow it: subscribe 'price.get prices'"]
    assert missing(CORE, subscribe(deny=("price.get others",))) == []
    assert missing(CORE, subscribe(deny=("price.> prices",))) == ["allow it: subscribe 'price.get prices'"]
    plain = attrs.evolve(CORE, queue_group=None)
    assert missing(plain, subscribe("price.* prices")) == ["allow it: subscribe 'price.get'"]


def test_replies_need_a_permission_too() -> None:
    """Either for the inboxes of those who ask, or for answers as such."""
    silent = attrs.evolve(publish("nothing"), responses=False)
    assert missing(CORE, silent) == ["set allow_responses for the user, or allow: publish '_INBOX.>'"]
    assert missing(CORE, publish("nothing")) == []


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"data": 1}', b"\xff", b"[" * 100_000])
def test_an_answer_that_is_none(answer: bytes) -> None:
    """It says nothing about permissions."""
    assert read_permissions(answer) is None


def test_the_answer_of_the_server() -> None:
    """As nats-server 2.15 writes it; a user without restrictions has none in it."""
    text = b'{"data":{"user":"u","permissions":{"publish":{"allow":["a.>"],"deny":["a.x"]},"responses":{"max":1}}}}'
    assert read_permissions(text) == Permissions(
        user="u", publish=SubjectPermissions(allow=("a.>",), deny=("a.x",)), responses=True
    )
    assert read_permissions(b'{"data":{"user":"u","account":"A"}}') == Permissions(user="u")


# ------------------------------------------------------------------------------------------------------- patterns

TOKENS = st.sampled_from(["a", "b", "*"])
PATTERNS = st.tuples(st.lists(TOKENS, max_size=3), st.booleans()).map(lambda p: [*p[0], *([">"] if p[1] else [])])
PATTERN = PATTERNS.filter(bool).map(".".join)
LITERALS = [".".join(parts) for n in range(1, 6) for parts in itertools.product("ab", repeat=n)]


def matches(pattern: str, subject: str) -> bool:
    tests, tokens = pattern.split("."), subject.split(".")
    if tests[-1] == ">":
        return len(tokens) >= len(tests) and all(t in ("*", s) for t, s in zip(tests[:-1], tokens, strict=False))
    return len(tests) == len(tokens) and all(t in ("*", s) for t, s in zip(tests, tokens, strict=True))


@given(PATTERN, PATTERN)
def test_overlapping_is_having_a_subject_in_common(one: str, other: str) -> None:
    """As the subjects themselves say, of which two letters and five tokens are enough."""
    assert overlap(one, other) == any(matches(one, s) and matches(other, s) for s in LITERALS)


@given(PATTERN, PATTERN)
def test_covering_is_matching_everything_that_the_other_does(pattern: str, other: str) -> None:
    """A pattern that covers another matches all of its subjects, also those of letters that are in neither."""
    subjects = [*LITERALS, *[s.replace("a", "c") for s in LITERALS]]
    if covers(pattern, other):
        assert all(matches(pattern, s) for s in subjects if matches(other, s))
    elif "*" not in other and ">" not in other:
        assert not matches(pattern, other)

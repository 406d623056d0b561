"""Mirrors and sources: streams that copy others, on one server, with the times of nats-server 2.15.1."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamline_trio.simulation._server import MessageView

from ._jetstream_rig import JetStreamRig

BEGIN = 0.21  # seconds from a stream's making until it copies, at most
MISSING = 12.2  # seconds until a stream that was not there is looked for again, at most


@pytest.fixture
def rig() -> JetStreamRig:
    rig = JetStreamRig()
    rig.stream("O")
    return rig


def make(rig: JetStreamRig, name: str, **config: Any) -> dict[str, Any]:
    reply = rig.ask(f"STREAM.CREATE.{name}", {"name": name, **config})
    assert "error" not in reply, reply
    return reply


def info(rig: JetStreamRig, name: str) -> dict[str, Any]:
    return rig.ask(f"STREAM.INFO.{name}")


def contents(rig: JetStreamRig, name: str) -> list[tuple[str, bytes]]:
    return [(one.subject, one.payload) for one in rig.view(name).messages]


def marks(rig: JetStreamRig, name: str) -> list[list[str]]:
    """What the headers of copied messages say of where they come from."""
    found = []
    for one in rig.view(name).messages:
        line = next(line for line in one.header.decode().split("\r\n") if line.startswith("Nats-Stream-Source: "))
        found.append(line.split(" ")[1:])
    return found


def plain(messages: tuple[MessageView, ...]) -> list[tuple[int, str, bytes, bytes, float]]:
    return [(one.sequence, one.subject, one.header, one.payload, one.stored_at) for one in messages]


def test_a_mirror_is_the_same_as_its_origin(rig: JetStreamRig) -> None:
    """Sequences, subjects, headers, payloads and times: of what was there, and of what comes."""
    rig.store("O", 3)
    made = make(rig, "M", mirror={"name": "O"})
    assert made["mirror"] == {"name": "O", "lag": 0, "active": -1}
    assert "subjects" not in made["config"]
    assert "duplicate_window" not in made["config"]
    rig.events.advance(0.09)
    assert not contents(rig, "M")
    rig.events.advance(BEGIN)
    assert plain(rig.view("M").messages) == plain(rig.view("O").messages)
    rig.request("O.h", b"x", b"NATS/1.0\r\nA: b\r\n\r\n")
    rig.events.advance(0.01)
    assert plain(rig.view("M").messages) == plain(rig.view("O").messages)
    told = info(rig, "M")
    assert list(told)[-2:] == ["mirror", "ts"]
    assert told["mirror"]["lag"] == 0
    assert 0 <= told["mirror"]["active"] < 10**9


def test_a_mirror_keeps_what_its_origin_removes_and_has_the_gaps_that_were_there_before(rig: JetStreamRig) -> None:
    """Deleting and purging is not copied, and a mirror that begins behind it begins at what there is."""
    rig.store("O", 4)
    make(rig, "M", mirror={"name": "O"})
    rig.events.advance(BEGIN)
    rig.ask("STREAM.MSG.DELETE.O", {"seq": 3})
    rig.ask("STREAM.PURGE.O", {"seq": 2})
    rig.store("O", 1)
    make(rig, "N", mirror={"name": "O"})
    rig.events.advance(BEGIN)
    assert [one.sequence for one in rig.view("M").messages] == [1, 2, 3, 4, 5]
    assert [one.sequence for one in rig.view("N").messages] == [2, 4, 5]
    assert rig.view("N").first_sequence == 2


@pytest.mark.parametrize(
    "origin, sequences",
    [
        ({"filter_subject": "O.2"}, [3]),
        ({"filter_subject": "O.*"}, [1, 2, 3, 4]),
        ({"opt_start_seq": 3}, [3, 4]),
        ({"opt_start_time": "2030-01-01T00:00:00Z"}, []),
        ({"opt_start_time": "2020-01-01T00:00:00Z"}, [1, 2, 3, 4]),
    ],
)
def test_where_a_copy_begins_and_what_it_leaves_out(
    rig: JetStreamRig, origin: dict[str, Any], sequences: list[int]
) -> None:
    """By sequence, by time and by subject; a mirror keeps the sequences, a stream with sources has its own."""
    rig.store("O", 4)
    make(rig, "M", mirror={"name": "O", **origin})
    make(rig, "A", sources=[{"name": "O", **origin}])
    rig.events.advance(5)
    assert [one.sequence for one in rig.view("M").messages] == sequences
    assert [int(mark[1]) for mark in marks(rig, "A")] == sequences
    assert [one.sequence for one in rig.view("A").messages] == list(range(1, len(sequences) + 1))
    assert info(rig, "M")["mirror"].get("filter_subject") == origin.get("filter_subject")


def test_sources_are_copied_into_one_stream_and_each_message_says_where_it_comes_from(rig: JetStreamRig) -> None:
    """In the order of each source, beside what is published to the stream itself."""
    rig.stream("P")
    rig.store("O", 2)
    make(rig, "A", subjects=["A.>"], sources=[{"name": "O"}, {"name": "P", "filter_subject": "P.0"}])
    rig.store("A", 1)
    rig.events.advance(BEGIN)
    rig.store("P", 2)
    rig.store("O", 1)
    rig.events.advance(1.1)
    assert contents(rig, "A") == [("A.0", b"m0"), ("O.0", b"m0"), ("O.1", b"m1"), ("P.0", b"m0"), ("O.0", b"m0")]
    reply = rig.ask("STREAM.MSG.GET.A", {"seq": 3})
    name, sequence, pattern, transform, subject, identity = (
        b64decode(reply["message"]["hdrs"]).decode().split("Nats-Stream-Source: ")[1].split("\r\n")[0].split(" ")
    )
    assert (name, sequence, pattern, transform, subject) == ("O", "2", ">", ">", "O.1")
    assert len(identity) == 8
    told = info(rig, "A")["sources"]
    assert [(one["name"], one["seq"], one["lag"]) for one in told] == [("O", 3, 0), ("P", 1, 0)]
    assert told[1]["filter_subject"] == "P.0"
    assert list(told[1]) == ["name", "lag", "seq", "active", "filter_subject"]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_copy_goes_on_where_it_was(rig: JetStreamRig, how: str) -> None:
    """After a restart of the server: nothing is missing and nothing is there twice."""
    rig.store("O", 3)
    make(rig, "M", mirror={"name": "O"})
    make(rig, "A", sources=[{"name": "O"}])
    rig.events.advance(BEGIN)
    getattr(rig.server, how)()
    rig.again()
    rig.store("O", 2)
    rig.events.advance(BEGIN)
    rig.store("O", 1)
    rig.events.advance(0.01)
    assert plain(rig.view("M").messages) == plain(rig.view("O").messages)
    assert [int(mark[1]) for mark in marks(rig, "A")] == [1, 2, 3, 4, 5, 6]


def test_a_stream_that_is_not_there_is_looked_for_again(rig: JetStreamRig) -> None:
    """The information says so; when it is made, the copy begins at most twelve seconds later."""
    make(rig, "M", mirror={"name": "P"})
    make(rig, "A", sources=[{"name": "P"}])
    rig.events.advance(BEGIN)
    missing = {"code": 404, "err_code": 10059, "description": "stream not found"}
    assert info(rig, "M")["mirror"] == {"name": "P", "lag": 0, "active": -1, "error": missing}
    assert info(rig, "A")["sources"] == [{"name": "P", "lag": 0, "active": -1, "error": missing}]
    rig.stream("P")
    rig.store("P", 1)
    rig.events.advance(MISSING - 0.3)
    assert not contents(rig, "M")
    rig.events.advance(0.3)
    for name in ("M", "A"):
        assert contents(rig, name) == [("P.0", b"m0")]
    assert "error" not in info(rig, "M")["mirror"]


def test_another_stream_of_the_same_name_is_a_new_source_and_the_same_mirror(rig: JetStreamRig) -> None:
    """A stream with sources copies it from its beginning; a mirror waits for the sequence behind its last."""
    rig.store("O", 2)
    make(rig, "M", mirror={"name": "O"})
    make(rig, "A", sources=[{"name": "O"}])
    rig.events.advance(BEGIN)
    rig.ask("STREAM.DELETE.O")
    rig.stream("O")
    rig.store("O", 1)
    rig.events.advance(MISSING + 10)
    assert [int(mark[1]) for mark in marks(rig, "A")] == [1, 2, 1]
    assert len({mark[-1] for mark in marks(rig, "A")}) == 2
    assert rig.view("M").last_sequence == 2
    rig.store("O", 2)
    rig.events.advance(1.1)
    assert [one.sequence for one in rig.view("M").messages] == [1, 2, 3]


def test_a_stream_that_is_full_goes_on_when_there_is_room(rig: JetStreamRig) -> None:
    """With discard new nothing is left out: it tries again a second later."""
    rig.store("O", 4)
    make(rig, "A", discard="new", max_msgs=2, sources=[{"name": "O"}])
    rig.events.advance(5)
    assert [int(mark[1]) for mark in marks(rig, "A")] == [1, 2]
    rig.ask("STREAM.PURGE.A", {"keep": 1})
    rig.events.advance(1.3)
    assert [int(mark[1]) for mark in marks(rig, "A")] == [2, 3]


def test_ids_are_seen_by_a_stream_with_a_window_only(rig: JetStreamRig) -> None:
    """A stream with sources has none unless it is given one."""
    rig.stream("P", duplicate_window=10**8)
    make(rig, "A", sources=[{"name": "P"}])
    make(rig, "B", sources=[{"name": "P"}], duplicate_window=60 * 10**9)
    rig.events.advance(BEGIN)
    for _ in range(2):
        rig.request("P.0", b"x", b"NATS/1.0\r\nNats-Msg-Id: z\r\n\r\n")
        rig.events.advance(1)
    assert [len(contents(rig, name)) for name in ("P", "A", "B")] == [2, 2, 1]


def test_what_can_be_updated(rig: JetStreamRig) -> None:
    """Sources come and go; a mirror stays one, or becomes a stream of its own."""
    rig.stream("P")
    rig.store("O", 1)
    rig.store("P", 1)
    make(rig, "M", mirror={"name": "O"})
    make(rig, "A", sources=[{"name": "O"}])
    rig.events.advance(BEGIN)
    for config, code in (
        ({"name": "M", "mirror": {"name": "P"}}, 10055),
        ({"name": "O", "subjects": ["O.>"], "mirror": {"name": "P"}}, 10034),
    ):
        assert rig.ask(f"STREAM.UPDATE.{config['name']}", config)["error"]["err_code"] == code
    updated = rig.ask("STREAM.UPDATE.A", {"name": "A", "sources": [{"name": "O"}, {"name": "P"}]})
    assert [one["name"] for one in updated["sources"]] == ["O", "P"]
    updated = rig.ask("STREAM.UPDATE.M", {"name": "M", "subjects": ["M.>"]})
    assert "mirror" not in updated
    rig.store("O", 1)
    rig.store("M", 1)
    rig.events.advance(BEGIN)
    assert contents(rig, "M") == [("O.0", b"m0"), ("M.0", b"m0")]
    assert sorted((mark[0], mark[1]) for mark in marks(rig, "A")) == [("O", "1"), ("O", "2"), ("P", "1")]
    assert "sources" not in rig.ask("STREAM.UPDATE.A", {"name": "A", "subjects": ["A"]})


def test_many_messages_come_in_pieces(rig: JetStreamRig) -> None:
    """More than a piece holds, also by size."""
    for number in range(1300):
        rig.publish("O.x", b"%d" % number)
    for _ in range(3):
        rig.publish("O.y", b"x" * 600_000)
    rig.events.advance(0.01)
    make(rig, "M", mirror={"name": "O"})
    rig.events.advance(BEGIN + 0.1)
    assert plain(rig.view("M").messages) == plain(rig.view("O").messages)
    assert info(rig, "M")["mirror"]["lag"] == 0


def test_what_is_not_modelled_is_said(rig: JetStreamRig) -> None:
    """A copy of a stream that keeps what is of interest would be interest itself."""
    rig.stream("I", retention="interest")
    make(rig, "A", sources=[{"name": "I"}])
    rig.events.advance(BEGIN)
    error = info(rig, "A")["sources"][0]["error"]
    assert error["code"] == 501
    assert "not modelled by the simulation" in error["description"]


def test_nobody_else_says_where_a_message_comes_from(rig: JetStreamRig) -> None:
    """A publisher's own header of that name is refused."""
    reply = rig.request("O.1", b"x", b"NATS/1.0\r\nNats-Stream-Source: O 1 > > a b\r\n\r\n")
    assert reply["error"]["err_code"] == 10227


STEPS = st.lists(
    st.sampled_from(["publish", "publish", "publish", "delete", "kill", "stop", "wait", "second"]), max_size=25
)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_copies_are_whole_and_without_doubles_whatever_happens(steps: list[str]) -> None:
    """What the origin has, a mirror has at the same place; a source's messages come once each and in their order."""
    rig = JetStreamRig()
    rig.stream("O")
    make(rig, "M", mirror={"name": "O"})
    make(rig, "A", sources=[{"name": "O"}])
    published = 0
    deleted: set[int] = set()
    for step in steps:
        if step == "publish":
            published = rig.request("O.x", b"%d" % published)["seq"]
        elif step == "delete" and published:
            rig.ask("STREAM.MSG.DELETE.O", {"seq": published})
            deleted.add(published)
        elif step in ("kill", "stop"):
            getattr(rig.server, step)()
            rig.again()
        elif step == "second":
            rig.events.advance(1)
        else:
            rig.events.advance(0.05)
    rig.events.advance(13)
    origin = {one[0]: one for one in plain(rig.view("O").messages)}
    mirror = {one[0]: one for one in plain(rig.view("M").messages)}
    assert origin.items() <= mirror.items()
    assert set(mirror) <= set(range(1, published + 1))
    copied = [int(mark[1]) for mark in marks(rig, "A")]
    assert copied == sorted(set(copied))
    assert set(origin) <= set(copied)


def test_a_piece_that_has_not_come_whole_is_asked_for_again(rig: JetStreamRig) -> None:
    """A message behind one that was lost on the way is not taken, nor one of an earlier question."""
    make(rig, "A", sources=[{"name": "O"}])
    rig.events.advance(BEGIN)
    process = rig.server._process
    assert process is not None
    assert process.jetstream is not None
    stream = process.jetstream.streams["A"]
    (source,) = stream._sourcing._sources
    number = source._question
    for question, place in ((number, 2), (number - 1, 1)):
        source._received(b"O.1", b"$JS.ACK.abcdefgh.%d.7.%d.0" % (question, place), b"", b"x")
    assert not contents(rig, "A")
    rig.store("O", 2)
    rig.events.advance(0.01)
    assert [int(mark[1]) for mark in marks(rig, "A")] == [1, 2]

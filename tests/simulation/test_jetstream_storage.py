"""What a simulated server's JetStream has behind a kill, a power failure, a deleted store and a pause."""

from __future__ import annotations

import pytest

from beamline_trio.simulation import SimulationError
from beamline_trio.simulation._server import ServerConfig

from ._jetstream_rig import JetStreamRig, reply_of
from ._server_rig import Rig
from .test_server_life import Watcher

SECOND = 1_000_000_000


def stored(rig: JetStreamRig, name: str = "S") -> list[bytes]:
    return [message.payload for message in rig.view(name).messages]


@pytest.fixture
def rig() -> JetStreamRig:
    """A stream in a file and one in memory, both with two messages."""
    rig = JetStreamRig()
    rig.stream("S")
    rig.stream("M", storage="memory")
    rig.store("S", 2)
    rig.store("M", 2)
    return rig


def test_a_kill_takes_what_is_in_memory(rig: JetStreamRig) -> None:
    """Behind SIGKILL a stream in a file is as it was, even if nothing was synced, and one in memory is gone."""
    rig.server.kill()
    assert not rig.server.streams
    rig.again()
    assert [one.name for one in rig.server.streams] == ["S"]
    assert stored(rig) == [b"m0", b"m1"]
    assert rig.request("S.x", b"")["seq"] == 3


def test_a_power_failure_takes_what_was_not_synced(rig: JetStreamRig) -> None:
    """Behind a power failure a stream is as it was at its last sync; its definition is there at any rate."""
    rig.events.advance(121)
    rig.link = rig._listen()
    rig.store("S", 1)
    rig.server.crash()
    rig.again()
    assert stored(rig) == [b"m0", b"m1"]
    assert rig.view("S").last_sequence == 2
    rig.store("S", 1)
    rig.server.kill()
    rig.again()
    assert stored(rig) == [b"m0", b"m1", b"m0"]


def test_a_power_failure_before_the_first_sync_leaves_an_empty_stream(rig: JetStreamRig) -> None:
    """Nothing was synced yet, so nothing is there but the definitions."""
    rig.consumer("S", "C")
    rig.server.crash()
    rig.again()
    assert stored(rig) == []
    assert rig.view("S").last_sequence == 0
    assert [consumer.name for consumer in rig.view("S").consumers] == ["C"]


def test_a_sync_that_a_kill_has_prevented_comes_after_the_restart(rig: JetStreamRig) -> None:
    """What a killed process wrote is synced by the next one."""
    rig.server.kill()
    rig.again()
    rig.events.advance(121)
    rig.server.crash()
    rig.again()
    assert stored(rig) == [b"m0", b"m1"]


def test_with_sync_always_a_power_failure_takes_no_message() -> None:
    """What was acknowledged to the publisher is on the disk."""
    rig = JetStreamRig(jetstream_sync_interval_seconds=0)
    rig.stream("S")
    rig.store("S", 2)
    rig.server.crash()
    rig.again()
    assert stored(rig) == [b"m0", b"m1"]


def test_a_kill_takes_the_last_tenth_of_a_second_of_a_consumer(rig: JetStreamRig) -> None:
    """A consumer's state is written behind it: what was acknowledged just before a kill is delivered again."""
    rig.consumer("S", "C", ack_wait=2 * SECOND)
    first, second = rig.pull("S", "C", batch=2)
    rig.events.advance(1)
    rig.publish(reply_of(first), b"+ACK")
    rig.events.advance(0.05)
    rig.publish(reply_of(second), b"+ACK")
    rig.events.advance(0.00015)
    assert rig.view("S").consumers[0].pending == ()
    rig.server.kill()
    rig.again()
    assert rig.view("S").consumers[0].pending == (2,)
    assert rig.view("S").consumers[0].ack_floor == 1
    (again,) = rig.pull("S", "C", batch=1, expires=5 * SECOND) or rig.come(2.5)
    assert reply_of(again).startswith("$JS.ACK.S.C.2.2.")


def test_a_power_failure_takes_a_consumer_back_to_the_last_sync(rig: JetStreamRig) -> None:
    """What was delivered since then is delivered again, with the numbers that it had."""
    rig.consumer("S", "C")
    rig.events.advance(121)
    rig.link = rig._listen()
    before = [reply_of(frame) for frame in rig.pull("S", "C", batch=2)]
    rig.events.advance(1)
    rig.server.crash()
    rig.again()
    assert rig.view("S").consumers[0].undelivered == 2
    assert [reply_of(frame) for frame in rig.pull("S", "C", batch=2)] == before


def test_a_consumer_is_cut_to_a_stream_that_has_lost_its_end() -> None:
    """With files that were synced at different times a consumer never waits behind the end of its stream."""
    rig = JetStreamRig()
    rig.stream("S")
    rig.consumer("S", "C")
    rig.events.advance(121)
    rig.link = rig._listen()
    rig.store("S", 3)
    rig.pull("S", "C", batch=3)
    rig.events.advance(1)
    files = rig.server._storage.streams["S"]
    files.consumers["C"].synced = files.consumers["C"].written
    rig.server.crash()
    rig.again()
    assert rig.view("S").consumers[0].pending == ()
    rig.store("S", 1)
    (frame,) = rig.pull("S", "C", batch=1)
    assert reply_of(frame).startswith("$JS.ACK.S.C.1.1.4.")


def test_a_wiped_store_is_empty(rig: JetStreamRig) -> None:
    """The store of a server that runs is not deleted; behind the deletion there is no stream."""
    with pytest.raises(SimulationError, match="kill or stop it first"):
        rig.server.wipe()
    rig.server.stop()
    rig.server.wipe()
    rig.again()
    assert rig.server.streams == ()


def test_a_stop_writes_everything_and_tells_those_who_wait(rig: JetStreamRig) -> None:
    """A server that ends in order writes its consumers' states, and ends requests with what they have not got."""
    rig.consumer("S", "C")
    first, _ = rig.pull("S", "C", batch=3)
    rig.publish(reply_of(first), b"+ACK")
    rig.events.advance(0.00015)
    rig.server.stop()
    assert rig.come(0)[-1].endswith(
        b"NATS/1.0 409 Server Shutdown\r\nNats-Pending-Messages: 1\r\nNats-Pending-Bytes: 0\r\n\r\n"
    )
    rig.again()
    assert rig.view("S").consumers[0].pending == (2,)


def test_a_paused_server_answers_when_it_goes_on(rig: JetStreamRig) -> None:
    """Nothing happens during a pause; what was due, is answered at once behind it."""
    rig.consumer("S", "C", ack_wait=SECOND)
    rig.pull("S", "C", batch=3, expires=2 * SECOND)
    rig.server.pause()
    rig.publish("S.x", b"late", reply="r.q")
    assert rig.come(3) == []
    rig.server.resume()
    texts = b"".join(rig.come(0.01))
    assert b"408 Request Timeout" in texts
    assert b'{"stream":"S","seq":3}' in texts


def test_observers_see_what_is_stored_delivered_and_acknowledged(rig: JetStreamRig) -> None:
    """An observer is told of each step of a message, and with which headers."""
    watcher = rig.server.observer = Watcher()
    rig.consumer("S", "C")
    rig.request("S.x", b"", b"NATS/1.0\r\nA: b\r\n\r\n")
    frames = rig.pull("S", "C", batch=3)
    rig.publish(reply_of(frames[0]), b"+ACK")
    rig.events.advance(0.01)
    told = [one for one in watcher.told if one[0] in ("stored", "handed_out", "acknowledged")]
    assert told[0] == ("stored", "a", "S", 3, b"S.x", b"NATS/1.0\r\nA: b\r\n\r\n")
    assert [one[4:6] for one in told if one[0] == "handed_out"] == [(1, 1), (2, 1), (3, 1)]
    assert told[-1] == ("acknowledged", "a", "S", "C", (1,))


def test_the_trace_has_every_step(rig: JetStreamRig) -> None:
    """What is stored, delivered, acknowledged and delivered again is noted, with a checksum."""
    rig.consumer("S", "C", ack_wait=SECOND)
    first, _ = rig.pull("S", "C", batch=9, expires=9 * SECOND)
    rig.publish(reply_of(first), b"+ACK")
    rig.events.advance(2)
    notes = [fields for _, kind, fields in rig.trace.entries if kind.startswith("js_redeliver")]
    assert [(note["seq"], note["count"]) for note in notes] == [(2, 2)]
    crcs = [fields["crc"] for _, kind, fields in rig.trace.entries if kind in ("js_store", "js_deliver")]
    assert crcs[0] == crcs[-2]
    assert "js_ack" in rig.trace.kinds()


def test_configurations_that_the_model_does_not_have() -> None:
    """JetStream of a server without a name in a cluster, and an interval that is none, are refused."""
    with pytest.raises(ValueError, match="has no name; nats-server does not start like that"):
        Rig(jetstream=True, cluster="c")
    with pytest.raises(ValueError, match="must be 0"):
        Rig(jetstream=True, jetstream_sync_interval_seconds=-1)
    rig = Rig()
    with pytest.raises(ValueError, match="jetstream cannot be reloaded"):
        rig.server.reload(ServerConfig(jetstream=True))
    assert rig.server.streams == ()
    rig.server.crash()

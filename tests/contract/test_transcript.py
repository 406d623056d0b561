"""Records are compared without the order that the server does not have, and with every other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ._transcript import Transcript, mask

PULL_DELETED = b"HMSG a.p 1 33 33\r\nNATS/1.0 409 Consumer Deleted\r\n\r\n\r\n"
DELETED = b'MSG a.q 1 73\r\n{"type":"io.nats.jetstream.api.v1.stream_delete_response","success":true}\r\n'
PUB_ACK = b'MSG a.q 1 22\r\n{"stream":"S","seq":1}\r\n'


def delivery(consumer: str, sequence: int) -> bytes:
    return b"MSG S.1 1 $JS.ACK.S.%b.1.%d.%d.1791000000000000000.0 0\r\n\r\n" % (consumer.encode(), sequence, sequence)


def same(frames: list[bytes], others: list[bytes]) -> bool:
    one, other = (Transcript({"a": tuple(each)}, {"a": "open"}) for each in (frames, others))
    return mask(one) == mask(other)


def test_the_end_of_a_pull_and_the_answer_to_a_deletion() -> None:
    """They come in either order, but next to each other and as many as they are."""
    assert same([PUB_ACK, PULL_DELETED, PULL_DELETED, DELETED], [PUB_ACK, PULL_DELETED, DELETED, PULL_DELETED])
    assert not same([PUB_ACK, PULL_DELETED, DELETED], [PULL_DELETED, PUB_ACK, DELETED])
    assert not same([PULL_DELETED, DELETED], [DELETED])
    assert not same([PULL_DELETED, DELETED], [PULL_DELETED, PULL_DELETED, DELETED])


@given(st.lists(st.sampled_from("CDE"), max_size=12))
def test_deliveries_of_several_consumers(consumers: list[str]) -> None:
    """Those of one consumer have an order; consumers have none among themselves."""
    sent: dict[str, int] = dict.fromkeys(consumers, 0)
    frames, by_consumer = [], []
    for consumer in consumers:
        sent[consumer] += 1
        frames.append(delivery(consumer, sent[consumer]))
    for consumer in reversed(sorted(sent)):
        by_consumer += [delivery(consumer, number + 1) for number in range(sent[consumer])]
    assert same(frames, by_consumer)
    assert same([PUB_ACK, *frames, DELETED], [PUB_ACK, *by_consumer, DELETED])


def test_what_has_an_order() -> None:
    """Deliveries of one consumer, and what comes before or behind the answer to a publish."""
    assert not same([delivery("C", 1), delivery("C", 2)], [delivery("C", 2), delivery("C", 1)])
    assert not same([PUB_ACK, delivery("C", 1)], [delivery("C", 1), PUB_ACK])
    assert not same([delivery("C", 1), PUB_ACK, delivery("D", 1)], [delivery("D", 1), PUB_ACK, delivery("C", 1)])

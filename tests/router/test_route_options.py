"""What a route can be declared with: what cannot work is refused at the decorator, with the option and the value."""

from __future__ import annotations

from typing import Any

import pytest

from beamline_trio import ConsumerConfig, InvalidSubjectError, OptionsError
from beamline_trio.router import Batch, Breaker, Retry, Router
from beamline_trio.router._retry import retry_delay
from beamline_trio.router._route_options import RouteOptions


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"queue_messages_max": 0}, OptionsError, "queue_messages_max is 0"),
        ({"queue_bytes_max": 0}, OptionsError, "queue_bytes_max is 0"),
        ({"deadline_seconds": 0}, OptionsError, "deadline_seconds is 0"),
        ({"rate": 0}, OptionsError, "rate is 0"),
        ({"weight": 0}, OptionsError, "weight is 0"),
        ({"quota": 0}, OptionsError, "quota is 0"),
        ({"weights": {"a": 0}}, OptionsError, "weight of tenant 'a'"),
        ({"dead_letter": "a.*", "stream": "S"}, InvalidSubjectError, "wildcard"),
        ({"durable": "d"}, OptionsError, "durable and no stream"),
        ({"dead_letter": "dead"}, OptionsError, "dead_letter and no stream"),
        ({"double_ack": True}, OptionsError, "double_ack and no stream"),
        ({"consumer": ConsumerConfig()}, OptionsError, "consumer and no stream"),
        ({"batch": Batch(2, 1)}, OptionsError, "batch and no stream.*wants its own answer"),
        ({"stream": "S", "batch": Batch(1001, 1)}, OptionsError, "size of a batch is 1001"),
        ({"stream": "S", "batch": Batch(9, 1), "queue_messages_max": 8}, OptionsError, "the queue takes 8"),
        ({"stream": "S", "batch": Batch(2, 1), "idempotent_by": str}, OptionsError, "batch and idempotent_by"),
        ({"stream": "S", "batch": Batch(2, 1), "breaker": Breaker(by=str)}, OptionsError, "breaker for each key"),
        ({"stream": "S", "queue_group": "g"}, OptionsError, "queue_group"),
        ({"stream": "S.x"}, InvalidSubjectError, "stream"),
        ({"stream": "S", "durable": "a b"}, InvalidSubjectError, "durable"),
        ({"stream": "S", "consumer": ConsumerConfig(backoff_seconds=[1])}, OptionsError, "retry="),
        ({"stream": "S", "consumer": ConsumerConfig(max_deliver=1)}, OptionsError, "max_deliver"),
        ({"stream": "S", "consumer": ConsumerConfig(filter_subject="x")}, OptionsError, "subject of the route"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Before there is a handler, and nothing is added."""
    router = Router("r")
    with pytest.raises(error, match=text):
        router.route("a", **options)
    assert router.routes == {}


def test_a_batch_is_not_kept_short_by_the_consumer() -> None:
    """The batches of all workers may be unacked at once, beside what waits."""
    alone = RouteOptions(subject="a", name="r", stream="S", concurrency=3, rate=1).consumer_config().max_ack_pending
    batched = RouteOptions(subject="a", name="r", stream="S", concurrency=3, batch=Batch(50, 1))
    assert alone is not None
    assert batched.consumer_config().max_ack_pending == alone + 3 * 49


def test_a_routers_own_numbers_have_bounds() -> None:
    """Its grace and its handlers."""
    with pytest.raises(OptionsError, match="grace_seconds is -1"):
        Router("r", grace_seconds=-1)
    with pytest.raises(OptionsError, match="concurrency_max is 0"):
        Router("r", concurrency_max=0)


def test_the_consumer_of_a_route_has_what_the_route_says_and_what_was_given() -> None:
    """Its name, its filter, its limits; more of the configuration is kept."""
    given = ConsumerConfig(description="mine", max_ack_pending=7)
    options = RouteOptions(subject="a.*", name="r", stream="S", consumer=given, retry=Retry(max_deliver=2))
    config = options.consumer_config()
    assert (config.durable_name, config.filter_subject, config.max_deliver) == ("r", "a.*", 2)
    assert (config.description, config.max_ack_pending, config.ack_wait_seconds) == ("mine", 7, 30)
    assert RouteOptions(subject="a", name="r", stream="S", durable="d").consumer_config().durable_name == "d"


def test_what_is_asked_for_ahead_grows_with_the_workers_up_to_the_queue() -> None:
    """And what may be unacked holds all of it."""
    for concurrency, messages_max, ahead in ((1, None, 100), (64, None, 256), (1000, None, 1000), (1, 10, 10)):
        options = RouteOptions(
            subject="a", name="r", stream="S", concurrency=concurrency, queue_messages_max=messages_max
        )
        assert options.prefetch == ahead
        limit = options.consumer_config().max_ack_pending
        assert limit is not None
        assert limit >= ahead + concurrency


class Chance:
    """A draw that is given."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize("draw, part", [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_delays_follow_the_policy_with_its_jitter(draw: float, part: float) -> None:
    """By the number of the delivery; the last delay repeats."""
    chance: Any = Chance(draw)
    delays = [retry_delay(Retry(), number, chance) for number in (1, 2, 3, 4, 99)]
    assert delays == pytest.approx([part * delay for delay in (1, 2, 4, 4, 4)])

"""Random scripts about JetStream: streams, messages, consumers, pulls and acknowledgements in any order.

What has a reply is waited for; what may have none, or several messages for one, is followed by a short silence, so
that the order does not depend on which of the server's goroutines is faster. Nothing in them depends on time.

Left out: taking away a consumer's filter by an update, since nats-server 2.15.1 then does not count what is stored.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from ._jetstream_steps import API, JETSTREAM, ask, consumer, inbox, info, post, request
from ._script import Script, Step, Steps, hello, quiet

_STREAMS: Final = ("S", "T")
_CONSUMERS: Final = ("C", "D")
_SETTLE_SECONDS: Final = 0.05
_STREAM_CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "retention": ("limits", "limits", "interest", "workqueue"),
    "storage": ("file", "memory"),
    "discard": ("old", "new"),
    "max_msgs": (-1, -1, 3),
    "max_bytes": (-1, -1, 150),
    "max_msgs_per_subject": (-1, -1, 2),
    "max_msg_size": (-1, -1, 12),
    "allow_rollup_hdrs": (False, True),
    "first_seq": (0, 0, 5),
    "deny_delete": (False, False, True),
}
_CONSUMER_CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "ack_policy": ("explicit", "explicit", "all", "none"),
    "deliver_policy": ("all", "all", "new", "last"),
    "headers_only": (False, True),
    "max_ack_pending": (0, 0, 2),
    "max_deliver": (-1, -1, 2),
    "max_batch": (0, 0, 2),
}
_HEADERS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {},
    {"A": "b"},
    {"Nats_Msg_Id": "1"},
    {"Nats_Msg_Id": "2"},
    {"Nats_Expected_Last_Sequence": 2},
    {"Nats_Expected_Last_Subject_Sequence": 1},
    {"Nats_Expected_Last_Msg_Id": "1"},
    {"Nats_Expected_Stream": "S"},
    {"Nats_Rollup": "sub"},
)
_SAID: Final = (b"", b"+ACK", b"-NAK", b"+WPI", b"+TERM", b"+TERM why", b"+NXT", b"what")


def jetstream_script(seed: int, length: int = 25) -> Script:
    """A script from a seed."""
    chance = random.Random(seed)
    makers: tuple[Callable[[random.Random], Steps], ...] = (
        *[_publish] * 6,
        *[_pull] * 4,
        *[_acknowledge] * 6,
        *[_make_consumer] * 2,
        *[_look] * 3,
        _make_stream,
        _change_stream,
        _remove,
        _delete,
    )
    steps: list[Steps] = [hello(), inbox(), _make_stream(chance), _make_consumer(chance)]
    steps += [chance.choice(makers)(chance) for _ in range(length)]
    steps += [ask("STREAM.LIST"), *(ask(f"CONSUMER.LIST.{name}") for name in _STREAMS), ask("INFO")]
    return Script(tuple(_flat(steps)), JETSTREAM, private=True)


def _flat(steps: Steps) -> list[Step]:
    if isinstance(steps, list | tuple):
        return [one for step in steps for one in _flat(step)]
    return [steps]  # type: ignore[list-item]


def _some(chance: random.Random, choices: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Some fields; the others have their defaults."""
    return {name: chance.choice(values) for name, values in choices.items() if chance.random() < 0.4}


def _stream_config(chance: random.Random, name: str) -> dict[str, Any]:
    return {"name": name, "subjects": [f"{name}.>"], **_some(chance, _STREAM_CHOICES)}


def _make_stream(chance: random.Random) -> Steps:
    name = chance.choice(_STREAMS)
    return ask(f"STREAM.CREATE.{name}", _stream_config(chance, name))


def _change_stream(chance: random.Random) -> Steps:
    name = chance.choice(_STREAMS)
    return [ask(f"STREAM.UPDATE.{name}", _stream_config(chance, name)), quiet(_SETTLE_SECONDS)]


def _make_consumer(chance: random.Random) -> Steps:
    stream = chance.choice(_STREAMS)
    config, name = _some(chance, _CONSUMER_CHOICES), chance.choice(_CONSUMERS)
    if name == "D":
        config["filter_subject"] = f"{stream}.{chance.choice('12*')}"
    return [consumer(stream, name, **config), quiet(_SETTLE_SECONDS)]


def _publish(chance: random.Random) -> Steps:
    subject = f"{chance.choice(_STREAMS)}.{chance.randint(1, 3)}".encode()
    return [request(subject, b"x" * chance.randint(0, 20), **chance.choice(_HEADERS)), quiet(_SETTLE_SECONDS)]


def _pull(chance: random.Random) -> Steps:
    fields: dict[str, Any] = {"batch": chance.randint(1, 4), "no_wait": chance.random() < 0.8}
    if chance.random() < 0.2:
        fields["max_bytes"] = chance.choice((10, 60, 200))
    subject = API + f"CONSUMER.MSG.NEXT.{chance.choice(_STREAMS)}.{chance.choice(_CONSUMERS)}".encode()
    return [post(subject, fields, tag="p"), quiet(_SETTLE_SECONDS)]


def _acknowledge(chance: random.Random) -> Steps:
    name, sequence = chance.choice(_STREAMS), chance.randint(1, 6)
    number = chance.choice((sequence, sequence, chance.randint(1, 6)))
    subject = f"$JS.ACK.{name}.{chance.choice(_CONSUMERS)}.1.{sequence}.{number}.1.0".encode()
    return [post(subject, chance.choice(_SAID), tag=chance.choice(("k", ""))), quiet(_SETTLE_SECONDS)]


def _look(chance: random.Random) -> Steps:
    name = chance.choice(_STREAMS)
    return chance.choice(
        (
            ask(f"STREAM.INFO.{name}", {"subjects_filter": ">", "deleted_details": True}),
            ask(f"STREAM.MSG.GET.{name}", {"seq": chance.randint(1, 6)}),
            ask(f"STREAM.MSG.GET.{name}", {"last_by_subj": f"{name}.{chance.randint(1, 3)}"}),
            info(name, chance.choice(_CONSUMERS)),
        )
    )


def _remove(chance: random.Random) -> Steps:
    name = chance.choice(_STREAMS)
    what = chance.choice(
        (
            ask(f"STREAM.MSG.DELETE.{name}", {"seq": chance.randint(1, 6)}),
            ask(f"STREAM.PURGE.{name}", {"filter": f"{name}.{chance.randint(1, 3)}"}),
            ask(f"STREAM.PURGE.{name}", {"seq": chance.randint(1, 6)}),
            ask(f"STREAM.PURGE.{name}", {"keep": chance.randint(1, 3)}),
            ask(f"STREAM.PURGE.{name}"),
        )
    )
    return [what, quiet(_SETTLE_SECONDS)]


def _delete(chance: random.Random) -> Steps:
    name = chance.choice(_STREAMS)
    what = (
        ask(f"CONSUMER.DELETE.{name}.{chance.choice(_CONSUMERS)}")
        if chance.random() < 0.7
        else ask(f"STREAM.DELETE.{name}")
    )
    return [what, quiet(_SETTLE_SECONDS)]

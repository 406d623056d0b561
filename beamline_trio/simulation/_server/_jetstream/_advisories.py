"""What JetStream says of itself to those who listen: `$JS.EVENT.ADVISORY.>`.

Nothing is made for nobody: an advisory that no subscription meets costs a look-up. Must not decide when one is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ._golang import encode, timestamp

if TYPE_CHECKING:
    from ._acks import Delivered
    from ._consumer import Consumer
    from ._service import JetStream

_PREFIX: Final = "$JS.EVENT.ADVISORY"
_TYPE: Final = "io.nats.jetstream.advisory.v1"


def stream_action(jetstream: JetStream, stream: str, action: str) -> None:
    """A stream was made, changed or deleted."""
    verb = {"create": "CREATED", "modify": "UPDATED", "delete": "DELETED"}[action]
    _say(jetstream, f"STREAM.{verb}.{stream}", "stream_action", {"stream": stream, "action": action})


def consumer_action(consumer: Consumer, action: str) -> None:
    """A consumer was made or deleted."""
    verb = {"create": "CREATED", "delete": "DELETED"}[action]
    _say_of(consumer, f"CONSUMER.{verb}", "consumer_action", {"action": action})


def deliveries_exceeded(consumer: Consumer, sequence: int, deliveries: int) -> None:
    """A message was delivered as often as it may."""
    _say_of(consumer, "CONSUMER.MAX_DELIVERIES", "max_deliver", {"stream_seq": sequence, "deliveries": deliveries})


def naked(consumer: Consumer, delivered: Delivered) -> None:
    """A client refused a message for now."""
    _say_of(consumer, "CONSUMER.MSG_NAKED", "nak", _numbers(delivered))


def terminated(consumer: Consumer, delivered: Delivered, reason: str) -> None:
    """A message will not be delivered again."""
    fields = _numbers(delivered)
    if reason:
        fields["reason"] = reason
    _say_of(consumer, "CONSUMER.MSG_TERMINATED", "terminated", fields)


def api_audit(jetstream: JetStream, client: dict[str, Any], subject: bytes, request: bytes, response: bytes) -> None:
    """A request to the API was answered."""
    fields: dict[str, Any] = {"server": jetstream.server_name, "client": client, "subject": _text(subject)}
    if request:
        fields["request"] = _text(request)
    fields["response"] = _text(response)
    _say(jetstream, "API", "api_audit", fields)


def _numbers(delivered: Delivered) -> dict[str, Any]:
    return {
        "consumer_seq": delivered.consumer_sequence,
        "stream_seq": delivered.stream_sequence,
        "deliveries": delivered.deliveries,
    }


def _say_of(consumer: Consumer, what: str, kind: str, fields: dict[str, Any]) -> None:
    stream = consumer.stream.name
    about = {"stream": stream, "consumer": consumer.name, **fields}
    _say(consumer.jetstream, f"{what}.{stream}.{consumer.name}", kind, about)


def _say(jetstream: JetStream, what: str, kind: str, fields: dict[str, Any]) -> None:
    subject = f"{_PREFIX}.{what}".encode()
    if not jetstream.is_wanted(subject):
        return
    event = {"type": f"{_TYPE}.{kind}", "id": jetstream.draw_id(), "timestamp": timestamp(jetstream.now()), **fields}
    if jetstream.domain:
        event["domain"] = jetstream.domain
    jetstream.send(subject, encode(event))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")

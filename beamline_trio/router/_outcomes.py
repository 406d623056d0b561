"""What a handler says with what it returns or raises: effects, or later, or never.

An input is accepted with a tuple of effects (publishes and replies, perhaps none), asked for again (`Retry`), or given
up (`DeadLetter`). `read_outcome` and `read_error` bring whatever a handler returned or raised into that form.

Must not send anything, and must not know where the input came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

import attrs

from ..protocol import Headers, HeadersInput, NatsError, encode_subject, frozen

Confirm: TypeAlias = Literal["route", "stream", "server"]
Encode: TypeAlias = Callable[[object], bytes]

# A reason becomes a header of a dead letter, a part of a log line and of an advisory of the server.
REASON_CHARACTERS_MAX: Final = 500
_CONFIRM: Final = (*get_args(Confirm), None)
_SECONDS_MAX: Final = 365 * 86_400.0


def one_line(text: object, characters_max: int = REASON_CHARACTERS_MAX) -> str:
    """The text as one line of valid UTF-8, cut where it is too long: fit for a header, a log and an advisory."""
    line = " ".join(str(text).encode("utf-8", "replace").decode().split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= characters_max else line[: characters_max - 1] + "…"


def _headers(source: HeadersInput | None) -> Headers | None:
    return None if source is None else Headers(source)


def _seconds(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{field.name} is {value!r}; it must be a number of seconds")
    if not 0 <= value <= _SECONDS_MAX:
        raise ValueError(f"{field.name} is {value!r}; it must be from 0 to {_SECONDS_MAX:.0f} (a year)")


def _subject(_: object, field: attrs.Attribute[Any], value: str) -> None:
    encode_subject(value)


def _confirm(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value not in _CONFIRM:
        raise ValueError(f"confirm is {value!r}; it must be one of {_CONFIRM}")


@frozen
class Publish:
    """An effect: publish this. It leaves when the handler has returned, and before its input is acked.

    Of several effects those that no stream has to confirm leave first, in their order, so an answer is out before what
    it announces. Those for streams follow at the same time; what has to be stored in an order belongs into one message.

    Attributes:
        subject: where to.
        payload: bytes; or a str, JSON value or model, as a handler's parameter can be, encoded the same way.
        headers: its headers; the router adds the message id and the trace.
        confirm: what has to be known before the input is acked. "stream": a stream has stored it (PubAck);
            "server": the server has it (a PING behind it); None: nothing, it is at most once; "route": "stream"
            on a route from a stream, None on a core route.

    Raises:
        InvalidSubjectError, InvalidHeaderError: subject or headers cannot go on the wire.
        ValueError: confirm is none of those.
    """

    subject: str = attrs.field(validator=_subject)
    payload: object = b""
    headers: Headers | None = attrs.field(default=None, converter=_headers, kw_only=True)
    confirm: Confirm | None = attrs.field(default="route", validator=_confirm, kw_only=True)


@frozen
class Reply:
    """An effect: answer the sender, where it wants an answer. Returned bytes are the same with no headers.

    Attributes:
        payload: as of `Publish`.
        headers: its headers.

    Raises:
        InvalidHeaderError: the headers cannot go on the wire.
    """

    payload: object = b""
    headers: Headers | None = attrs.field(default=None, converter=_headers, kw_only=True)


def _delays(value: Sequence[float]) -> tuple[float, ...]:
    return tuple(value)


def _check_delays(record: object, field: attrs.Attribute[Any], value: tuple[float, ...]) -> None:
    if not value:
        raise ValueError("delays_seconds is empty; it needs at least one delay, and (0,) retries at once")
    for delay in value:
        _seconds(record, field, delay)


def _check_jitter(_: object, field: attrs.Attribute[Any], value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"jitter is {value!r}; it must be from 0 to less than 1")


def _check_max_deliver(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"max_deliver is {value!r}; it must be an integer of at least 1")


@frozen
class Retry:
    """Deliver it again. As a route's `retry=` it says how; returned by a handler it says now.

    Attributes:
        delay_seconds: of an outcome only: how long until the next delivery; None = as the route's delays say.
        reason: of an outcome only: why, for the log and the history of a dead letter.
        delays_seconds: of a route: the delay behind the first delivery, the second, ...; the last one repeats.
        jitter: of a route: the part by which a delay varies up and down, so that what failed together does not come
            back together.
        max_deliver: of a route: deliveries in all, the first included; when the last one fails, the input is given up.
        ack_wait_seconds: of a route: without a word from the router the server delivers again after it.

    Raises:
        TypeError, ValueError: a value is of another type, or out of its bounds.
    """

    delay_seconds: float | None = attrs.field(default=None, validator=_seconds)
    reason: str = attrs.field(default="", converter=one_line)
    delays_seconds: tuple[float, ...] = attrs.field(
        default=(1.0, 2.0, 4.0), converter=_delays, validator=_check_delays, kw_only=True
    )
    jitter: float = attrs.field(default=0.2, validator=_check_jitter, kw_only=True)
    max_deliver: int = attrs.field(default=4, validator=_check_max_deliver, kw_only=True)
    ack_wait_seconds: float = attrs.field(default=30.0, validator=_seconds, kw_only=True)

    @property
    def is_policy(self) -> bool:
        """Whether it says what only a route's `retry=` can say."""
        return attrs.evolve(self, delay_seconds=None, reason="") != _POLICY


_POLICY: Final = Retry()


def _effects(effects: Sequence[Publish | Reply]) -> tuple[Publish | Reply, ...]:
    return tuple(effects)


@frozen
class DeadLetter:
    """It can never be done: to the route's dead letters with it, and no other try.

    Attributes:
        reason: why, for the dead letter's headers and the log; a line of 500 characters at most, longer is cut.
        effects: what goes out before the dead letter, such as an answer that tells the sender; confirmed as the
            effects of what is accepted are, and before the input is acked.
    """

    reason: str = attrs.field(default="", converter=one_line)
    effects: tuple[Publish | Reply, ...] = attrs.field(default=(), converter=_effects, kw_only=True)


class Reject(Exception):  # noqa: N818  # an outcome, not a failure
    """Raised by a handler: the input can never be done. As returning `DeadLetter(reason)`, from any depth.

    Attributes:
        reason: why; one line.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = one_line(reason)


class RetryLater(Exception):  # noqa: N818  # an outcome, not a failure
    """Raised by a handler: not now. As returning `Retry(delay_seconds, reason)`, from any depth.

    Attributes:
        delay_seconds: how long until the next delivery; None = as the route's delays say.
        reason: why; one line.

    Raises:
        TypeError, ValueError: the delay is no number, negative, or more than a year.
    """

    def __init__(self, delay_seconds: float | None = None, reason: str = "") -> None:
        super().__init__(delay_seconds, reason)
        outcome = Retry(delay_seconds, reason)
        self.delay_seconds = outcome.delay_seconds
        self.reason = outcome.reason


class InvalidOutcomeError(NatsError, TypeError):
    """A handler returned what is no outcome: a bug of the handler, handled as any exception of it."""


Effect: TypeAlias = Publish | Reply
Effects: TypeAlias = tuple[Effect, ...]
HandlerOutcome: TypeAlias = Effects | Retry | DeadLetter
# What a handler may return; bytes are the payload of a reply.
Returned: TypeAlias = Effect | Sequence[Effect] | Retry | DeadLetter | bytes | None


def read_outcome(returned: object, encode: Encode) -> HandlerOutcome:
    """What a handler returned, as effects in order whose payloads are bytes, or as Retry or DeadLetter.

    None and empty lists are no effects; bytes are a reply.

    Raises:
        InvalidOutcomeError: it is something else, also within a list.
        Exception: what `encode` raises about a payload.
    """
    if returned is None:
        return ()
    if isinstance(returned, bytes):
        return (Reply(returned),)
    if isinstance(returned, (Publish, Reply)):
        return (_encoded(returned, encode),)
    if isinstance(returned, DeadLetter):
        if not returned.effects:
            return returned
        return attrs.evolve(returned, effects=[_encoded(one, encode) for one in returned.effects])
    if isinstance(returned, Retry):
        return _checked(returned)
    if isinstance(returned, (list, tuple)):
        return tuple([_encoded(one, encode) for one in returned])
    raise InvalidOutcomeError(
        f"the handler returned {_article(returned)}; return None, bytes, Reply, Publish, a list of those two, Retry or "
        "DeadLetter (a value that shall be the answer: Reply(value))"
    )


def read_error(error: BaseException) -> Retry | DeadLetter | None:
    """What a handler means by raising: the outcome of `Reject` and `RetryLater`; None of anything else."""
    if isinstance(error, Reject):
        return DeadLetter(error.reason)
    if isinstance(error, RetryLater):
        return Retry(error.delay_seconds, error.reason)
    return None


def _encoded(effect: object, encode: Encode) -> Effect:
    if not isinstance(effect, (Publish, Reply)):
        raise InvalidOutcomeError(
            f"the handler returned a list with {_article(effect)}; it may have Publish and Reply only "
            "(a list that shall be the answer: Reply([...]); Retry and DeadLetter stand alone)"
        )
    if type(effect.payload) is bytes:
        return effect
    return attrs.evolve(effect, payload=encode(effect.payload))


def _checked(outcome: Retry) -> Retry:
    if outcome.is_policy:
        raise InvalidOutcomeError(
            "the handler returned a Retry with delays_seconds, jitter, max_deliver or ack_wait_seconds, which are the "
            "route's to say (retry=); an outcome has delay_seconds and reason"
        )
    return outcome


def _article(value: object) -> str:
    return f"a value of {type(value).__name__}"

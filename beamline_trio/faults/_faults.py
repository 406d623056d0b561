"""What can be done to an operation: `error`, `timeout`, `close_connection`, `delay`, and `intermittent` of these.

A fault is data; `_stream` carries it out.

Must not know streams.
"""

from __future__ import annotations

import math
from random import Random
from typing import Final, TypeAlias

import attrs

from ._errors import InjectionError

REFUSED: Final = "refused"
NO_DNS: Final = "dns"
NO_RESPONDERS: Final = "no responders"


@attrs.frozen
class Error:
    """See `error`."""

    reason: str | None

    @property
    def at_dial(self) -> bool:
        """Whether it meets the dial and not an operation on the wire."""
        return self.reason in (REFUSED, NO_DNS)

    @property
    def of_a_publish(self) -> bool:
        """Whether only what is published can be answered so."""
        return self.reason == NO_RESPONDERS


@attrs.frozen
class Timeout:
    """See `timeout`."""

    seconds: float


@attrs.frozen
class CloseConnection:
    """See `close_connection`."""

    after: bool


@attrs.frozen
class Delay:
    """See `delay`."""

    seconds: float


@attrs.frozen
class Intermittent:
    """See `intermittent`."""

    fault: OperationFault
    probability: float
    random: Random = attrs.field(repr=False)


OperationFault: TypeAlias = Error | Timeout | CloseConnection | Delay | Intermittent


def error(reason: str | None = None) -> OperationFault:
    """The server refuses the operation: its answer comes in order, and the operation does not reach it.

    A publish with ack is answered by the stream's error, on its reply subject; everything else by an `-ERR`.

    Args:
        reason: the text of the answer; None = that of a stream that is full, `maximum messages exceeded`, or the
            server's own words for a user who may not: `Authorization Violation`, `Permissions Violation for Publish to
            "S"`, `Permissions Violation for Subscription to "S"`. A stream's errors have the codes of nats-server, and
            10077 where it has none for the text. `"no responders"` = there is no stream, no consumer, nobody: whoever
            asked for a reply gets the status 503, and others hear nothing. The connection ends behind an answer to a
            connect, and behind texts after which a real server hangs up. For a connect, `"refused"` and `"dns"` mean
            that there is nobody to answer: the dial fails.

    Raises:
        InjectionError: the reason cannot be in an answer.
    """
    if reason is not None and not (isinstance(reason, str) and reason.isprintable() and reason and "'" not in reason):
        raise InjectionError(f"reason is {reason!r}; it must be one line of text without single quotes")
    return Error(reason)


def timeout(seconds: float = math.inf) -> OperationFault:
    """The operation reaches the server, but the answer does not come in time.

    The reply to a request, the PubAck of a publish with ack and the answer to an ack that is waited for are swallowed.
    Of everything else (a publish, an ack or nak, a subscription, a connect) the answer is a PONG: it is held, with all
    that comes behind it, and delivered late.

    Args:
        seconds: how long, from the operation; inf = until the injection ends, which always ends it.

    Raises:
        InjectionError: seconds is not positive.
    """
    return Timeout(_positive(seconds))


def close_connection(*, after: bool = False) -> OperationFault:
    """The connection breaks at the operation.

    Args:
        after: the operation has been passed on whole before it (a real server that is busy writing to the closed link
            may yet drop it unread, as with any reset); False = it does not reach the server.
    """
    return CloseConnection(after)


def delay(seconds: float) -> OperationFault:
    """The operation waits before it is passed on, and with it everything that the client sends behind it.

    Args:
        seconds: how long; the end of the injection ends the wait too.

    Raises:
        InjectionError: seconds is not positive.
    """
    return Delay(_positive(seconds))


def intermittent(fault: OperationFault, probability: float, random: Random) -> OperationFault:
    """A fault that meets only some of the operations.

    Args:
        fault: what happens to those.
        probability: of each operation, from 0 to 1.
        random: a PRNG of its own with a seed, so that a run can be repeated: `random.Random(7)`.

    Raises:
        InjectionError: the probability is no such number, random is no PRNG, or fault no fault.
    """
    if not isinstance(probability, (int, float)) or not 0 <= probability <= 1:
        raise InjectionError(f"probability is {probability!r}; it must be a number from 0 to 1")
    if not isinstance(random, Random):
        raise InjectionError(f"random is {random!r}; it must be a PRNG such as random.Random(7)")
    return Intermittent(check_fault(fault), probability, random)


def check_fault(fault: OperationFault) -> OperationFault:
    """The fault.

    Raises:
        InjectionError: it is none.
    """
    if not isinstance(fault, (Error, Timeout, CloseConnection, Delay, Intermittent)):
        raise InjectionError(
            f"{fault!r} is no fault; use error(), timeout(), close_connection(), delay(), intermittent()"
        )
    return fault


def innermost(fault: OperationFault) -> Error | Timeout | CloseConnection | Delay:
    """What happens to the operations that it meets."""
    return innermost(fault.fault) if isinstance(fault, Intermittent) else fault


def meets_dials(fault: OperationFault) -> bool:
    """Whether a fault meets dials instead of operations on the wire."""
    inner = innermost(fault)
    return isinstance(inner, Error) and inner.at_dial


def resolve(fault: OperationFault) -> Error | Timeout | CloseConnection | Delay | None:
    """What happens to the next operation: the fault, or, if it is intermittent, perhaps nothing."""
    if not isinstance(fault, Intermittent):
        return fault
    return resolve(fault.fault) if fault.random.random() < fault.probability else None


def _positive(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise InjectionError(f"seconds is {seconds!r}; it must be more than 0")
    return seconds

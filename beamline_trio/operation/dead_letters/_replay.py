"""Sending dead letters again: each is published to where it came from, and leaves its stream when that has a PubAck.

In this order, so that a crash between the two leaves a letter that is replayed again under the same message id, which
the stream it goes to stores once in its duplicate window.

Must not remove what was not confirmed, and must not stop at a letter that cannot be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import attrs

from ...connection import ClientClosedError, ConnectionLostError
from ...jetstream import JetStream, MessageNotFoundError, check_stored
from ...protocol import NatsError
from ._letter import DeadLetterRecord, LetterFilter, replay_headers, replay_id
from ._place import DeadLetterPlace, next_letter

_ALL: Final = LetterFilter()


class Replayed(StrEnum):
    """What became of a letter."""

    # Stored again, and removed here.
    REPLAYED = "replayed"
    # A dry run.
    WOULD_REPLAY = "would replay"
    # No router wrote it, so where it came from is not known.
    NOT_A_DEAD_LETTER = "no dead letter"
    # Not stored, or whether is unknown; it is kept.
    FAILED = "failed"
    # Stored again, but it could not be removed here.
    KEPT = "stored, not removed"


@attrs.frozen(kw_only=True)
class ReplayResult:
    """What became of one letter.

    Attributes:
        letter: it.
        became: what became of it.
        subject: where it went, or would go.
        message_id: under which.
        duplicate: whether the stream had it already, from a replay that was cut short.
        error: why not, or None.
    """

    letter: DeadLetterRecord
    became: Replayed
    subject: str = ""
    message_id: str = ""
    duplicate: bool = False
    error: NatsError | None = None


@attrs.define
class ReplayReport:
    """How a replay went.

    Attributes:
        counts: what became of letters -> how many.
        stopped_by: the loss of the connection that ended it, or None.
    """

    counts: dict[Replayed, int] = attrs.field(factory=lambda: dict.fromkeys(Replayed, 0))
    stopped_by: NatsError | None = None

    @property
    def complete(self) -> bool:
        """Whether everything that was meant was replayed."""
        bad = (Replayed.FAILED, Replayed.KEPT, Replayed.NOT_A_DEAD_LETTER)
        return self.stopped_by is None and not any(self.counts[one] for one in bad)


async def replay_letters(
    js: JetStream,
    place: DeadLetterPlace,
    wanted: LetterFilter = _ALL,
    *,
    subject: str | None = None,
    limit: int | None = None,
    dry_run: bool = False,
    on_result: Callable[[ReplayResult], object] = lambda result: None,
) -> ReplayReport:
    """Replay the letters that a filter takes, oldest first, up to the last one that was there when it was looked for.

    Cancelled, the letter under way is still there, and may have been stored already: replayed again, it has the same
    message id.

    Args:
        js: over the client to use.
        place: of `find_place`.
        wanted: which letters.
        subject: where they go; None = each to the subject that it came by.
        limit: at most so many, counting what failed; None = all.
        dry_run: publish and remove nothing.
        on_result: called with each letter's result, when it is known.

    Returns:
        The counts. What is wrong with one letter does not keep the others back; a lost connection ends it.

    Raises:
        ValueError: limit is less than 1.
        NatsError: the stream of dead letters cannot be read.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1")
    report = ReplayReport()
    behind, count = 0, 0
    while limit is None or count < limit:
        letter = await next_letter(js, place, behind, wanted)
        if letter is None:
            break
        behind, count = letter.sequence, count + 1
        result = await _replay(js, letter, subject, dry_run)
        report.counts[result.became] += 1
        on_result(result)
        if isinstance(result.error, (ClientClosedError, ConnectionLostError)):
            report.stopped_by = result.error
            break
    return report


async def _replay(js: JetStream, letter: DeadLetterRecord, subject: str | None, dry_run: bool) -> ReplayResult:
    target, message_id = subject if subject is not None else letter.subject, replay_id(letter)
    result = ReplayResult(letter=letter, became=Replayed.WOULD_REPLAY, subject=target, message_id=message_id)
    if not letter.is_dead_letter:
        return attrs.evolve(result, became=Replayed.NOT_A_DEAD_LETTER)
    if dry_run:
        return result
    try:
        headers = replay_headers(letter)
        ack = await js.publish(target, letter.message.payload, headers=headers, message_id=message_id)
        check_stored(target, ack.outcome)
    except NatsError as error:
        return attrs.evolve(result, became=Replayed.FAILED, error=error)
    result = attrs.evolve(result, duplicate=ack.duplicate)
    try:
        await js.delete_message(letter.message.stream, letter.sequence)
    except MessageNotFoundError:  # somebody else has removed it meanwhile
        pass
    except NatsError as error:
        return attrs.evolve(result, became=Replayed.KEPT, error=error)
    return attrs.evolve(result, became=Replayed.REPLAYED)

"""Where dead letters are: a stream, and of its subjects those that are meant; and reading them in order.

Letters are read by their sequence, without a consumer: looking changes nothing, whatever the stream's retention.

Must not change a stream.
"""

from __future__ import annotations

import attrs
import trio

from ...jetstream import JetStream, MessageNotFoundError
from .._errors import OperationError
from ._letter import DeadLetterRecord, LetterFilter

_EVERYTHING = ">"


class DeadLetterPlaceError(OperationError):
    """There is no such place for dead letters, or there are several."""


@attrs.frozen(kw_only=True)
class DeadLetterPlace:
    """Letters in a stream, as they were when it was looked for.

    Attributes:
        stream: the stream's name.
        subject: only messages of this subject, which may have wildcards.
        first_sequence: of the first message that the stream holds.
        last_sequence: of the last one; what comes later is not of this place, so that a replay whose letters die again
            has an end.
        messages: how many the stream holds, of all subjects.
    """

    stream: str
    subject: str
    first_sequence: int
    last_sequence: int
    messages: int


async def find_place(js: JetStream, target: str) -> DeadLetterPlace:
    """The place that a name means: a stream's name, or the subject of dead letters, as `dlq.orders` or `dlq.>`.

    Raises:
        DeadLetterPlaceError: no stream takes the subject, or several do.
        StreamNotFoundError: there is no such stream.
        InvalidSubjectError: it is neither a name nor a subject.
        NatsError: what `Client.request` raises.
    """
    stream, subject = target, _EVERYTHING
    if "." in target or "*" in target or target == _EVERYTHING:
        names = await js.stream_names(subject=target)
        if len(names) != 1:
            found = f"{len(names)} streams have it: {', '.join(sorted(names))}" if names else "no stream has it"
            raise DeadLetterPlaceError(
                f"the subject {target!r} names no place for dead letters: {found}; give the stream's name"
            )
        stream, subject = names[0], target
    state = (await js.stream_info(stream)).state
    return DeadLetterPlace(
        stream=stream,
        subject=subject,
        first_sequence=max(state.first_seq, 1),
        last_sequence=state.last_seq,
        messages=state.messages,
    )


async def next_letter(
    js: JetStream, place: DeadLetterPlace, behind: int, wanted: LetterFilter
) -> DeadLetterRecord | None:
    """The first letter behind a sequence that a filter takes; None when there is none.

    Raises:
        NatsError: what `JetStream.get_message` raises, but for MessageNotFoundError.
    """
    sequence = max(behind + 1, place.first_sequence)
    while sequence <= place.last_sequence:
        try:
            message = await js.get_message(place.stream, sequence=sequence, subject=place.subject)
        except MessageNotFoundError:
            return None
        if message.sequence > place.last_sequence:
            return None
        letter = DeadLetterRecord.read(message)
        if wanted.takes(letter):
            return letter
        sequence = message.sequence + 1
    await trio.lowlevel.checkpoint()
    return None

"""What the sender of a core message is told when it was not handled: an empty answer with a code and a text (ADR-32).

Must not know why.
"""

from __future__ import annotations

import logging

from ..client import ERROR_CODE_HEADER, ERROR_HEADER
from ..connection import ClientLog
from ..protocol import NatsError
from ._delivery import Delivery
from ._outcomes import one_line

UNAVAILABLE_CODE = "503"


def error_headers(code: str, text: str) -> dict[str, str]:
    """The headers of such an answer."""
    return {ERROR_CODE_HEADER: code, ERROR_HEADER: one_line(text)}


async def answer_error(delivery: Delivery, headers: dict[str, str], log: ClientLog) -> None:
    """Send it, where an answer is wanted; that it could not be sent is logged."""
    if delivery.message.reply_bytes is None:
        return
    try:
        await delivery.message.respond(b"", headers=headers)
    except NatsError as error:
        log(logging.WARNING, "NATS_PUBLISH_ERROR", subject=delivery.message.reply, reason=str(error))

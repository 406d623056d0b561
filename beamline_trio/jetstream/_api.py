"""Requests of the JetStream API: where they go, how they are asked, what an answer means, and lists by their pages.

A domain D is the prefix `$JS.D.API`; any other prefix replaces it, in every subject alike. A request waits through an
outage as `Client.request` does.

Must not know what streams and consumers are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio

from ..connection import Reply, Waiter
from ..protocol import ProtocolError, check_name, encode_headers, encode_subject
from ._attachment import Attachment
from ._errors import APILevelError, JetStreamNotEnabledError, api_error
from ._wire import decode_json, encode_json

NO_RESPONDERS: Final = b"NATS/1.0 503"


def api_prefix_of(domain: str | None, api_prefix: str | None) -> bytes:
    """The prefix of all API subjects, with the dot at its end.

    Raises:
        ValueError: both are given.
        InvalidSubjectError: it cannot be part of a subject.
    """
    if domain is not None and api_prefix is not None:
        raise ValueError("domain and api_prefix are both given; a domain is the api_prefix '$JS.<domain>.API'")
    if domain is not None:
        api_prefix = f"$JS.{check_name(domain, 'domain')}.API"
    return encode_subject(api_prefix if api_prefix is not None else "$JS.API") + b"."


def is_no_responders(reply: Reply) -> bool:
    """Whether the server answered that nobody takes the message."""
    _, _, header, body = reply
    return header is not None and not body and header.startswith(NO_RESPONDERS)


async def send_request(attachment: Attachment, target: bytes, payload: bytes, header: bytes | None = None) -> Reply:
    """A request to a subject that was checked; errors and cancellation are those of `Client.request`, but for a 503."""
    try:
        frame, token = encode_request(attachment, target, payload, header)
    except Exception:
        await trio.lowlevel.checkpoint()
        raise
    return await send_frame(attachment, target.decode("utf-8", "replace"), target, frame, token)


def encode_request(
    attachment: Attachment, target: bytes, payload: bytes | bytearray | memoryview, header: bytes | None
) -> tuple[bytes, bytes]:
    """The frame of a request, and the token at the end of its reply subject.

    Raises:
        TypeError, InvalidSubjectError, InvalidHeaderError, PayloadTooLargeError: it cannot be sent.
    """
    inbox = attachment.client.connection.inbox
    token = inbox.new_token()
    return attachment.encoder.frame(target, payload, inbox.prefix + token, header), token


async def send_frame(
    attachment: Attachment, subject: str, target: bytes, frame: bytes, token: bytes, waiter: Waiter | None = None
) -> Reply:
    """Send a request that was encoded; errors and cancellation are those of `send_request`.

    The waiter, if one is given, tells afterwards whether it was written.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    client = attachment.client
    try:
        client.connection.inbox.open()
    except Exception:
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise
    return await client.sender.request(frame, subject, target, token, waiter)


class API:
    """The API under one prefix.

    Args:
        attachment: of the client that asks.
        prefix: with the dot at its end.
    """

    def __init__(self, attachment: Attachment, prefix: bytes) -> None:
        self._attachment = attachment
        self.prefix = prefix

    async def request(
        self, operation: str, body: Mapping[str, Any] | None = None, *, level: int = 0, raw: bytes | None = None
    ) -> dict[str, Any]:
        """Ask, and raise what the answer says is wrong.

        Args:
            operation: the end of the subject, of parts that were checked.
            body: the request.
            level: the API level that the request needs.
            raw: instead of `body`, the request as bytes.

        Raises:
            APIError: the server refuses; the subclass says how.
            JetStreamNotEnabledError: also when nobody answers.
            APILevelError: the server is too old; nothing was sent if it says its level in INFO.
            ProtocolError: the answer is not JSON.
            NatsError: what `Client.request` raises.
        """
        header = await self._level_header(level)
        payload = raw if raw is not None else encode_json(body) if body is not None else b""
        target = self.prefix + operation.encode()
        reply = await send_request(self._attachment, target, payload, header)
        if is_no_responders(reply):
            raise JetStreamNotEnabledError(
                503,
                0,
                f"nobody answers {target.decode()}: the server or account has no JetStream, or there is no such domain",
            )
        answer = decode_json(reply[3])
        if "error" in answer:
            raise api_error(answer["error"], operation)
        return answer

    async def names(self, operation: str, key: str, body: Mapping[str, Any]) -> list[str]:
        """All pages of a list of names, in the server's order."""
        found: list[str] = []
        while True:
            page = await self.request(operation, {**body, "offset": len(found)})
            names, total = page.get(key) or [], page.get("total", 0)
            if not isinstance(total, int) or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
                raise ProtocolError(f"{operation} was not answered with a list of names: {str(page)[:64]}")
            found.extend(names)
            if not names or len(found) >= total:
                return found

    async def _level_header(self, level: int) -> bytes | None:
        if not level:
            return None
        offered = self._attachment.client.server_info.raw.get("api_lvl")
        if isinstance(offered, int) and offered < level:
            await trio.lowlevel.checkpoint()
            raise APILevelError(412, 10185, f"this needs JetStream API level {level}, the server has {offered}")
        return encode_headers({"Nats-Required-Api-Level": str(level)})

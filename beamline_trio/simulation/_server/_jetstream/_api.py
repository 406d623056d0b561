"""The JetStream API: which request a subject is, how it is read, how it is answered.

    $JS.API.<what>[.<stream>[.<consumer>]]       and, with a domain, $JS.<domain>.API.<the same>

Each request has a function in `_streams_api` or `_consumers_api` that returns the fields of its reply or raises
`APIError`. What the server knows and the simulation does not is answered with an error that says so, and noted.

Must not know what the requests do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from . import _headers as headers
from ._advisories import api_audit
from ._direct import answer_direct, find_direct
from ._errors import APIError, api_error, not_modelled
from ._golang import GoError, decode, encode

if TYPE_CHECKING:
    from .._connection import ClientConnection
    from .._delivery import MessageParts
    from ._service import JetStream

_TYPE: Final = "io.nats.jetstream.api.v1"
LEVEL: Final = 5
PREFIX: Final = b"$JS.API."
# In a request that another server hands on: as what it is answered.
RESPONSE_TYPE: Final = b"Nats-Response-Type"
_NEXT: Final = b"CONSUMER.MSG.NEXT."
_DIRECT: Final = b"DIRECT.GET"
# The server knows them, and a client may well ask.
NOT_MODELLED_REQUESTS: Final = (
    b"STREAM.SNAPSHOT.",
    b"STREAM.RESTORE.",
    b"STREAM.PEER.",
    b"STREAM.CANCEL_MOVE.",
    b"STREAM.LEADER.",
    b"META.",
    b"SERVER.",
    b"ACCOUNT.",
    b"CONSUMER.PAUSE.",
    b"CONSUMER.RESET.",
    b"CONSUMER.UNPIN.",
    b"CONSUMER.LEADER.",
)


@attrs.frozen
class Request:
    """One request.

    Attributes:
        names: the tokens of the subject behind what is asked for.
        body: the payload.
        reply: where it is answered.
        region: that it comes from, if it has crossed a gateway.
    """

    jetstream: JetStream
    names: tuple[str, ...]
    body: bytes
    reply: bytes = b""
    region: str = ""

    def read(self, shape: Mapping[str, Any], name: str, *, optional: bool = False) -> dict[str, Any]:
        """The fields of the body; none when it is empty, or, if it is optional, no object.

        Raises:
            APIError: it cannot be read.
        """
        body = self.body.strip()
        if not body or (optional and body[:1] not in (b"{", b"[")):
            return {}
        try:
            return decode(body, shape, name)
        except GoError as error:
            where = f" at offset {error.offset}" if error.offset else ""
            raise api_error(10025, f"{error}{where}") from None

    def expect_empty(self) -> None:
        """Refuse a body.

        Raises:
            APIError: there is one.
        """
        if self.body.strip() not in (b"", b"{}", b"[]"):
            raise api_error(10038)


@attrs.frozen
class Operation:
    """What can be asked for.

    Attributes:
        kind: of the reply.
        tokens: how many names the subject has, at least and at most.
        answer: the fields of the reply; None = it is answered later, in a cluster.
        empty: fields that a refusal has too.
        counted: whether an answer that is no refusal counts among the requests, and is told to auditors.
    """

    kind: str
    tokens: tuple[int, int]
    answer: Callable[[Request], dict[str, Any] | None]
    empty: Mapping[str, Any] = attrs.field(factory=dict)
    counted: bool = True


class API:
    """Answers requests.

    Args:
        jetstream: what they are about.
        operations: by the beginning of the subject, behind the prefix.

    Attributes:
        total: requests that were answered.
        errors: how many of them with an error.
    """

    def __init__(self, jetstream: JetStream, operations: Mapping[str, Operation]) -> None:
        self._jetstream = jetstream
        self._operations = {name.encode(): operation for name, operation in operations.items()}
        self.total = 0
        self.errors = 0
        self._listen()

    def _listen(self) -> None:
        self._jetstream.serve(PREFIX + b">", self._take)
        if self._jetstream.domain:
            self._jetstream.serve(f"$JS.{self._jetstream.domain}.API.>".encode(), self._take)

    def _operations_by_name(self) -> Iterable[tuple[bytes, Operation]]:
        return self._operations.items()

    def counts(self) -> dict[str, int]:
        """As they stand in the account's information."""
        return {"level": LEVEL, "total": self.total, "errors": self.errors}

    def _take(self, message: MessageParts, source: ClientConnection | None) -> bool:
        subject, reply, size, _, _, data = message
        what = subject.split(b".API.", 1)[1]
        body = data[size:-2]
        if what.startswith(_NEXT):
            return self._pull(what[len(_NEXT) :], reply, body)
        if what.startswith(_DIRECT):
            return self._get(what[len(_DIRECT) + 1 :], reply, data[:size], body)
        self._jetstream.soon(self._answer, what, reply, data[:size], body, source)
        return True

    def _pull(self, names: bytes, reply: bytes, body: bytes) -> bool:
        tokens = names.decode("utf-8", "replace").split(".")
        stream = self._jetstream.streams.get(tokens[0])
        consumer = None if stream is None or len(tokens) != 2 else stream.consumers.get(tokens[1])
        if consumer is None:
            return False
        if reply:
            self._jetstream.soon(consumer.request, reply, body)
        return True

    def _get(self, names: bytes, reply: bytes, header: bytes, body: bytes) -> bool:
        found = find_direct(self._jetstream, names)
        if found is None:
            return False
        if reply:
            self._jetstream.soon(answer_direct, self._jetstream, *found, reply, header, body, LEVEL)
        return True

    def _answer(self, what: bytes, reply: bytes, header: bytes, body: bytes, source: ClientConnection | None) -> None:
        found = self._find(what)
        if found is None:
            self._answer_unknown(what, reply)
            return
        operation, names = found
        response: dict[str, Any] = {"type": f"{_TYPE}.{operation.kind}_response"}
        failed = False
        try:
            level = headers.number(header, headers.REQUIRED_API_LEVEL) if header else None
            if level is not None and not 0 <= level <= LEVEL:
                raise api_error(10185)
            response |= operation.answer(Request(self._jetstream, names, body)) or {}
        except APIError as error:
            failed = True
            response |= {"error": error.fields(), **operation.empty}
            if error.code == 501:
                self._jetstream.note("js_not_modelled", what=error.description)
        if failed or operation.counted:
            self._count(failed=failed)
            self._finish(what, reply, body, encode(response), source)
        elif reply:
            self._jetstream.send(reply, encode(response))

    def _find(self, what: bytes) -> tuple[Operation, tuple[str, ...]] | None:
        """The operation whose name is the longest beginning of the subject."""
        tokens = what.split(b".")
        for count in range(min(len(tokens), 3), 0, -1):
            operation = self._operations.get(b".".join(tokens[:count]))
            if operation is not None:
                names = tuple(token.decode("utf-8", "replace") for token in tokens[count:])
                if operation.tokens[0] <= len(names) <= operation.tokens[1]:
                    return operation, names
        return None

    def _answer_unknown(self, what: bytes, reply: bytes) -> None:
        """The real server is silent about what it does not know, and about what the simulation does not, it is not."""
        self._jetstream.note("js_unknown_request", what=what.decode("utf-8", "backslashreplace"))
        if reply and what.startswith(NOT_MODELLED_REQUESTS):
            self._count(failed=True)
            error = not_modelled(f"the request $JS.API.{what.decode('utf-8', 'replace')}")
            self._jetstream.send(reply, encode({"type": f"{_TYPE}.error", "error": error.fields()}))

    def _count(self, *, failed: bool) -> None:
        self.total += 1
        self.errors += failed

    def _finish(self, what: bytes, reply: bytes, body: bytes, response: bytes, source: ClientConnection | None) -> None:
        if reply:
            self._jetstream.send(reply, response)
        if source is not None:
            client = client_fields(self._jetstream, source)
            api_audit(self._jetstream, client, PREFIX + what, body, response)


def client_fields(jetstream: JetStream, client: ClientConnection) -> dict[str, Any]:
    """Who asked, as it stands in an advisory; the simulation does not measure a round trip."""
    options = client.options
    fields: dict[str, Any] = {
        "start": jetstream.text_at(client.started),
        "host": client.address,
        "id": client.client_id,
        "acc": "$G",
    }
    for name, value in (("user", options.user), ("name", options.name), ("lang", options.lang)):
        if value:
            fields[name] = value
    if options.version:
        fields["ver"] = options.version
    return fields | {"rtt": 0, "server": jetstream.server_name, "kind": "Client", "client_type": "nats"}

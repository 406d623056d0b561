"""The JetStream API of a cluster: which of the servers answers a request, and how it is refused when none can.

Every server hears every request. The meta group's leader answers for what is made and listed, a stream's leader for the
stream, a consumer's for the consumer; all others are silent. Where there has been no leader for too long, who knows it
says so (10008), half a second late where a leader elsewhere might still answer.

Must not know what the requests of the meta group's leader do (`_meta_api`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..._request_info import region_of
from .. import _consumers_api, _streams_api
from .. import _headers as headers
from .._api import API, LEVEL, NOT_MODELLED_REQUESTS, PREFIX, RESPONSE_TYPE, Operation, Request
from .._direct import answer_direct
from .._errors import APIError, api_error
from .._golang import encode
from ._meta_api import MetaAPI

if TYPE_CHECKING:
    from ..._connection import ClientConnection
    from ..._delivery import MessageParts
    from ..._interest import Subscription
    from ._group import Group
    from ._jetstream import ClusteredJetStream
    from ._replicated_consumer import ReplicatedConsumer
    from ._stream_member import ReplicatedStream

_DELAY_SECONDS: Final = 0.5
_AGAIN_SECONDS: Final = 0.02
_OF_STREAM: Final = ("stream_info", "stream_purge", "stream_msg_get", "stream_msg_delete", "stream_leader_stepdown")
_OF_CONSUMER: Final = ("consumer_info", "consumer_leader_stepdown")
_RUN: Final = "run"
_SILENT: Final = "silent"
_STEPDOWN_SHAPE: Final = {"placement": {"preferred": "string", "cluster": "string", "tags": "[]string"}}
# As far as a cluster of the model has them; see `_operations`.
_MODELLED: Final = (b"STREAM.LEADER.", b"CONSUMER.LEADER.")


class ClusterAPI(API):
    """Answers requests at one server of a cluster.

    Args:
        jetstream: what they are about.
    """

    _jetstream: ClusteredJetStream

    def __init__(self, jetstream: ClusteredJetStream) -> None:
        self._cluster = jetstream
        self._meta = MetaAPI(jetstream, self.counts, self.respond)
        self._serving: list[Subscription] = []
        super().__init__(jetstream, self._all_operations())

    def _all_operations(self) -> dict[str, Operation]:
        return {
            **_streams_api.operations(lambda: self),
            **_consumers_api.operations(self._meta.make_consumer),
            **self._meta.operations(),
            "STREAM.PURGE": Operation("stream_purge", (1, 1), self._purge, {"purged": 0}),
            "STREAM.MSG.DELETE": Operation("stream_msg_delete", (1, 1), self._delete_message),
            "STREAM.LEADER.STEPDOWN": Operation("stream_leader_stepdown", (1, 1), self._stream_steps_down),
            "CONSUMER.LEADER.STEPDOWN": Operation("consumer_leader_stepdown", (2, 2), self._consumer_steps_down),
        }

    def _listen(self) -> None:
        """Hear the requests there are, each on a subject of its own: others have no responders."""
        for name, operation in self._operations_by_name():
            least, most = operation.tokens
            for count in range(least, min(most, 2) + 1):
                self._serve(name + b".*" * count)
            if most > 2:
                self._serve(name + b".*.*.>")
        for name in NOT_MODELLED_REQUESTS:
            if name not in _MODELLED:
                self._serve(name + b">")

    def _serve(self, what: bytes) -> None:
        self._serving.append(self._jetstream.serve(PREFIX + what, self._take))
        if self._jetstream.domain:
            self._serving.append(
                self._jetstream.serve(f"$JS.{self._jetstream.domain}.API.".encode() + what, self._take)
            )

    def _take(self, message: MessageParts, source: ClientConnection | None) -> bool:
        subject, reply, size, _, _, data = message
        what = subject.split(b".API.", 1)[1]
        self._jetstream.soon(self._answer, what, reply, data[:size], data[size:-2], source)
        return True

    def close(self) -> None:
        """The server ends."""
        for sub in self._serving:
            self._jetstream.forget(sub)

    # --------------------------------------------------------------------------------------------- who answers, and how

    def _answer(self, what: bytes, reply: bytes, header: bytes, body: bytes, source: ClientConnection | None) -> None:
        found = self._find(what)
        if found is None:
            if self._cluster.meta.leading:
                self._answer_unknown(what, reply)
            return
        operation, names = found
        verdict = self._verdict(operation.kind, names)
        if verdict is _RUN:
            self._run(what, reply, header, body, source)
        elif isinstance(verdict, tuple):
            error, delay = verdict
            fields = {"error": error.fields(), **operation.empty}
            self._cluster.later(delay, self.respond, operation.kind, reply.decode("utf-8", "replace"), fields)
        elif _is_making(header) and self._may_lead_soon(names):
            self._cluster.later(_AGAIN_SECONDS, self._answer, what, reply, header, body, source)

    def _may_lead_soon(self, names: tuple[str, ...]) -> bool:
        """Whether nobody else is known here to lead a stream or a consumer: who makes it again waits for the leader."""
        members = self._cluster.members
        found = members.stream(names[0]) if len(names) == 1 else members.consumer(names[0], names[1])
        return found is not None and found.group.leader in ("", self._cluster.host)

    def _verdict(self, kind: str, names: tuple[str, ...]) -> str | tuple[APIError, float]:
        if kind in _OF_STREAM:
            return self._verdict_of_stream(kind, names[0])
        if kind in _OF_CONSUMER:
            return self._verdict_of_consumer(names[0], names[1])
        if self._cluster.meta.leading:
            return _RUN
        return (api_error(10008), 0.0) if self._cluster.meta.is_leaderless else _SILENT

    def _verdict_of_stream(self, kind: str, name: str) -> str | tuple[APIError, float]:
        cluster = self._cluster
        assigned, member = cluster.assignments.streams.get(name), cluster.members.stream(name)
        if cluster.meta.leading and (assigned is None or not any(map(cluster.is_there, assigned.members.peers))):
            return _RUN if assigned is None else (api_error(10118), _DELAY_SECONDS)
        if member is not None and member.leads:
            return _RUN
        if member is not None and member.group.is_leaderless:
            return _RUN if kind == "stream_info" else (api_error(10008), 0.0)
        if cluster.meta.is_leaderless and (assigned is None or member is not None):
            return api_error(10008), _DELAY_SECONDS
        return _SILENT

    def _verdict_of_consumer(self, stream: str, name: str) -> str | tuple[APIError, float]:
        cluster = self._cluster
        assigned, member = cluster.assignments.consumer(stream, name), cluster.members.consumer(stream, name)
        if cluster.meta.leading and assigned is None:
            return api_error(10014 if stream in cluster.assignments.streams else 10059), 0.0
        if cluster.meta.leading and assigned is not None and not any(map(cluster.is_there, assigned.members.peers)):
            return api_error(10119), _DELAY_SECONDS
        if member is not None and member.consumer is not None:
            return _RUN
        if member is not None and member.group.is_leaderless:
            return api_error(10008), 0.0
        if cluster.meta.is_leaderless and (assigned is None or member is not None):
            return api_error(10008), _DELAY_SECONDS
        return _SILENT

    def _run(self, what: bytes, reply: bytes, header: bytes, body: bytes, source: ClientConnection | None) -> None:
        """Answer, now or when it is decided."""
        found = self._find(what)
        assert found is not None
        operation, names = found
        fields: dict[str, Any] | None
        try:
            level = headers.number(header, headers.REQUIRED_API_LEVEL) if header else None
            if level is not None and not 0 <= level <= LEVEL:
                raise api_error(10185)
            if self._meta.is_undecided(names):
                self._cluster.later(_AGAIN_SECONDS, self._answer, what, reply, header, body, source)
                return
            fields = operation.answer(Request(self._jetstream, names, body, reply, region_of(header)))
        except APIError as error:
            fields = {"error": error.fields(), **operation.empty}
            if error.code == 501:
                self._jetstream.note("js_not_modelled", what=error.description)
        if fields is None:
            self._count(failed=False)
            return
        kind = operation.kind
        if _is_making(header):
            kind = kind.replace("_info", "_create")
            fields = {name: value for name, value in fields.items() if name not in ("total", "offset", "limit")}
        self._count(failed="error" in fields)
        response = encode({"type": f"io.nats.jetstream.api.v1.{kind}_response", **fields})
        self._finish(what, reply, body, response, source)

    def respond(self, kind: str, reply: str, fields: dict[str, Any]) -> None:
        """Answer whom was promised an answer."""
        if reply and not self._cluster.ended:
            self._jetstream.send(
                reply.encode(), encode({"type": f"io.nats.jetstream.api.v1.{kind}_response", **fields})
            )

    # -------------------------------------------------------------------------------------------- what leaders do

    def _later(self, request: Request, kind: str) -> Callable[[dict[str, Any]], None]:
        reply = request.reply.decode("utf-8", "replace")
        return lambda fields: self.respond(kind, reply, fields)

    def _purge(self, request: Request) -> None:
        answer = self._later(request, "stream_purge")
        pattern, below, keep = _streams_api.read_purge(request)
        stream = self._led(request)
        stream.propose_purge(pattern, below, keep, lambda count: answer({"success": True, "purged": count}))

    def _delete_message(self, request: Request) -> None:
        answer = self._later(request, "stream_msg_delete")
        sequence, stream = _streams_api.read_delete(request), self._led(request)
        missing = _streams_api.not_deleted(stream, sequence)

        def deleted(done: bool) -> None:
            answer({"success": True} if done else {"error": missing.fields()})

        stream.propose_delete(sequence, deleted)

    def _led(self, request: Request) -> ReplicatedStream:
        _streams_api.find_stream(request)
        found = self._cluster.members.stream(request.names[0])
        assert found is not None
        return found

    def _stream_steps_down(self, request: Request) -> dict[str, Any]:
        _step_down(self._led(request).group, _preferred(request))
        return {"success": True}

    def _consumer_steps_down(self, request: Request) -> dict[str, Any]:
        preferred = _preferred(request)
        member = self._cluster.members.consumer(*request.names)
        if member is not None:
            _step_down(member.group, preferred)
        return {"success": True}

    # ------------------------------------------------------------------------------------ what was promised is answered

    def stream_created(self, stream: ReplicatedStream, reply: str) -> None:
        """A stream has its first leader."""
        fields = stream.info()
        fields.pop("domain", None)
        self.respond("stream_create", reply, {**fields, "did_create": True})

    def stream_updated(self, stream: ReplicatedStream, reply: str) -> None:
        """A stream has another configuration."""
        self.respond("stream_update", reply, stream.info())

    def consumer_created(self, consumer: ReplicatedConsumer, reply: str) -> None:
        """A consumer has its first leader, or another configuration."""
        self.respond("consumer_create", reply, consumer.info())

    def removed(self, kind: str, reply: str) -> None:
        """A stream or a consumer is gone."""
        self.respond(kind, reply, {"success": True})

    def decided(self, entry: dict[str, Any]) -> None:
        """An entry of the meta group was applied."""
        self._meta.decided(entry)

    def forget_undecided(self) -> None:
        """This server does not lead the meta group any more."""
        self._meta.forget_undecided()

    def answer_question(self, question: dict[str, Any]) -> dict[str, Any]:
        """What another server asks."""
        return self._meta.answer_question(question)

    # --------------------------------------------------------------------------------- what leaders listen to besides

    def serve_stream(self, stream: ReplicatedStream) -> list[Subscription]:
        """Answer direct gets of a stream that is led here."""

        def take(message: MessageParts, source: ClientConnection | None) -> bool:
            subject, reply, size, _, _, data = message
            own = subject.split(f".DIRECT.GET.{stream.name}".encode(), 1)[1][1:]
            if reply:
                parts = (reply, data[:size], data[size:-2])
                self._jetstream.soon(answer_direct, self._jetstream, stream, own, *parts, LEVEL)
            return True

        if not stream.config.allow_direct:
            return []
        names = [f"DIRECT.GET.{stream.name}", f"DIRECT.GET.{stream.name}.>"]
        return [self._jetstream.serve(prefix + name.encode(), take) for prefix in self._prefixes() for name in names]

    def serve_consumer(self, consumer: ReplicatedConsumer) -> list[Subscription]:
        """Take the pulls of a consumer that is led here."""

        def take(message: MessageParts, source: ClientConnection | None) -> bool:
            _, reply, size, _, _, data = message
            if reply:
                self._jetstream.soon(pull, reply, data[size:-2])
            return True

        def pull(reply: bytes, body: bytes) -> None:
            if not consumer.closed:
                consumer.request(reply, body)

        name = f"CONSUMER.MSG.NEXT.{consumer.stream.name}.{consumer.name}".encode()
        return [self._jetstream.serve(prefix + name, take) for prefix in self._prefixes()]

    def _prefixes(self) -> tuple[bytes, ...]:
        domain = self._jetstream.domain
        return (PREFIX, f"$JS.{domain}.API.".encode()) if domain else (PREFIX,)


def _is_making(header: bytes) -> bool:
    """Whether what is asked for is the answer to who has made something that was there already."""
    return bool(header) and headers.find(header, RESPONSE_TYPE) == b"create"


def _step_down(group: Group, preferred: str) -> None:
    """Have another member lead; a group of one has no other."""
    if len(group.members) > 1:
        group.raft.step_down(preferred)


def _preferred(request: Request) -> str:
    """The server that a request to step down would like to lead; empty = any."""
    given = request.read(_STEPDOWN_SHAPE, "JSApiLeaderStepdownRequest")
    return str(given.get("placement", {}).get("preferred", ""))

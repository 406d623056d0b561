"""Requests that the leader of the meta group answers: what is made, changed, deleted and listed.

What changes something becomes an entry; its answer comes from the server that leads what was made. Lists are put
together from what the leaders of all servers say.

Must not know subjects of requests, nor who may answer (`_api`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from .. import _consumer_config, _streams_api
from .. import _headers as headers
from .._api import PREFIX, RESPONSE_TYPE, Operation, Request
from .._consumers_api import PAGE as CONSUMERS_PAGE
from .._consumers_api import check_room, read_action
from .._errors import api_error, not_modelled
from .._stream_config import StreamConfig, check_update
from ._assignments import ConsumerAssignment, Members, StreamAssignment, consumer_entry, stream_entry
from ._placement import place_consumer, place_stream

if TYPE_CHECKING:
    from ._jetstream import ClusteredJetStream

_LISTED_MAX: Final = 256
_NAMED_MAX: Final = 1024
_LIST_SHAPE: Final = {"offset": "int", "subject": "string"}


class MetaAPI:
    """The requests, at one server.

    Args:
        jetstream: of the server.
        counts: requests and errors so far.
        respond: answers later: the kind, where to, and the fields.
    """

    def __init__(
        self,
        jetstream: ClusteredJetStream,
        counts: Callable[[], dict[str, int]],
        respond: Callable[[str, str, dict[str, Any]], None],
    ) -> None:
        self._cluster = jetstream
        self._counts = counts
        self._respond = respond
        self._undecided: dict[tuple[str, str], None] = {}

    def operations(self) -> dict[str, Operation]:
        """By the name in the subject."""
        page = {"total": 0, "offset": 0, "limit": 0, "streams": None}
        return {
            "INFO": Operation("account_info", (0, 0), self._account_info),
            "STREAM.CREATE": Operation("stream_create", (1, 1), self._create),
            "STREAM.UPDATE": Operation("stream_update", (1, 1), self._update),
            "STREAM.DELETE": Operation("stream_delete", (1, 1), self._delete),
            "STREAM.NAMES": Operation("stream_names", (0, 0), self._names, page),
            "STREAM.LIST": Operation("stream_list", (0, 0), self._list, page),
            "CONSUMER.DELETE": Operation("consumer_delete", (2, 2), self._delete_consumer),
            "CONSUMER.NAMES": Operation("consumer_names", (1, 1), self._consumer_names, CONSUMERS_PAGE),
            "CONSUMER.LIST": Operation("consumer_list", (1, 1), self._consumer_list, CONSUMERS_PAGE),
        }

    # --------------------------------------------------------------------------------------------- what is decided

    def is_undecided(self, names: tuple[str, ...]) -> bool:
        """Whether an entry about this stream or consumer is on its way."""
        if not names:
            return False
        return (names[0], "") in self._undecided or (len(names) > 1 and (names[0], names[1]) in self._undecided)

    def decided(self, entry: dict[str, Any]) -> None:
        """An entry was applied."""
        self._undecided.pop((entry["stream"], entry.get("consumer", "")), None)

    def forget_undecided(self) -> None:
        """This server does not lead any more: what becomes of its entries is the matter of another one."""
        self._undecided.clear()

    def _propose(self, entry: dict[str, Any]) -> None:
        self._undecided[entry["stream"], entry.get("consumer", "")] = None
        self._cluster.meta.propose(json.dumps(entry).encode())

    def _redirect(self, request: Request, what: str) -> None:
        """Nothing is to be done: have the leader of what is there answer."""
        subject = PREFIX + what.encode()
        header = headers.lines({RESPONSE_TYPE: b"create"})
        self._cluster.deliver(subject, subject, b"", header=header, reply=request.reply)

    # -------------------------------------------------------------------------------------------------------- streams

    def _stream(self, request: Request) -> StreamAssignment:
        found = self._cluster.assignments.streams.get(request.names[0])
        if found is None:
            raise api_error(10059)
        return found

    def _create(self, request: Request) -> dict[str, Any] | None:
        config = _streams_api.read_create(request, clustered=True)
        known = self._cluster.assignments.streams.get(config.name)
        if known is not None:
            if known.config != config:
                raise api_error(10058)
            self._redirect(request, f"STREAM.INFO.{config.name}")
            return None
        streams = self._cluster.assignments.streams.values()
        _streams_api.check_overlap(config, [stream.config for stream in streams])
        place = partial(self._load, list(streams))
        peers = [peer for peer in self._cluster.peers() if self._cluster.is_there(peer)]
        places = self._places(config, peers, request.region)
        members = place_stream(config, places, place, self._cluster.random, self._cluster.draw_group_id)
        self._propose(stream_entry(StreamAssignment(config, self._cluster.now(), members), _text(request.reply)))
        return None

    def _places(self, config: StreamConfig, peers: list[str], home: str) -> list[list[str]]:
        """The servers of each cluster that may have a stream: the one it names, or its maker's and then others."""
        clusters: dict[str, list[str]] = {}
        for peer in peers:
            clusters.setdefault(self._cluster.cluster_of(peer), []).append(peer)
        named = config.placement.get("cluster")
        if named:
            return [clusters.get(named, [])]
        first = clusters.pop(home or self._cluster.cluster_name, [])
        return [first, *clusters.values()]

    @staticmethod
    def _load(streams: list[StreamAssignment], server: str) -> int:
        return sum(server in stream.members.peers for stream in streams)

    def _update(self, request: Request) -> None:
        config = _streams_api.read_update(request, clustered=True)
        known = self._stream(request)
        check_update(known.config, config)
        if config.num_replicas != known.config.num_replicas:
            raise not_modelled("another number of replicas for a stream that is there")
        if config.placement != known.config.placement:
            raise not_modelled("another placement for a stream that is there")
        others = [stream.config for stream in self._cluster.assignments.streams.values()]
        _streams_api.check_overlap(config, others)
        self._propose(stream_entry(attrs.evolve(known, config=config), _text(request.reply)))

    def _delete(self, request: Request) -> None:
        request.expect_empty()
        known = self._stream(request)
        self._propose({"op": "remove", "stream": known.config.name, "reply": _text(request.reply)})

    def _chosen(self, given: dict[str, Any]) -> list[StreamAssignment]:
        streams = sorted(self._cluster.assignments.streams.values(), key=lambda stream: stream.config.name)
        return _streams_api.matching(streams, given.get("subject", "").encode(), lambda stream: stream.config)

    def _names(self, request: Request) -> dict[str, Any]:
        given = request.read(_LIST_SHAPE, "JSApiStreamNamesRequest", optional=True)
        return _streams_api.page([one.config.name for one in self._chosen(given)], given, _NAMED_MAX, "streams")

    def _list(self, request: Request) -> None:
        given = request.read(_LIST_SHAPE, "JSApiStreamListRequest", optional=True)
        names = [stream.config.name for stream in self._chosen(given)]
        fields = _streams_api.page(names, given, _LISTED_MAX, "streams")
        question = {"what": "streams", "names": fields["streams"] or []}
        self._gather(request, "stream_list", fields, "streams", question)

    def _account_info(self, request: Request) -> dict[str, Any]:
        fields = _streams_api.account_info(request, self._counts())
        streams = self._cluster.assignments.streams.values()
        return {**fields, "streams": len(streams), "consumers": sum(len(stream.consumers) for stream in streams)}

    # ------------------------------------------------------------------------------------------------------- consumers

    def make_consumer(self, request: Request, given: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any] | None:
        """Make or change a consumer, as a request has it."""
        cluster = self._cluster
        stream = self._stream(request)
        config = _consumer_config.read_config(fields, stream.config, pedantic=given.get("pedantic", False))
        action = read_action(given)
        name = config.durable_name or config.name or cluster.draw_name()
        reply, known = _text(request.reply), stream.consumers.get(name)
        if known is not None and config == known.config:
            self._redirect(request, f"CONSUMER.INFO.{stream.config.name}.{name}")
            return None
        if known is not None:
            if action == "create":
                raise api_error(10148)
            _consumer_config.check_update(known.config, config)
            self._propose(consumer_entry(stream.config.name, attrs.evolve(known, config=config), reply))
            return None
        if action == "update":
            raise api_error(10149)
        check_room(stream.config, [one.config for one in stream.consumers.values()], config)
        members: Members = place_consumer(config, stream, cluster.is_there, cluster.random, cluster.draw_group_id)
        made = ConsumerAssignment(name, config, cluster.now(), members)
        self._propose(consumer_entry(stream.config.name, made, reply))
        return None

    def _delete_consumer(self, request: Request) -> None:
        request.expect_empty()
        stream, name = self._stream(request), request.names[1]
        if name not in stream.consumers:
            raise api_error(10014)
        reply = _text(request.reply)
        self._propose({"op": "remove_consumer", "stream": stream.config.name, "consumer": name, "reply": reply})

    def _consumer_names(self, request: Request) -> dict[str, Any]:
        given = request.read(_LIST_SHAPE, "JSApiConsumersRequest", optional=True)
        fields = _streams_api.page(sorted(self._stream(request).consumers), given, _NAMED_MAX, "consumers")
        return {**fields, "consumers": fields["consumers"] or []}

    def _consumer_list(self, request: Request) -> None:
        given = request.read(_LIST_SHAPE, "JSApiConsumersRequest", optional=True)
        stream = self._stream(request)
        fields = _streams_api.page(sorted(stream.consumers), given, _LISTED_MAX, "consumers")
        question = {"what": "consumers", "stream": stream.config.name, "names": fields["consumers"] or []}
        self._gather(request, "consumer_list", fields, "consumers", question)

    # ------------------------------------------------------------------------------------------------------------ lists

    def _gather(self, request: Request, kind: str, fields: dict[str, Any], name: str, question: dict[str, Any]) -> None:
        reply, names = _text(request.reply), question["names"]

        def answered(answers: list[dict[str, Any]]) -> None:
            infos = {one: info for answer in answers for one, info in answer.items()}
            fields[name] = [infos[one] for one in names if one in infos] or ([] if name == "consumers" else None)
            missing = [one for one in names if one not in infos]
            self._respond(kind, reply, {**fields, **({"missing": missing} if missing else {})})

        self._cluster.asking.ask(self._cluster.peers(), question, answered)

    def answer_question(self, question: dict[str, Any]) -> dict[str, Any]:
        """The infos of what this server leads, of the names in question."""
        if question["what"] == "streams":
            members = [self._cluster.members.stream(name) for name in question["names"]]
            return {one.name: one.info(served=False) for one in members if one is not None and one.leads}
        found = [self._cluster.members.consumer(question["stream"], name) for name in question["names"]]
        led = [one.consumer for one in found if one is not None and one.consumer is not None]
        return {consumer.name: consumer.info(served=False) for consumer in led}


def _text(reply: bytes) -> str:
    return reply.decode("utf-8", "replace")

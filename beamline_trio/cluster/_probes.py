"""Those who look: by the JetStream API, by the system account, by monitoring endpoints, and for instances.

Each asks what it asks at once and gives one sighting of what has answered within the time. Silence is an answer, which
`_state` judges, as long as the own server gives a sign of life: of one that hangs nobody could have been heard. A
refusal is a failure, which the watch tells.

Must not judge, and must not keep anything from one look to the next.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import attrs
import trio

from ..client import Client, NoRespondersError
from ..connection import ConnectionLostError
from ..jetstream import APIError, JetStream
from ..protocol import NatsError, ProtocolError, check_name
from ._reading import read_group, read_instances, read_json, read_statuses, read_varz
from ._records import META_GROUP, GroupSeen, NodeSeen, Sighting

# URL -> the body of its answer; an OSError says that nobody is there.
Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
# Told of what was refused: what was asked, and why not.
Refused: TypeAlias = Callable[[str, Exception], None]

STATUS_SUBJECT: Final = "$SYS.REQ.SERVER.PING.STATSZ"
_INSTANCES_SUBJECT: Final = "$SRV.PING"
# Servers of other regions answer later than the nearest: the replies end when none has come for this part of the time.
_STALL: Final = 0.5
# To one question; nobody has so many servers or instances.
_ANSWERS_MAX: Final = 10_000
_UNAVAILABLE: Final = 503
# A stream, or a consumer, all servers of which are gone: so says the leader of the meta group.
_OFFLINE: Final = (10118, 10119)


class Probe(Protocol):
    """Looks once."""

    @property
    def groups(self) -> Sequence[str]:
        """The groups that it asks about."""
        ...

    async def look(self, seconds: float, refused: Refused) -> Sighting | None:
        """What has answered within the time; None: it could not look.

        Raises:
            ClientClosedError: the client is closed.
        """
        ...


def _is_silence(error: Exception) -> bool:
    """Whether nobody could answer: no time, no link, no responder, or somebody else, who says that."""
    if isinstance(error, APIError):
        return error.code == _UNAVAILABLE or error.err_code in _OFFLINE
    return isinstance(error, (trio.TooSlowError, ConnectionLostError, NoRespondersError))


def _sighting_of_refusal(name: str, error: Exception) -> Sighting:
    """What the API refuses has no leader to lose: it is gone, as a rule. Of any other refusal nothing is said."""
    return Sighting(groups=(GroupSeen(name=name, led=True),)) if isinstance(error, APIError) else Sighting()


def consumer_group(stream: str, consumer: str) -> str:
    """The name of a consumer's group."""
    return f"{stream} > {consumer}"


class JetStreamProbe:
    """Asks the API for streams and consumers, and for the account, which the meta leader answers.

    Args:
        jetstream: whom it asks.
        streams: their names.
        consumers: stream and name of each.

    Raises:
        InvalidSubjectError: a name breaks the rules.
    """

    def __init__(self, jetstream: JetStream, streams: Sequence[str], consumers: Sequence[tuple[str, str]]) -> None:
        self._jetstream = jetstream
        self._questions: dict[str, Callable[[], Awaitable[Sighting]]] = {META_GROUP: self._ask_meta}
        for stream in streams:
            check_name(stream, "stream name")
            self._questions[stream] = partial(self._ask_stream, stream)
        for stream, consumer in consumers:
            check_name(stream, "stream name")
            name = consumer_group(stream, check_name(consumer, "consumer name"))
            self._questions[name] = partial(self._ask_consumer, stream, consumer)

    @property
    def groups(self) -> Sequence[str]:
        """The groups that it asks about."""
        return tuple(self._questions)

    async def look(self, seconds: float, refused: Refused) -> Sighting | None:
        """See Probe."""
        seen: dict[str, Sighting] = {}
        own = _OwnServer(self._jetstream.client)

        async def ask(name: str) -> None:
            try:
                seen[name] = await self._questions[name]()
            except (NatsError, trio.TooSlowError) as error:
                own.heard |= isinstance(error, (APIError, NoRespondersError))
                if not _is_silence(error):
                    seen[name] = _sighting_of_refusal(name, error)
                    refused(name, error)

        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(own.ask)
                for name in self._questions:
                    nursery.start_soon(ask, name)
        if not seen and not own.heard:
            return None
        silent = tuple(GroupSeen(name=name) for name in self._questions if name not in seen)
        ordered = [seen[name] for name in self._questions if name in seen]
        nodes = tuple(node for one in ordered for node in one.nodes)
        groups = tuple(group for one in ordered for group in one.groups)
        some_unnamed = any(one.some_unnamed for one in ordered)
        return Sighting(nodes=nodes, groups=(*groups, *silent), some_unnamed=some_unnamed)

    async def _ask_meta(self) -> Sighting:
        """The account's information comes from the meta leader, whose name it does not tell."""
        await self._jetstream.account_info()
        return Sighting(groups=(GroupSeen(name=META_GROUP, led=True),))

    async def _ask_stream(self, stream: str) -> Sighting:
        information = await self._jetstream.stream_info(stream)
        return read_group(stream, information.extra.get("cluster"), information.ts)

    async def _ask_consumer(self, stream: str, consumer: str) -> Sighting:
        information = await self._jetstream.consumer_info(stream, consumer)
        return read_group(consumer_group(stream, consumer), information.extra.get("cluster"), information.ts)


class SystemProbe:
    """Asks all servers for their status, by a client of the system account.

    Args:
        client: of that account.
    """

    groups: Sequence[str] = ()

    def __init__(self, client: Client) -> None:
        self._client = client

    async def look(self, seconds: float, refused: Refused) -> Sighting | None:
        """See Probe."""
        answers = await _answers(self._client, STATUS_SUBJECT, seconds, refused)
        if answers == []:  # the own server is there, and answers everybody of that account
            words = "no server answers; the client given as system must be one of the system account"
            refused(STATUS_SUBJECT, ProtocolError(words))
        return read_statuses(_read(STATUS_SUBJECT, one, refused) for one in answers) if answers else None


class InstancesProbe:
    """Counts the instances of a service that are there (ADR-32).

    Args:
        client: that asks.
        service: their name.

    Raises:
        InvalidSubjectError: it cannot be a part of a subject.
    """

    groups: Sequence[str] = ()

    def __init__(self, client: Client, service: str) -> None:
        self._client = client
        self._subject = f"{_INSTANCES_SUBJECT}.{check_name(service, 'service name')}"

    async def look(self, seconds: float, refused: Refused) -> Sighting | None:
        """See Probe."""
        answers = await _answers(self._client, self._subject, seconds, refused)
        return None if answers is None else read_instances(_read(self._subject, one, refused) for one in answers)


class MonitorProbe:
    """Reads /varz of the monitoring endpoints of servers.

    Args:
        urls: name of a server -> where its monitoring endpoint is, as http://10.0.0.1:8222.
        fetch: gets a URL.
    """

    groups: Sequence[str] = ()

    def __init__(self, urls: Mapping[str, str], fetch: Fetch) -> None:
        self._urls = {name: url.rstrip("/") for name, url in urls.items()}
        self._fetch = fetch

    async def look(self, seconds: float, refused: Refused) -> Sighting | None:
        """See Probe."""
        bodies: dict[str, bytes] = {}

        async def fetch(name: str) -> None:
            try:
                bodies[name] = await self._fetch(f"{self._urls[name]}/varz")
            except (OSError, trio.TooSlowError, trio.BrokenResourceError):
                pass
            except Exception as error:  # noqa: BLE001  # of a library of the caller's: one server must not end the looks
                refused(self._urls[name], error)

        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for name in self._urls:
                    nursery.start_soon(fetch, name)
        answers = (self._answer(name, bodies[name], refused) for name in self._urls if name in bodies)
        seen = read_varz(answers)
        silent = self._urls.keys() - {node.name for node in seen.nodes}
        unseen = (NodeSeen(name=name, age_seconds=math.inf) for name in self._urls if name in silent)
        return attrs.evolve(seen, nodes=(*seen.nodes, *unseen), expected=(*seen.expected, *self._urls))

    def _answer(self, name: str, body: bytes, refused: Refused) -> Mapping[str, Any]:
        """What the server there says; it goes by the name that it was given here, and one of its own is told."""
        answer = _read(self._urls[name], body, refused)
        own = answer.get("server_name")
        if not isinstance(own, str) or own == name:
            return answer
        words = f"the server there calls itself {own!r:.100}, and monitor calls it {name!r}; give it under its own name"
        refused(self._urls[name], ProtocolError(words))
        return {**answer, "server_name": name}


def _read(asked: str, answer: bytes, refused: Refused) -> Mapping[str, Any]:
    """An answer; empty where it is none, which is told."""
    found = read_json(answer)
    if not found:
        words = f"the answer is no JSON object: {bytes(answer[:64])!r}; something else than a server answers there"
        refused(asked, ProtocolError(words))
    return found


class _OwnServer:
    """The server that a client is connected to: what comes from others comes through it.

    Attributes:
        heard: whether it has given a sign of life since this look began.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.heard = False

    async def ask(self) -> None:
        """A ping, which it answers by itself."""
        with suppress(NatsError):
            await self._client.flush()
            self.heard = True


async def _answers(client: Client, subject: str, seconds: float, refused: Refused) -> list[bytes] | None:
    """What all who answer a subject say; None: it could not be asked, or the own server hangs."""
    own = _OwnServer(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(own.ask)
        answers = await _collect(client, subject, seconds, refused, own)
        nursery.cancel_scope.cancel()
    return answers if answers or own.heard else None


async def _collect(
    client: Client, subject: str, seconds: float, refused: Refused, own: _OwnServer
) -> list[bytes] | None:
    answers: list[bytes] = []
    try:
        async with client.request_many(
            subject, deadline_seconds=seconds, stall_seconds=seconds * _STALL, max_replies=_ANSWERS_MAX
        ) as replies:
            async for reply in replies:
                answers.append(bytes(reply.payload))
        if len(answers) == _ANSWERS_MAX:
            refused(subject, ProtocolError(f"there are {_ANSWERS_MAX} answers or more, of which no more are read"))
    except NoRespondersError:
        own.heard = True
    except (NatsError, trio.TooSlowError) as error:
        if not _is_silence(error):
            refused(subject, error)
        return None
    return answers

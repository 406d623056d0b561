"""What an instance of a service answers to PING, INFO and STATS (ADR-32), and to which subjects.

Must not send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from ..protocol import frozen
from ._records import Endpoint, Service

PREFIX: Final = "$SRV"
VERBS: Final = ("PING", "INFO", "STATS")
_TYPE: Final = "io.nats.micro.v1.{}_response"
_NANOSECONDS: Final = 1_000_000_000


@frozen(kw_only=True)
class Instance:
    """One instance of a service.

    Attributes:
        service: what it is one of.
        id: its own name among the instances.
        started: when it began; RFC3339, UTC.
    """

    service: Service
    id: str
    started: str

    def subjects(self) -> Iterator[tuple[str, str]]:
        """Verb and subject of every request that it answers: to all services, to those of its name, to itself."""
        for verb in VERBS:
            yield verb, f"{PREFIX}.{verb}"
            yield verb, f"{PREFIX}.{verb}.{self.service.name}"
            yield verb, f"{PREFIX}.{verb}.{self.service.name}.{self.id}"

    def answer(self, verb: str) -> bytes:
        """The answer to a verb of VERBS, as JSON."""
        fields: dict[str, Any] = {
            "type": _TYPE.format(verb.lower()),
            "name": self.service.name,
            "id": self.id,
            "version": self.service.version,
            "metadata": dict(self.service.metadata),
        }
        if verb == "INFO":
            fields["description"] = self.service.description
            fields["endpoints"] = [_information(one) for one in self.service.endpoints]
        elif verb == "STATS":
            fields["started"] = self.started
            fields["endpoints"] = [_statistics(one) for one in self.service.endpoints]
        return json.dumps(fields, separators=(",", ":")).encode()


def _named(endpoint: Endpoint) -> dict[str, Any]:
    return {"name": endpoint.name, "subject": endpoint.subject, "queue_group": endpoint.queue_group or ""}


def _information(endpoint: Endpoint) -> dict[str, Any]:
    return {**_named(endpoint), "metadata": dict(endpoint.metadata)}


def _statistics(endpoint: Endpoint) -> dict[str, Any]:
    counted = endpoint.statistics()
    processing = round(counted.seconds * _NANOSECONDS)
    fields = {
        **_named(endpoint),
        "num_requests": counted.requests,
        "num_errors": counted.errors,
        "last_error": counted.last_error,
        "processing_time": processing,
        "average_processing_time": processing // counted.requests if counted.requests else 0,
    }
    if counted.data is not None:
        fields["data"] = dict(counted.data)
    return fields

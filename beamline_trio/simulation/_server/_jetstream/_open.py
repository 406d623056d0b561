"""A running server's JetStream: what is on disk comes back, and the API answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _consumers_api, _streams_api
from ._api import API
from ._golang import SECOND
from ._service import JetStream
from ._storage import Storage

if TYPE_CHECKING:
    from .._process import Process


def open_jetstream(process: Process, storage: Storage, epoch_seconds: float) -> JetStream:
    """JetStream of a process that has just started.

    Args:
        process: of the server.
        storage: what is on disk.
        epoch_seconds: the wall clock at virtual time 0.
    """
    jetstream = JetStream(process, storage, round(epoch_seconds * SECOND))
    api = API(
        jetstream, {**_streams_api.operations(lambda: api), **_consumers_api.operations(_consumers_api.make_consumer)}
    )
    jetstream.api_counts = api.counts
    return jetstream

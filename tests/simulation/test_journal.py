"""What a journal says became of a publish, by what the application was told."""

from __future__ import annotations

import pytest

from beamline_trio import NatsError, OperationTimeoutError
from beamline_trio.jetstream import (
    APIError,
    NoStreamResponseError,
    PublishInProcessError,
    PublishUnknownError,
    is_unknown,
)
from beamline_trio.simulation import World, run


@pytest.mark.parametrize(
    "error",
    [
        OperationTimeoutError("no PubAck"),
        PublishUnknownError("s", "id", OperationTimeoutError("no PubAck")),
        PublishInProcessError(409, 10158, "duplicate message id is in process"),
        NoStreamResponseError("s", 1),
        APIError(503, 10077, "maximum messages exceeded"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_be_stored_is_unknown(error: NatsError) -> None:
    """As the client has it, and no other way: laws blame what is called failed and is there."""

    async def main(world: World) -> None:
        async def call(_: object) -> None:
            raise error

        note = await world.journal.publish_by(call, "s", publisher="p", stream="S")
        unknown = is_unknown(error) or isinstance(error, PublishUnknownError)
        assert note.fate == ("unknown" if unknown else "failed")
        assert type(error).__name__ in note.reason

    run(main, seed=1)

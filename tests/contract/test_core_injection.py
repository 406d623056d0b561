"""A spy on everything, on a server, while all calls that take text are given frames and separators.

What the client sends by itself is judged in tests/injection; here is what a server makes of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
import trio

from beamline_trio import Client, NatsError, OperationTimeoutError
from tests.injection._hostile import MARK, drawn
from tests.injection._stage import OPENERS, call
from tests.injection._surface import places

from ._server import LIMIT_SECONDS, Connect, RawConnect

TEXTS: Final = 16
PLACES: Final = [place for place in places() if place.call not in OPENERS]


async def flushed(nc: Client) -> None:
    """The server has everything; a flush may time out as everything else here may."""
    while True:
        try:
            return await nc.flush()
        except OperationTimeoutError:
            continue


def frames(data: bytes) -> Iterator[tuple[list[bytes], bytes]]:
    """The fields of each message's line, and its header block."""
    start = 0
    while start < len(data):
        end = data.index(b"\r\n", start)
        verb, *fields = data[start:end].split(b" ")
        start = end + 2
        if verb in (b"MSG", b"HMSG"):
            header = data[start : start + int(fields[-2])] if verb == b"HMSG" else b""
            yield fields, header
            start += int(fields[-1]) + 2


@pytest.mark.parametrize("owner", sorted({place.owner for place in PLACES}))
async def test_the_spy_sees_nothing_injected(owner: str, connect: Connect, raw: RawConnect) -> None:
    """Each call with each text: no subject, queue group or header is the mark, the server complains of nothing, and
    the link stays.
    """
    tried = 0  # the spy hears requests too, and answers none: each waits for its time-out
    async with raw() as spy, connect(operation_timeout_seconds=0.01) as nc:
        await spy.send(b"SUB > 1\r\n")
        await spy.sync()
        for number, place in enumerate(place for place in PLACES if place.owner == owner):
            for text in drawn(number, TEXTS):
                with trio.fail_after(LIMIT_SECONDS):
                    try:
                        await call(nc, place, text)
                    except* (NatsError, OSError, ValueError, TypeError):
                        pass
                    tried += 1
            await flushed(nc)
            seen = await spy.sync()
            for fields, header in frames(seen):
                assert MARK.encode() not in fields, (place, fields)
                assert b"\n%b:" % MARK.encode() not in header, (place, header)
        stats = nc.stats()
        assert (stats.lost, stats.server_errors) == (0, 0)
    assert tried >= TEXTS

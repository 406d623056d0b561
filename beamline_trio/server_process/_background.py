"""A nursery behind an `async with` of ours, which its user must not notice."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import trio


@contextlib.asynccontextmanager
async def open_background() -> AsyncGenerator[trio.Nursery]:
    """A nursery that is cancelled behind the block; the user's own exception leaves it bare, not in a group."""
    problem: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again below
            problem = error
        finally:
            nursery.cancel_scope.cancel()
    if problem is not None:
        raise problem

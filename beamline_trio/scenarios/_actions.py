"""How each kind of fault is carried out: a context that it lasts in.

Must not decide when.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, TypeAlias

import attrs
import trio

from ..faults import error, intermittent
from ._behaviour import Behaviour
from ._instance import Leave
from ._limits import RECOVERY_SECONDS
from ._load import Load
from ._plan import PlannedFault
from ._rig import End, Rig
from ._scenario import Kind


@attrs.frozen
class Ground:
    """What faults act on."""

    rig: Rig
    load: Load


_LOOK_SECONDS: Final = 0.1

# What it yields tells how many messages or operations it has met so far; None = it shows in other ways.
Action: TypeAlias = Callable[[Ground, PlannedFault], AbstractAsyncContextManager[Callable[[], int] | None]]


def action_of(kind: Kind) -> Action:
    """How a fault of this kind is carried out; it is healed when the context is left."""
    return _ACTIONS[kind]


# Servers


@asynccontextmanager
async def _server_away(how: End, ground: Ground, fault: PlannedFault) -> AsyncGenerator[None]:
    name = fault.target or ground.rig.servers[0]
    await ground.rig.end_server(name, how)
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await ground.rig.start_server(name)


@asynccontextmanager
async def _server_paused(ground: Ground, fault: PlannedFault) -> AsyncGenerator[None]:
    name = fault.target or ground.rig.servers[0]
    ground.rig.pause_server(name)
    try:
        yield
    finally:
        ground.rig.resume_server(name)


@asynccontextmanager
async def _quorum_lost(ground: Ground, fault: PlannedFault) -> AsyncGenerator[None]:
    """So many servers are killed that the rest can store nothing."""
    names = ground.rig.servers
    async with AsyncExitStack() as stack:
        for name in names[: len(names) // 2 + 1]:
            await stack.enter_async_context(_server_away(End.KILL, ground, attrs.evolve(fault, target=name)))
        yield


# Ways


@asynccontextmanager
async def _partitioned(ground: Ground, fault: PlannedFault) -> AsyncGenerator[None]:
    """One host cannot reach any server, nor they it."""
    host = fault.target or next(iter(ground.load.instances))
    async with ground.rig.cut([host], ground.rig.servers):
        yield


@asynccontextmanager
async def _region_cut(ground: Ground, fault: PlannedFault) -> AsyncGenerator[None]:
    async with ground.rig.cut_region(fault.target):
        yield


# Instances of the router


@asynccontextmanager
async def _instance_away(how: Leave, ground: Ground, fault: PlannedFault) -> AsyncGenerator[None]:
    instance = ground.load.instances[fault.target or next(iter(ground.load.instances))]
    others = [other for other in ground.load.instances.values() if other is not instance]
    # As whoever restarts one after another does: the next goes when those before are back. One that never is fails a
    # criterion, and must not stop the run.
    with trio.move_on_after(RECOVERY_SECONDS):
        while not all(other.ready for other in others):  # noqa: ASYNC110  # a process tells nobody
            await trio.sleep(_LOOK_SECONDS)
    async with AsyncExitStack() as stack:
        if how is Leave.KILL:
            await stack.enter_async_context(ground.rig.lose_host(instance.name))
        await instance.leave(how)
        try:
            yield
        finally:
            instance.come_back()


# Handlers


@asynccontextmanager
async def _handlers_fail(ground: Ground, fault: PlannedFault) -> AsyncGenerator[Callable[[], int]]:
    behaviour = ground.load.behaviour
    before, behaviour.fail_share = behaviour.fail_share, fault.share
    try:
        yield _more(behaviour)
    finally:
        behaviour.fail_share = before


@asynccontextmanager
async def _handlers_hang(ground: Ground, fault: PlannedFault) -> AsyncGenerator[Callable[[], int]]:
    behaviour = ground.load.behaviour
    over = behaviour.hanging = trio.Event()
    try:
        yield _more(behaviour)
    finally:
        behaviour.hanging = None
        over.set()


@asynccontextmanager
async def _acks_lost(ground: Ground, fault: PlannedFault) -> AsyncGenerator[Callable[[], int]]:
    """The server refuses a share of the acks: it never takes them, and the messages come again."""
    chance = ground.rig.random("acks")
    async with AsyncExitStack() as stack:
        dialers = ground.load.dialers.values()
        injections = [
            stack.enter_context(dialer.inject("ack", intermittent(error(), fault.share, chance))) for dialer in dialers
        ]
        yield lambda: sum(injection.hits for injection in injections)


def _more(behaviour: Behaviour) -> Callable[[], int]:
    """How many more handlers have failed or hung than until now."""
    before = behaviour.met
    return lambda: behaviour.met - before


_ACTIONS: Final[Mapping[Kind, Action]] = {
    Kind.SERVER_KILL: partial(_server_away, End.KILL),
    Kind.SERVER_STOP: partial(_server_away, End.STOP),
    Kind.SERVER_LAME_DUCK: partial(_server_away, End.LAME_DUCK),
    Kind.SERVER_PAUSE: _server_paused,
    Kind.QUORUM_LOSS: _quorum_lost,
    Kind.PARTITION: _partitioned,
    Kind.REGION_CUT: _region_cut,
    Kind.ROUTER_DRAIN: partial(_instance_away, Leave.DRAIN),
    Kind.ROUTER_KILL: partial(_instance_away, Leave.KILL),
    Kind.HANDLERS_FAIL: _handlers_fail,
    Kind.HANDLERS_HANG: _handlers_hang,
    Kind.ACKS_LOST: _acks_lost,
}

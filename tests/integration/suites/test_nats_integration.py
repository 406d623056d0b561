"""Integration, 10 cases: {decide, result, publish} x {normal, fail-open, long failure and recovery}, and no restart.

Law of them all: restarts 0, the same process id, the same tasks before and after every fault, and a ledger that adds up
at every step (`Scene.fault`). No work is lost, and none is done twice where it shows.
"""

from __future__ import annotations

import pytest
import trio

from beamline_trio import Message, Outcome, State
from tests.integration.suites._scene import Scene, until
from tests.integration.suites._workflows import open_workflow

pytestmark = pytest.mark.nats_config(jetstream=True)

# What moves when nothing goes wrong.
IN_ORDER = {
    "router_nats_publish_total",
    "router_nats_publish_with_ack_total",
    "router_nats_publish_attempts_total{success}",
    "router_nats_ack_total",
    "router_nats_subscribe_total",
    "router_nats_health_check_total{success}",
}

WORKFLOWS = pytest.mark.parametrize("workflow", ["decide", "result", "publish"])


@WORKFLOWS
async def test_normal(scene: Scene, workflow: str) -> None:
    """Nothing goes wrong: everything is done once, in order, and no counter of trouble moves."""
    async with open_workflow(scene, workflow) as (nc, flow):
        async with scene.fault(f"none: {workflow} in normal operation", nc) as fault:
            await flow.feed(0, 20)
            await flow.until_done(20)
        assert fault.codes() == []
        if flow.worker is not None:
            assert flow.worker.seen == [str(number) for number in range(20)]
            assert flow.worker.failures == []
        assert await flow.messages() == (40 if workflow == "decide" else 20)
        assert set(scene.reports[-1].metrics) <= IN_ORDER


@WORKFLOWS
async def test_fail_open(scene: Scene, workflow: str) -> None:
    """With fail-open an outage costs no call its time: what is not sent is SKIPPED, and what came in is done later."""
    async with open_workflow(scene, workflow, fail_open=True) as (nc, flow):
        await flow.feed(0, 5)
        await flow.until_done(5)
        async with scene.fault(f"server killed, {workflow} fails open", nc), trio.open_nursery() as nursery:
            await scene.nats.kill()
            await until(lambda: nc.state is State.RECONNECTING)
            nursery.start_soon(flow.feed, 5, 10)
            if workflow == "publish":
                await flow.until_done(10)
                assert nc.stats().pending_operations == 0
            else:
                await trio.sleep(0.3)
            await scene.nats.start()
            await scene.healed(nc)
        await flow.feed(10, 15)
        await flow.until_done(15)
        skipped = [number for number, outcome in flow.outcomes.items() if outcome is Outcome.SKIPPED]
        assert skipped == (["5", "6", "7", "8", "9"] if workflow == "publish" else [])
        assert await flow.messages() == {"decide": 30, "result": 15, "publish": 10}[workflow]


@WORKFLOWS
async def test_long_failure_and_recovery(scene: Scene, workflow: str) -> None:
    """The server is away for 2 s in the middle of the work: all is done when it is back, each outcome stored once."""
    async with open_workflow(scene, workflow) as (nc, flow):
        name = f"server killed for 2 s in the middle of {workflow}"
        async with scene.fault(name, nc) as fault, trio.open_nursery() as nursery:
            nursery.start_soon(flow.feed, 0, 30)
            await flow.until_done(5)
            await scene.nats.kill()
            await until(lambda: nc.state is State.RECONNECTING)
            await trio.sleep(2)
            await scene.nats.start()
            await scene.healed(nc)
            await flow.until_done(30)
        assert flow.done == {str(number) for number in range(30)}
        assert await flow.messages() == (60 if workflow == "decide" else 30)
        assert {"NATS_CONNECTION_LOST", "NATS_CONNECTION_RESTORED"} <= set(fault.codes())


async def test_a_loss_restarts_nothing(scene: Scene) -> None:
    """A program with a worker and a service loses its server twice: it is the same process with the same tasks."""

    async def echo(message: Message) -> bytes:
        return message.payload

    async with open_workflow(scene, "decide") as (nc, flow), trio.open_nursery() as nursery:
        await nursery.start(nc.serve, "echo", echo)
        for round_ in range(2):
            async with scene.fault(f"server killed under a whole program, time {round_ + 1}", nc):
                await scene.nats.kill()
                await until(lambda: nc.state is State.RECONNECTING)
                await scene.nats.start()
                await scene.healed(nc)
                await flow.feed(10 * round_, 10 * round_ + 10)
                await flow.until_done(10 * round_ + 10)
                assert (await nc.request("echo", b"there?")).payload == b"there?"
        assert nc.stats().lost == 2
        nursery.cancel_scope.cancel()

"""`beamline check` and `beamline run` on a file of routes: a process of its own, a real nats-server."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import trio

from beamline_trio import JetStream, StreamConfig, open_client
from beamline_trio.server_process import Server
from tests.integration.test_cli import beamline, curl
from tests.integration.test_dead_letters_cli import beamline as command

pytestmark = pytest.mark.server_options(jetstream=True)
LIMIT_SECONDS = 30.0
ROUTES = """
[router]
name = "prices"

[[routes]]
name = "billing"
subject = "orders.*.created"
stream = "ORDERS"
concurrency = 4
dead_letter = "dlq.orders"
retry = { delays_seconds = [0.1], ack_wait_seconds = 5 }
filter = [{ path = "payload.total", above = 0 }]
[routes.transform]
id = "{subject.2}"
total = "{payload.total}"
[routes.target]
subject = "bills.{payload.customer}"

[[routes]]
name = "echo"
subject = "echo"
[routes.target]
reply = true
"""
PLAN = """
[[faults]]
operation = "publish_with_ack"
fault = "error"
subjects = ["bills.>"]
for_seconds = 1.0
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "router.toml").write_text(ROUTES)
    (tmp_path / "plan.toml").write_text(PLAN)
    (tmp_path / "temporary").mkdir()
    return tmp_path


async def until_messages(js: JetStream, stream: str, count: int) -> None:
    with trio.fail_after(LIMIT_SECONDS):
        while (await js.stream_info(stream)).state.messages < count:  # noqa: ASYNC110  # another process stores them
            await trio.sleep(0.05)


async def test_check_then_run(directory: Path, nats_server: Server) -> None:
    """Check says what is missing until it is there; then each order becomes a bill, a dead letter, or is left out."""
    url, file = nats_server.url, str(directory / "router.toml")
    async with open_client(url) as nc:
        js = JetStream(nc)
        code, out, _ = await command("check", file, url=url)
        assert code == 1
        assert "error: route 'billing': there is no stream 'ORDERS'; create it" in out
        assert "no stream takes what it publishes to 'bills.*'" in out
        assert out.splitlines()[-1].endswith("2 routes, 3 errors, 0 warnings")
        await js.create_stream(StreamConfig(name="ORDERS", subjects=("orders.>",)))
        await js.create_stream(StreamConfig(name="DLQ", subjects=("dlq.>",)))
        await js.create_stream(StreamConfig(name="BILLS", subjects=("bills.*",), duplicate_window_seconds=1.0))
        code, out, _ = await command("check", file, url=url)
        assert (code, "set duplicate_window_seconds" in out) == (1, True)
        assert (await command("check", file, "--allow-warnings", url=url))[0] == 0
        await js.update_stream(StreamConfig(name="BILLS", subjects=("bills.*",)))
        code, out, _ = await command("check", file, url=url)
        assert (code, len(out.splitlines())) == (0, 1)

        async with beamline(directory, target="router.toml", NATS_URL=url) as run:
            port = await run.running()
            for number, order in enumerate(
                [{"total": 5, "customer": "c1"}, {"total": 0, "customer": "c2"}, {"total": 7, "customer": "a.b"}]
            ):
                await js.publish(f"orders.{number}.created", json.dumps(order).encode(), message_id=f"o{number}")
            await until_messages(js, "BILLS", 1)
            await until_messages(js, "DLQ", 1)
            stats = json.loads((await nc.request("$SRV.STATS.prices")).payload)
            assert [endpoint["name"] for endpoint in stats["endpoints"]] == ["echo"]
            assert "billing" in stats["metadata"]["route.billing"]
            assert (await nc.request("echo", b"\xff")).payload == b"\xff"
            assert await curl(port, "/readyz") == (200, "connected\n")
            run.process.send_signal(signal.SIGTERM)
            assert await run.ended() == 0
        assert "the filter of 'billing' has left out 1 messages" in run.out
        bill = await js.get_message("BILLS", sequence=1)
        assert (bill.subject, json.loads(bill.payload)) == ("bills.c1", {"id": "0", "total": 5})
        letter = await js.get_message("DLQ", sequence=1)
        assert letter.headers["Beamline-Cause"] == "rejected"
        assert "'a.b', which cannot be a token of a subject" in letter.headers["Beamline-Reason"]
        assert (await js.consumer_info("ORDERS", "billing")).num_ack_pending == 0

        # What the router wrote is what a replay reads: it goes back under a fresh id, with its own headers.
        code, out, _ = await command("dlq", "replay", "DLQ", "--cause", "token", url=url)
        assert (code, "to orders.2.created as o2.replay.1" in out) == (0, True)
        again = await js.get_message("ORDERS", sequence=4)
        assert (again.payload, again.headers.items()) == (
            b'{"total": 7, "customer": "a.b"}',
            [("Nats-Msg-Id", "o2.replay.1")],
        )


async def test_faults_meet_a_staging_system(directory: Path, nats_server: Server) -> None:
    """Refused without the word; with it they are in force for their time, and nothing is lost by them."""
    url, plan = nats_server.url, str(directory / "plan.toml")
    code, out, err = await command("run", str(directory / "router.toml"), "--faults", plan, url=url)
    assert (code, out) == (2, "")
    assert "add --accept-faults" in err
    async with open_client(url) as nc:
        js = JetStream(nc)
        await js.create_stream(StreamConfig(name="ORDERS", subjects=("orders.>",)))
        await js.create_stream(StreamConfig(name="DLQ", subjects=("dlq.>",)))
        await js.create_stream(StreamConfig(name="BILLS", subjects=("bills.*",)))
        arguments = ("--faults", "plan.toml", "--accept-faults")
        async with beamline(directory, *arguments, target="router.toml", NATS_URL=url) as run:
            await run.running()
            for number in range(5):
                await js.publish(f"orders.{number}.created", b'{"total": 1, "customer": "c"}')
            hits = int(await run.says(r"fault over, (\d+) hits"))
            await until_messages(js, "BILLS", 5)
            run.process.terminate()
            assert await run.ended() == 0
        assert hits > 0
        assert "WARNING: 1 faults are injected" in run.out
        assert (await js.stream_info("BILLS")).state.messages == 5
        assert (await js.stream_info("DLQ")).state.messages == 0


@pytest.mark.server_options(
    jetstream=False,
    config='authorization { users: [{user: u, password: x, permissions: {subscribe: {deny: "$SRV.>"}}}] }',
)
async def test_who_may_not_be_discovered_runs(directory: Path, nats_server: Server) -> None:
    """A user without `$SRV` is told so, and the routes work."""
    (directory / "router.toml").write_text(ROUTES[ROUTES.index('[[routes]]\nname = "echo"') :])
    url = nats_server.url.replace("nats://", "nats://u:x@")
    async with beamline(directory, target="router.toml", NATS_URL=url) as run:
        await run.says("not found by .SRV: ")
        await run.says("router 'router' runs")
        async with open_client(url) as nc:
            assert (await nc.request("echo", b"a")).payload == b"a"
        run.process.terminate()
        assert await run.ended() == 0


async def test_a_file_that_will_not_do(directory: Path, nats_server: Server) -> None:
    """One line that names the place in the file, and exit code 2, before anything runs."""
    file = directory / "router.toml"
    file.write_text(ROUTES.replace("above = 0", "over = 0"))
    for verb in ("check", "run"):
        code, out, err = await command(verb, str(file), url=nats_server.url)
        assert (code, out) == (2, "")
        assert err.startswith("beamline: routes[0].filter[0].over: there is no such comparison")
    file.write_text(ROUTES.replace("concurrency = 4", "concurrency = 0"))
    code, _, err = await command("check", str(file), url=nats_server.url)
    assert (code, "routes[0]: concurrency is 0" in err) == (2, True)

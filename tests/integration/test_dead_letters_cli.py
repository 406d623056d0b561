"""`beamline dlq` as its users meet it: a process of its own, a real nats-server, lines on a terminal."""

from __future__ import annotations

import json
import os
import sys

import pytest
import trio

from beamline_trio import JetStream, StreamConfig, open_client
from beamline_trio.server_process import Server

pytestmark = pytest.mark.server_options(jetstream=True)
LIMIT_SECONDS = 30.0


async def beamline(*arguments: str, url: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    environment = {**os.environ, "NATS_URL": url, "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "beamline_trio.cli", *arguments]
    with trio.fail_after(LIMIT_SECONDS):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, env=environment)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def fill(js: JetStream) -> None:
    await js.create_stream(StreamConfig(name="ORDERS", subjects=("orders.>",)))
    await js.create_stream(StreamConfig(name="DLQ", subjects=("dlq.>",)))
    for number, route in ((1, "bill"), (2, "ship"), (3, "bill")):
        headers = [
            ("Beamline-Cause", "handler_error"),
            ("Beamline-Reason", f"KeyError: \x1b[31m{number}"),
            ("Beamline-Route", route),
            ("Beamline-Subject", f"orders.{number}"),
            ("Beamline-Stream", "ORDERS"),
            ("Beamline-Sequence", str(number)),
            ("Beamline-Deliveries", "4"),
            ("Beamline-History", "1: KeyError"),
        ]
        await js.publish("dlq.orders", b'{"n": %d}' % number, headers=headers, message_id=f"d{number}")
    await js.publish("dlq.orders", b"\xff" * 5000)


async def test_list_show_and_replay(nats_server: Server) -> None:
    """Letters are listed, one is shown whole, and those that are meant are sent again; the others stay."""
    url = nats_server.url
    async with open_client(url) as nc:
        js = JetStream(nc)
        await fill(js)

        code, out, err = await beamline("dlq", "list", "DLQ", url=url)
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert len(lines) == 5
        assert "bill  orders.1  4 deliveries  8 bytes  handler_error: KeyError: " in lines[0]
        assert "no dead letter: dlq.orders" in lines[3]
        assert "\x1b" not in out  # what a sender wrote does not steer the terminal
        code, out, _ = await beamline("dlq", "list", "dlq.orders", "--limit", "1", "--route", "bill", url=url)
        assert out.splitlines()[-1] == (
            "1 dead letters of the 4 messages in DLQ; there are more: --limit, or --cause and --route"
        )
        code, out, _ = await beamline("dlq", "list", "DLQ", "--cause", "KEYERROR", "--json", url=url)
        assert [json.loads(line)["from"] for line in out.splitlines()] == [1, 2, 3]

        code, out, _ = await beamline("dlq", "show", "DLQ", "2", url=url)
        assert code == 0
        assert 'payload      {"n": 2}' in out
        assert "header       Beamline-Route: ship" in out
        code, out, _ = await beamline("dlq", "show", "DLQ", "3", "--json", url=url)
        assert (json.loads(out)["payload"], json.loads(out)["subject"]) == ('{"n": 3}', "orders.3")
        code, out, _ = await beamline("dlq", "show", "DLQ", "4", url=url)
        assert "... (5000 bytes)" in out
        code, _, err = await beamline("dlq", "show", "DLQ", "9", url=url)
        assert (code, "no dead letter 9 in DLQ" in err) == (1, True)

        code, out, _ = await beamline("dlq", "replay", "DLQ", "--route", "bill", "--dry-run", url=url)
        assert (code, out.splitlines()[-1]) == (0, "DLQ: 2 would replay")
        code, out, _ = await beamline("dlq", "replay", "DLQ", "--route", "bill", url=url)
        assert (code, out.splitlines()[-1]) == (0, "DLQ: 2 replayed")
        assert "replayed: to orders.1 as d1.replay.1" in out
        assert (await js.stream_info("DLQ")).state.messages == 2
        assert (await js.stream_info("ORDERS")).state.messages == 2

        code, out, _ = await beamline("dlq", "replay", "DLQ", "--to", "orders.again", url=url)
        assert code == 1  # the foreign message is still there
        assert out.splitlines()[-1] == "DLQ: 1 replayed, 1 no dead letter"
        code, out, _ = await beamline("dlq", "replay", "DLQ", "--route", "bill", url=url)
        assert (code, out) == (0, "DLQ: no dead letter is meant\n")


async def test_what_cannot_be_found(nats_server: Server) -> None:
    """One line on stderr, and exit code 1."""
    for place, words in (("NONE", "stream not found"), ("dlq.none", "no stream has it"), ("a/b", "must be 1 to 255")):
        code, out, err = await beamline("dlq", "list", place, url=nats_server.url)
        assert (code, out) == (1, "")
        assert words in err
        assert len(err.splitlines()) == 1
    code, _, err = await beamline("dlq", "list", "DLQ", url="nats://127.0.0.1:1")
    assert (code, "cannot connect" in err) == (1, True)

"""The feeder: a process that sends pre-built frames on a raw socket, as many as the contender asks for.

`python -m benchmarks._feeder PLAN_JSON` prints a line when it is ready, sends N messages for each "N" it
receives on GO_SUBJECT, and prints what it has sent when its stdin is closed. It sends blocks of about 64 KiB
with one `sendall` each and keeps within the window of its plan, counted in messages that the contender has
not yet returned credit for.

Where it runs: pinned to the server's core. On a 2-core machine, medians of 4 rounds, k msg/s pinned / left
free: at 16 B nats-py 306 / 222, natsio 198 / 173, a bare socket (`--ceiling`) 3376 / 2958; at 1 KiB 172 /
165, 149 / 163 and 587 / 729. Left free it is put on the contender's core part of the time and slows the one
process that is measured; pinned it costs only ceiling, at large payloads. A contender close to the ceiling is
judged by its processor time.

Must not be slower than any contender: no work per message, only per block.
"""

import json
import random
import sys
from typing import NamedTuple

from ._protocol import CREDIT_EVERY, CREDIT_SUBJECT, GO_SUBJECT, FeedPlan
from ._wire import RawConnection

BLOCK_BYTES = 64 * 1024
BLOCK_MESSAGES_MAX = CREDIT_EVERY
MIXED_SUBJECTS = 50
MIXED_PAYLOAD_BYTES = (60, 199)


class Message(NamedTuple):
    """One message to send: its frame on the wire and the size of its payload."""

    frame: bytes
    payload_bytes: int


class Block(NamedTuple):
    """Messages that are sent with one call."""

    data: bytes
    messages: int
    payload_bytes: int


def messages_of(plan: FeedPlan) -> list[Message]:
    """Return the messages of one full block; they repeat. Mixed traffic is the same in every run (fixed
    seed).
    """
    if plan.mixed:
        rng = random.Random(50)
        sizes = [rng.randint(*MIXED_PAYLOAD_BYTES) for _ in range(BLOCK_MESSAGES_MAX)]
        subjects = [f"bench.mixed.site{i % 7}.sensor{i}" for i in range(MIXED_SUBJECTS)]
        return [_message(rng.choice(subjects), size) for size in sizes]
    message = _message(plan.subject, plan.payload_bytes)
    return [message] * max(1, min(BLOCK_MESSAGES_MAX, BLOCK_BYTES // len(message.frame)))


def _message(subject: str, payload_bytes: int) -> Message:
    frame = b"PUB %b %d\r\n%b\r\n" % (subject.encode(), payload_bytes, b"x" * payload_bytes)
    return Message(frame, payload_bytes)


def block_of(messages: list[Message]) -> Block:
    """Join messages into one block."""
    return Block(b"".join(m.frame for m in messages), len(messages), sum(m.payload_bytes for m in messages))


def window_of(plan: FeedPlan, block: Block) -> int:
    """Return how many messages may be outstanding: the smaller of the plan's two bounds, never less than
    progress needs.
    """
    mean_bytes = max(1, block.payload_bytes // block.messages)
    window = min(plan.window_messages, plan.window_bytes // mean_bytes)
    return max(window, block.messages + CREDIT_EVERY)


class Feeder:
    """Sends on demand and within the window."""

    def __init__(self, connection: RawConnection, plan: FeedPlan) -> None:
        self._connection = connection
        self._messages = messages_of(plan)
        self._block = block_of(self._messages)
        self._window = window_of(plan, self._block)
        self._target = 0
        self._credited = 0
        self.sent = 0
        self.sent_bytes = 0

    def run(self, stop_fd: int) -> None:
        """Feed until `stop_fd` can be read (the runner closed it)."""
        while True:
            block = self._next_block()
            if self._connection.readable(0 if block else None, stop_fd):
                self._take_signals()
            elif not block:
                return
            if block:
                self._connection.socket.sendall(block.data)
                self.sent += block.messages
                self.sent_bytes += block.payload_bytes

    def _next_block(self) -> Block | None:
        missing = self._target - self.sent
        if missing <= 0:
            return None
        block = self._block if missing >= self._block.messages else block_of(self._messages[:missing])
        return block if self.sent - self._credited + block.messages <= self._window else None

    def _take_signals(self) -> None:
        for frame in self._connection.receive():
            if frame.subject == CREDIT_SUBJECT.encode():
                self._credited += CREDIT_EVERY
            else:
                self._target += int(frame.payload)


def main() -> None:
    plan = FeedPlan.from_json(sys.argv[1])
    connection = RawConnection(plan.url)
    connection.greet()
    connection.subscribe(GO_SUBJECT, CREDIT_SUBJECT)
    print(json.dumps({"event": "ready"}), flush=True)
    feeder = Feeder(connection, plan)
    feeder.run(sys.stdin.fileno())
    print(json.dumps({"sent": feeder.sent, "sent_bytes": feeder.sent_bytes}), flush=True)
    connection.close()


if __name__ == "__main__":
    main()

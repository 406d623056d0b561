"""No client at all: a bare socket that sends pre-built frames and counts what arrives (`--ceiling`).

It shows what the server, the feeder and the window allow on this machine; a contender close to it is no
longer what limits its row. Must not be compared with the clients: it neither parses nor dispatches.
"""

from collections.abc import Callable

from benchmarks._feeder import block_of, messages_of
from benchmarks._protocol import CREDIT_EVERY, CREDIT_SUBJECT, GO_SUBJECT, FeedPlan, Params
from benchmarks._wire import RawConnection

from ._common import Result, Stopwatch, main, throughput


def _connect(params: Params) -> RawConnection:
    connection = RawConnection(params.url, params.deadline_seconds)
    connection.greet()
    return connection


def publish(params: Params) -> Result:
    connection = _connect(params)
    plan = FeedPlan(params.url, subject=params.subject, payload_bytes=params.payload_bytes)
    block = block_of(messages_of(plan))
    blocks = params.messages // block.messages
    watch = Stopwatch()
    for _ in range(blocks):
        connection.socket.sendall(block.data)
    connection.flush()
    sent = blocks * block.messages
    return throughput(sent, watch.read(), published=sent)


def subscribe(params: Params) -> Result:
    connection = _connect(params)
    connection.subscribe(params.subject)
    credit = b"PUB %b 0\r\n\r\n" % CREDIT_SUBJECT.encode()

    def take(messages: int) -> None:
        """Count frames by their first bytes; a number of bytes is carried over in which one may begin."""
        count, credited, carry = 0, 0, b""
        connection.socket.sendall(b"PUB %b %d\r\n%d\r\n" % (GO_SUBJECT.encode(), len(str(messages)), messages))
        while count < messages:
            data = carry + connection.socket.recv(1 << 16)
            count += data.count(b"MSG ")
            carry = data[-3:]
            while count - credited >= CREDIT_EVERY:
                credited += CREDIT_EVERY
                connection.socket.sendall(credit)

    take(params.warmup_messages)
    watch = Stopwatch()
    take(params.messages)
    elapsed = watch.read()
    # Bytes are not counted: the marker's own count is all this contender checks.
    return throughput(params.messages, elapsed, received=params.messages + params.warmup_messages)


def run(workload: Callable[[Params], Result], params: Params) -> Result:
    return workload(params)


WORKLOADS = {"publish": publish, "subscribe": subscribe}

if __name__ == "__main__":
    main("raw-socket", WORKLOADS, run)

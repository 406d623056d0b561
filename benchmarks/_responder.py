"""The responder of the request rows: a process that echoes every request on a raw socket, the same for all
contenders.

`python -m benchmarks._responder URL` prints a line when its subscription is in force and ends when its stdin
is closed. It answers everything that one read brought with one `sendall`, so that it is never slower than the
server before it. It runs on the server's core, for the reason that `_feeder` gives.
"""

import json
import sys

from ._protocol import ECHO_SUBJECT
from ._wire import RawConnection


def respond(connection: RawConnection, stop_fd: int) -> int:
    """Answer requests until `stop_fd` can be read; returns how many were answered."""
    answered = 0
    while connection.readable(None, stop_fd):
        replies = [b"PUB %b %d\r\n%b\r\n" % (f.reply, len(f.payload), f.payload) for f in connection.receive()]
        if replies:
            connection.socket.sendall(b"".join(replies))
            answered += len(replies)
    return answered


def main() -> None:
    connection = RawConnection(sys.argv[1])
    connection.greet()
    connection.subscribe(ECHO_SUBJECT)
    print(json.dumps({"event": "ready"}), flush=True)
    print(json.dumps({"answered": respond(connection, sys.stdin.fileno())}), flush=True)
    connection.close()


if __name__ == "__main__":
    main()

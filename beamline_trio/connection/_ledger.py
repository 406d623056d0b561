"""The account of a client's publishes. It adds up at every moment.

`accepted` is counted where a publish is taken in, the rest where it ends, so that the sum is a check and not a
definition.
"""

from __future__ import annotations

from ..protocol import frozen


@frozen(kw_only=True)
class Ledger:
    """What became of every publish the client accepted (requests and replies are publishes too).

    accepted = open + confirmed + failed + expired + dropped + unknown

    Attributes:
        accepted: taken in, sent or queued. What was withdrawn by a cancellation before it was written is not.
        open: waiting for a connection, for the writer, or for the server's confirmation.
        confirmed: the server had it: it answered it, as a request or a publish to a stream, or something that was
            written behind it on the same link, such as a PING.
        failed: the server refused it.
        expired: it waited longer than the pending timeout.
        dropped: it was still waiting when the client closed, or is larger than what the server of a new link takes.
        unknown: it was written to a link that died before its confirmation.
        skipped: never accepted, because the client fails open.
    """

    accepted: int
    open: int
    confirmed: int
    failed: int
    expired: int
    dropped: int
    unknown: int
    skipped: int

    @property
    def balanced(self) -> bool:
        """Whether it adds up."""
        return self.accepted == (self.open + self.confirmed + self.failed + self.expired + self.dropped + self.unknown)

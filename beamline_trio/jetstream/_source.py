"""What all messages of one consumer share: how it acks, and where acks go.

Must not pull.
"""

from __future__ import annotations

import logging

import trio

from ..protocol import decode_subject
from ._attachment import Attachment
from ._consumer_records import ConsumerConfig
from ._metadata import deliveries_of


class Source:
    """A consumer as its messages know it.

    Attributes:
        attachment: of the client.
        acks: the client's acks.
        no_ack: the consumer wants none.
        ack_wait_seconds: how long it waits for one.
    """

    def __init__(self, attachment: Attachment, config: ConsumerConfig) -> None:
        self.attachment = attachment
        self.acks = attachment.acks
        self._log = attachment.log
        self.no_ack = config.ack_policy == "none"
        self.ack_wait_seconds = config.ack_wait_seconds if config.ack_wait_seconds is not None else 30.0
        self._max_deliver = config.max_deliver if config.max_deliver is not None else -1

    def nak(self, reply: bytes, body: bytes, received_at: float) -> None:
        """Send a nak, or drop it where there is no link."""
        self.acks.put_naks([reply], body, received_at + self.ack_wait_seconds)

    def give_back(self, replies: list[bytes]) -> None:
        """Nobody will take these messages: somebody else should have them at once."""
        if self.no_ack or not replies:
            return
        now = trio.current_time()
        self.acks.put_naks(replies, b"-NAK", now + self.ack_wait_seconds)
        for reply in replies:
            self.count_redelivery("backpressure", reply)

    def count_redelivery(self, reason: str, reply: bytes) -> None:
        """A message was asked to come again, which on its last delivery it will not."""
        counters = self.attachment.counters
        counters.redeliveries[reason] += 1
        if self._max_deliver > 0 and deliveries_of(reply) >= self._max_deliver:
            counters.max_deliver_exhausted[reason] += 1

    def tell_ack_error(self, reply: bytes, reason: str) -> None:
        """A double ack failed."""
        self.attachment.counters.ack_failures[reason] += 1
        self.attachment.counters.redeliveries["ack_error"] += 1
        self._log(logging.WARNING, "NATS_ACK_ERROR", subject=decode_subject(reply), count=1, reason=reason)

    def warn(self, target: bytes, reason: str) -> None:
        """Something about a pull that is not as it should be, and ends nothing."""
        self._log(logging.WARNING, "NATS_PULL_WARNING", subject=decode_subject(target), reason=reason)

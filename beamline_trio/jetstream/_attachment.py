"""What JetStream keeps for one client, whatever the number of JetStream objects on it: counters and the encoder.

Found in `Client.attachments`, made when it is first asked for. Must not send.
"""

from __future__ import annotations

from typing import Final

import trio

from ..client import Client, PublishEncoder
from ._acks import AckBook
from ._statistics import JetStreamCounters, JetStreamStatistics

_NAME: Final = "jetstream"


class Attachment:
    """JetStream's own of one client.

    Attributes:
        counters: see JetStreamStatistics.
        encoder: checks subjects and payloads, and remembers subjects that were checked.
        acks: the acks on their way.
        clock: of the run that the client lives in, for those who ask from outside of it.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.log = client.connection.log
        self.clock = trio.lowlevel.current_clock()
        self.counters = JetStreamCounters()
        self.encoder = PublishEncoder(client.connection)
        self.acks = AckBook(self)
        client.connection.followers.append(self.acks)
        self._inboxes = 0

    def new_inbox(self) -> bytes:
        """The beginning of reply subjects that nobody else of this client has, with the dot at its end."""
        self._inboxes += 1
        return b"%bj.%d." % (self.client.connection.inbox.prefix, self._inboxes)


def attachment_of(client: Client) -> Attachment:
    """JetStream's own of a client, made when there is none.

    Raises:
        TypeError: it is no client.
    """
    if not isinstance(client, Client):
        raise TypeError(f"a client of open_client() is needed, not {type(client).__name__}")
    found = client.attachments.get(_NAME)
    if not isinstance(found, Attachment):
        found = client.attachments[_NAME] = Attachment(client)
    return found


def unconfirmed_acks(client: Client) -> int:
    """Acks of which it is not known whether the server has them: no PONG has covered them, or they wait for a link."""
    found = client.attachments.get(_NAME)
    return found.acks.unconfirmed if isinstance(found, Attachment) else 0


def statistics_of(client: Client) -> JetStreamStatistics:
    """A client's JetStream counters at this moment; zeros when JetStream was not used. Any thread may ask."""
    found = client.attachments.get(_NAME)
    if not isinstance(found, Attachment):
        return JetStreamCounters().snapshot(0, 0)
    return found.counters.snapshot(*found.acks.pending(found.clock.current_time()))

"""The times and limits of a group, those of nats-server 2.15 (raft.go).

Must not know what they are used for.
"""

from __future__ import annotations

from typing import Final

HEARTBEAT_SECONDS: Final = 1.0
# Without a word of a leader for so long, drawn anew each time, a member wants to lead.
ELECTION_SECONDS: Final = (4.0, 9.0)
# The same, for the first leader of a new group, and for who is asked for a vote by a member that lacks entries.
CAMPAIGN_SECONDS: Final = (0.1, 0.8)
# Without a word of a majority for so long, looked at so often, a leader steps down.
LOST_QUORUM_SECONDS: Final = 10.0
# A peer was heard of so lately that it can be handed the lead.
CURRENT_SECONDS: Final = 3.0
# What may be under way to one peer: entries, and bytes of one message.
UNDER_WAY_MAX: Final = 1024
APPEND_BYTES_MAX: Final = 262_144
SNAPSHOT_CHUNK_BYTES: Final = 131_072
# More entries than these are not kept once they are applied: who lacks older ones gets a snapshot.
LOG_MAX: Final = 8192

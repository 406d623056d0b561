"""A replicated log as nats-server's groups keep one: terms, elections, appends, a majority's commit, and catching up.

    Raft (of one member) --Message--> its peers          Files: what the member has on disk
        |- Log: entries behind a snapshot                Surroundings: time, sends, disk and state machine, given in

Pure: no member knows a clock, a network or what the entries mean; each call does what there is to do and returns.
"""

from ._files import Files as Files
from ._log import Entry as Entry
from ._log import Log as Log
from ._messages import Message as Message
from ._messages import decode as decode
from ._messages import encode as encode
from ._numbers import HEARTBEAT_SECONDS as HEARTBEAT_SECONDS
from ._numbers import LOST_QUORUM_SECONDS as LOST_QUORUM_SECONDS
from ._raft import Raft as Raft
from ._raft import Role as Role
from ._surroundings import Surroundings as Surroundings

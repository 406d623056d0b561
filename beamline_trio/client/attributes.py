"""The typed attributes of a client beside anyio's own: `nc.extra(ServerAttribute.server_id)`.

No part of the package's export list, since it needs anyio.
"""

from ._attributes import ServerAttribute as ServerAttribute

"""A real nats-server as a child process: find it, start it, wait for it, pause it, kill it.

    from beamline_trio.server_process import open_server

    async with open_server(jetstream=True) as server:
        ...                       # connect to server.url
        server.kill()             # SIGKILL, as a crash would
        await server.wait_exit()
        await server.start()      # the same port, the same store

It stands beside the client's path and knows nothing of it: what it says about a server comes from the
operating system and from the server itself, so that tests may judge the client by it.

POSIX only (SIGSTOP, SIGHUP and process groups have no equal on Windows), and in real time only: processes do
not run on trio's MockClock.
"""

from ._errors import ServerNotFoundError as ServerNotFoundError
from ._errors import ServerNotRunningError as ServerNotRunningError
from ._errors import ServerProcessError as ServerProcessError
from ._errors import ServerStartError as ServerStartError
from ._find import find_nats_server as find_nats_server
from ._open import open_server as open_server
from ._options import ServerOptions as ServerOptions
from ._process import Server as Server

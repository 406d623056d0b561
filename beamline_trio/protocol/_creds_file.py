"""The text of a credentials file: a user's JWT, and the seed that goes with it, between lines of dashes.

The first block is the JWT, the second, which a bearer token has not, the seed. Text outside the blocks and either kind
of line end are allowed. A file that is nothing but a JWT will do.

Must not read files, and must raise nothing while it holds a seed: a traceback that shows locals would show it.
"""

from __future__ import annotations

import re
from typing import Final

from ._nkeys import is_seed, wipe
from ._secret import Secret

_BLOCK: Final = re.compile(rb"-{3,}[^\r\n]*\r?\n\s*([\w.=-]+)\s*?\r?\n\s*-{3,}[^\r\n]*(?:\r?\n|\Z)")
_JWT: Final = re.compile(rb"\s*([\w=-]+\.[\w=-]+\.[\w=-]+)\s*")


def parse_creds(data: bytearray) -> tuple[Secret, bytearray | None] | None:
    """The JWT, and the text of the user's seed (for the caller to wipe) or None; None when it is no such file."""
    blocks = list(_BLOCK.finditer(data))
    jwt = _JWT.fullmatch(data) if not blocks else _JWT.fullmatch(data, *blocks[0].span(1))
    if jwt is None:
        return None
    token = Secret(jwt[1].decode("ascii"))
    if len(blocks) < 2:
        return token, None
    seed = data[slice(*blocks[1].span(1))]
    if is_seed(seed):
        return token, seed
    wipe(seed)
    return None

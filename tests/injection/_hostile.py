"""Text that wants to be more than it is: line ends, blanks, NUL, what other tongues part words and lines by, and what
becomes one of these when it is encoded carelessly; between them whole operations.

Must not know what it is given to.
"""

from __future__ import annotations

import random
from typing import Final

from hypothesis import strategies as st

# What an injected frame publishes to: a spy that sees it has seen an injection.
MARK: Final = "INJECTED"
FRAMES: Final = (
    f"\r\nPUB {MARK} 0\r\n\r\n",
    f"\nPUB {MARK} 0\r\n\r\n",
    f" 0\r\n\r\nPUB {MARK} 0\r\n\r\n",
    f" 1\r\nx\r\nPUB {MARK} 0\r\n\r\n",
    f"\r\n\r\n\r\nPUB {MARK} 0\r\n\r\n",
    f"\r\nHPUB {MARK} 12 12\r\nNATS/1.0\r\n\r\n\r\n",
    f"\r\nSUB {MARK} 66\r\n",
    f"\r\n{MARK}: value\r\n",
    f" {MARK}",
    f"\t{MARK} 66",
    "\r\nUNSUB 1\r\n",
    "\r\nCONNECT {}\r\n",
    "\r\n-ERR 'x'\r\n",
    '","injected":"1',
    '"}\r\nPING\r\n',
)
SEPARATORS: Final = (
    *("\r", "\n", "\r\n", " ", "\t", "\0", "\v", "\f"),
    *("\x1c", "\x1d", "\x1e", "\x1f", "\x7f", "\x85", "\xa0", "\u1680", "\u2000", "\u200b", "\u2028", "\u2029"),
    *(
        "\u202f",
        "\u3000",
        "\ufeff",
        "\u010a",
        "\u010d",
        "\u0120",
        "\u0d0a",
        "\uff0e",
    ),  # the low bytes of some are CR LF
    *("\ud800", "\udc0a", "\udc0d", "\udcff", "\U0001f600"),
)
PLAIN: Final = ("a", "b.c", ".", "..", "*", ">", "a.*", "$JS", "%0d%0a", "\\r\\n", ":", '"', "'", "{", "/", "0")

_pieces: Final = st.sampled_from(FRAMES) | st.sampled_from(SEPARATORS) | st.sampled_from(PLAIN) | st.text(max_size=4)
texts: Final = st.lists(_pieces, min_size=1, max_size=5).map("".join)


def drawn(seed: int, count: int) -> list[str]:
    """So many texts, always the same ones: each frame and separator alone and inside, and mixtures."""
    rng = random.Random(seed)
    alone = [form.format(piece) for piece in (*FRAMES, *SEPARATORS) for form in ("{}", "a{}", "a{}b")]
    pieces = FRAMES + SEPARATORS + PLAIN
    mixed = ["".join(rng.choices(pieces, k=rng.randrange(1, 5))) for _ in range(count)]
    return rng.sample(alone, k=min(len(alone), count)) + mixed

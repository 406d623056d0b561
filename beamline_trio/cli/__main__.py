"""`python -m beamline_trio.cli` is `beamline`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())

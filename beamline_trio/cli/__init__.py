"""The command `beamline`. Its libraries are those of the extra [cli]; without them it says so."""

from ._main import main as main

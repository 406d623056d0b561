"""`beamline demo`: messages through a router while its server is killed, and an account of every one of them."""

from ._command import demo_command as demo_command

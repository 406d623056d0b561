"""Side-by-side measurements of beamline_trio and the other Python NATS clients on one real nats-server.

`python -m benchmarks` runs them; `python -m benchmarks --list` names the rows. Nothing in the library imports
this package, and nothing here is installed with it.
"""

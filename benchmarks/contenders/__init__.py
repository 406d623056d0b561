"""One module per client; each is a program of its own: `python -m benchmarks.contenders.X WORKLOAD
PARAMS_JSON`.
"""

"""The Python reference engine: a compute node of the same contract as the Julia one.

`model` holds the mathematics (docs/compute/dispatch.md), `solve` the way to HiGHS, `kinds` the
table from a task's kind to its function, and `serve` the processes: one front that talks and never
computes, and workers that compute and never talk to anyone but the front.
"""

"""The command line `gridpact`: the embedded platform, the demo, and single tasks.

Standard output carries results only; progress and errors go to standard error. Exit codes: 0 it
worked, 1 it failed, 2 it was asked for wrongly, 130 it was interrupted.
"""

"""The embedded platform: PostgreSQL, Redis and Gridpact's own processes under one state folder.

`commands` is what the command line calls, `running` what other Python code calls. Read
`table` first: it lists the processes. `supervisor` runs any such table, `keeper` makes sure that
nothing outlives it, `state` is what lies in the folder.
"""

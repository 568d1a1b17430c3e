"""The fault harness: `make faults`, docs/reliability.md.

`table` lists the faults and what each must leave unharmed; `injections/` fires them, each only when
it hits for certain. `stage` is a running platform with everything that can be done to it, `wire`
the faulty network in it. `clients` are its users, whose `history` the `checker` judges: it knows
nothing of the platform but what they were told. `run` plays one fault, `report` adds the seeds up.
"""

"""The schedule of a site: docs/compute/dispatch.md as a program, its plan, its prices and reasons.

`site` holds what is known; each asset's module adds its part to the program; `formulation` joins
them; `search` finds the plan, `conflict` what must give way where there is none; `plan` reads the
schedule; `values` and `reasons` explain it.
"""

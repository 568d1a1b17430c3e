"""Writes a network of `pandapower.networks` as the JSON file that pandapower saves.

bench/.venv/bin/python -m bench.compute.peers.networks case118 NETWORK.json
"""

from __future__ import annotations

import sys

import pandapower

from bench.compute.peers.pandapower_flow import case_of


def main() -> None:
    name, target = sys.argv[1:]
    pandapower.to_json(case_of(name), target)


if __name__ == "__main__":
    main()

"""``python -m gridpact.codegen`` writes every generated file; ``--check`` only compares."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gridpact.codegen import check, stale
from gridpact.codegen.documents import ContractFault, Contracts
from gridpact.codegen.generate import generate
from gridpact.codegen.model import Model


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gridpact.codegen", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail on stale files and on faults"
    )
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository")
    options = parser.parse_args()
    contracts = Contracts(options.root / "contracts")
    try:
        files = generate(contracts)
        if not options.check:
            for line in stale.write(files, options.root):
                print(line)
            return 0
        found = [*stale.stale(files, options.root), *check.faults(contracts, Model(contracts))]
    except ContractFault as fault:
        found = [str(fault)]
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

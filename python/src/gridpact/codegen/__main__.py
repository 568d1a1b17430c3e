"""``python -m gridpact.codegen`` writes every generated file; ``--check`` only compares."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gridpact.codegen.documents import ContractFault, Contracts
from gridpact.codegen.generate import generate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gridpact.codegen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when stale")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository")
    options = parser.parse_args()
    try:
        files = generate(Contracts(options.root / "contracts"))
    except ContractFault as fault:
        print(fault, file=sys.stderr)
        return 1
    for path, text in files.items():
        target = options.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != text:
            target.write_bytes(text)
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m gridpact.services [NAME …]`: serves the named gRPC services, by default all."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from gridpact.kit.process import run_process
from gridpact.services.bootstrap import SERVICES, HostSettings, serving_services


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gridpact.services")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(SERVICES)}")
    names = parser.parse_args().names or SERVICES
    for name in names:
        if name not in SERVICES:
            parser.error(f"{name} is none of {', '.join(SERVICES)}")
    return run_process("services", HostSettings, partial(serving_services, names))


if __name__ == "__main__":
    sys.exit(main())

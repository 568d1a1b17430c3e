"""`python -m gridpact.migrations`: upgrades the database of GRIDPACT_DATABASE_URL."""

from __future__ import annotations

import os
import sys

from gridpact.migrations import upgrade


def main() -> int:
    database_url = os.environ.get("GRIDPACT_DATABASE_URL", "")
    if not database_url:
        print("GRIDPACT_DATABASE_URL is not set", file=sys.stderr)  # noqa: T201
        return 2
    upgrade(database_url)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Brings the database schema up to date: `alembic upgrade head`, as a step of the platform.

python -m gridpact.platform.migrate
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config


def main() -> None:
    configuration = Config()
    configuration.set_main_option("script_location", "gridpact:migrations")
    command.upgrade(configuration, "head")


if __name__ == "__main__":
    main()

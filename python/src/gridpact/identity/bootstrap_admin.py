"""``python -m gridpact.identity.bootstrap_admin``: makes the first organisation and its admin.

Reads GRIDPACT_DATABASE_URL, GRIDPACT_ADMIN_EMAIL, GRIDPACT_ADMIN_PASSWORD and, if it is set,
GRIDPACT_ADMIN_ORGANISATION. Does nothing when there is an account of that address.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field

from gridpact.identity.domain import canonical_email
from gridpact.identity.passwords import Argon2Passwords
from gridpact.identity.repository import UserRepository
from gridpact.kit.caller import Role
from gridpact.kit.database import Database
from gridpact.kit.log import Log, configure_logging
from gridpact.kit.settings import SettingsError, read_settings

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The first administrator."""

    database_url: str = field(repr=False)
    admin_email: str
    admin_password: str = field(repr=False)
    admin_organisation: str = "Gridpact"
    log_level: str = "info"


async def bootstrap_admin(settings: AdminSettings) -> bool:
    """Whether the account was made; False when it was there."""
    async with Database(settings.database_url).opened() as database:
        password_hash = await Argon2Passwords().hash(settings.admin_password)
        return await UserRepository(database).create(
            settings.admin_organisation,
            canonical_email(settings.admin_email),
            Role.ADMIN,
            password_hash,
        )


def main() -> int:
    try:
        settings = read_settings(AdminSettings)
        configure_logging("first-admin", settings.log_level)
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"first-admin: {error}\n")
        return 2
    created = asyncio.run(bootstrap_admin(settings))
    log.info("admin-created" if created else "admin-exists", email=settings.admin_email)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The process of the gRPC services with people who may call it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from gridpact.identity.passwords import Argon2Passwords
from gridpact.identity.repository import UserRepository
from gridpact.kit.caller import Role
from gridpact.kit.database import Database
from gridpact.kit.settings import Address
from tests.running import free_address, running

PASSWORD = "correct horse battery staple"
BRIDGE_SECRET = "only-for-tests"

# Who has an account: one of each role in one organisation, and an admin of another one.
ROLES: Mapping[str, Role] = {
    **{role.word: role for role in Role if role is not Role.SERVICE},
    "stranger": Role.ADMIN,
}


@dataclass(frozen=True, slots=True)
class Services:
    """Where the services and their stores are."""

    address: Address
    database_url: str
    redis_url: str


def email(name: str) -> str:
    """The address of an account of ROLES; the password of all is PASSWORD."""
    return f"{name}@example.org"


@contextmanager
def running_services(database_url: str, redis_url: str) -> Iterator[Services]:
    """Runs ``python -m gridpact.services`` on these stores, with the accounts of ROLES."""
    asyncio.run(_create_accounts(database_url))
    services = Services(free_address(), database_url, redis_url)
    settings = {
        "GRIDPACT_DATABASE_URL": database_url,
        "GRIDPACT_REDIS_URL": redis_url,
        "GRIDPACT_RPC_ADDRESS": str(services.address),
        "GRIDPACT_BRIDGE_SECRET": BRIDGE_SECRET,
    }
    with running([sys.executable, "-m", "gridpact.services"], settings):
        yield services


async def _create_accounts(database_url: str) -> None:
    password_hash = await Argon2Passwords().hash(PASSWORD)
    async with Database(database_url).opened() as database:
        users = UserRepository(database)
        for name, role in ROLES.items():
            organisation = "Elsewhere" if name == "stranger" else "Lindenhof"
            await users.create(organisation, email(name), role, password_hash)

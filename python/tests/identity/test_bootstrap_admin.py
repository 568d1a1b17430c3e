from __future__ import annotations

from gridpact.identity.bootstrap_admin import AdminSettings, bootstrap_admin
from gridpact.identity.passwords import Argon2Passwords
from gridpact.identity.repository import UserRepository
from gridpact.kit.caller import Role
from gridpact.kit.database import Database


async def test_makes_the_first_admin_once(database_url: str) -> None:
    settings = AdminSettings(database_url, "Admin@Example.org", "first", "Lindenhof")
    assert await bootstrap_admin(settings)
    again = AdminSettings(database_url, "admin@example.org", "second", "Lindenhof")
    assert not await bootstrap_admin(again)
    async with Database(database_url).opened() as database:
        user = await UserRepository(database).by_email("admin@example.org")
    assert user is not None
    assert user.role is Role.ADMIN
    assert await Argon2Passwords().matches(user.password_hash, "first")


def test_the_password_is_not_in_its_text() -> None:
    settings = AdminSettings("postgresql://u:secret@h/d", "a@b", "secret")
    assert "secret" not in repr(settings)

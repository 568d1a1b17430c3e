"""What the use cases need from the world."""

from __future__ import annotations

from typing import Protocol

from gridpact.identity.domain import AuditEntry, OpenSession, RefreshToken, Rotation, User
from gridpact.kit.tokens import PublicKey


class Users(Protocol):
    """The accounts."""

    async def by_email(self, email: str) -> User | None: ...

    async def by_id(self, user_id: str) -> User | None: ...


class Audit(Protocol):
    """The record of who did what."""

    async def record(self, entry: AuditEntry) -> None: ...


class Sessions(Protocol):
    """The open sessions and the generation of the refresh token that is good."""

    async def open(self, session: OpenSession, lifetime_s: int) -> None:
        """Opens a session whose refresh token of generation 1 is good."""
        ...

    async def find(self, session_id: str) -> OpenSession | None:
        """The session, if it is open."""
        ...

    async def rotate(self, token: RefreshToken) -> Rotation:
        """Makes the next generation the good one, if this one is; a REUSED token's session ends.

        Of several calls with the same token only one renews.
        """
        ...

    async def close(self, session_id: str) -> None: ...


class Failures(Protocol):
    """The failed log ins of each e-mail address."""

    async def seconds_to_wait(self, email: str) -> int:
        """0 when another try is allowed."""
        ...

    async def add(self, email: str) -> None: ...

    async def forget(self, email: str) -> None: ...


class Passwords(Protocol):
    """The password hash."""

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether this is the password; takes as long when there is no hash to compare with."""
        ...


class Signer(Protocol):
    """Makes tokens."""

    def access_token(self, claims: dict[str, object]) -> str:
        """The signed token of these claims."""
        ...

    def refresh_token(self, token: RefreshToken) -> str: ...

    def opened(self, text: str) -> RefreshToken | None:
        """The refresh token, if it is one of ours."""
        ...

    def public_keys(self) -> list[PublicKey]: ...


class Revocation(Protocol):
    """Ends sessions before their access tokens expire."""

    async def revoke(self, session_id: str, until: float) -> None: ...

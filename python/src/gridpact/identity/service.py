"""The use cases of identity."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

from gridpact.contracts.errors import Reason
from gridpact.identity.domain import (
    SERVICES,
    SESSION_LIFETIME_S,
    Action,
    AuditEntry,
    OpenSession,
    RefreshToken,
    Rotation,
    User,
    canonical_email,
)
from gridpact.identity.ports import Audit, Failures, Passwords, Revocation, Sessions, Signer, Users
from gridpact.kit.caller import Caller, Role
from gridpact.kit.errors import GridpactError
from gridpact.kit.identifiers import new_identifier
from gridpact.kit.tokens import AUDIENCE, ISSUER, LIFETIME_S, PublicKey

# Hashing a password takes 64 MiB and a core: more at once would not be faster.
_HASHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a session's owner gets."""

    access_token: str
    expires_in_s: int
    refresh_token: str


@dataclass(frozen=True, slots=True)
class Stores:
    """Where identity keeps things."""

    users: Users
    sessions: Sessions
    failures: Failures
    audit: Audit
    revocation: Revocation


class IdentityService:
    """Log in and out, refresh, keys, service tokens."""

    def __init__(
        self,
        stores: Stores,
        passwords: Passwords,
        signer: Signer,
        bridge_secret: str,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._passwords = passwords
        self._signer = signer
        self._bridge_secret = bridge_secret.encode()
        self._now = now
        self._checking = asyncio.Semaphore(_HASHES_AT_ONCE)

    async def log_in(self, email: str, password: str, remote_address: str) -> TokenPair:
        """Opens a session. CREDENTIALS_WRONG, TOO_MANY_ATTEMPTS."""
        email = canonical_email(email)
        user = await self._recognised(email, password)
        if user is None:
            await self._stores.audit.record(
                AuditEntry(Action.LOG_IN_REFUSED, subject=email, remote_address=remote_address)
            )
            raise GridpactError(Reason.CREDENTIALS_WRONG, "e-mail or password is wrong")
        session = OpenSession(new_identifier(), user.user_id)
        await self._stores.sessions.open(session, SESSION_LIFETIME_S)
        await self._audit(Action.LOGGED_IN, user, session, remote_address)
        return self._pair(user, RefreshToken(session.session_id, 1))

    async def refresh_session(self, text: str) -> TokenPair:
        """Exchanges a refresh token for a new pair. REFRESH_TOKEN_INVALID.

        A token that was used before ends its session: either its owner or a thief has a copy.
        """
        token = self._signer.opened(text)
        session = await self._stores.sessions.find(token.session_id) if token else None
        user = await self._stores.users.by_id(session.user_id) if session else None
        if token is None or session is None or user is None:
            raise _refresh_token_invalid()
        if user.disabled:
            await self._end(session.session_id)
            raise _refresh_token_invalid()
        # Last of all: a caller whose token was exchanged must get the new one.
        rotation = await self._stores.sessions.rotate(token)
        if rotation is Rotation.REUSED:
            await self._end(session.session_id)
            await self._audit(Action.REFRESH_TOKEN_REUSED, user, session)
        if rotation is not Rotation.RENEWED:
            raise _refresh_token_invalid()
        return self._pair(user, RefreshToken(token.session_id, token.generation + 1))

    async def log_out(self, text: str) -> None:
        """Ends the session of a refresh token; does nothing for what is none."""
        token = self._signer.opened(text)
        if token is None:
            return
        session = await self._stores.sessions.find(token.session_id)
        await self._end(token.session_id)
        if session is not None:
            user = await self._stores.users.by_id(session.user_id)
            await self._audit(Action.LOGGED_OUT, user, session)

    async def current_user(self, caller: Caller) -> User:
        """The account of a caller; TOKEN_INVALID when it is gone or disabled."""
        user = await self._stores.users.by_id(caller.user_id)
        if user is None or user.disabled:
            raise GridpactError(Reason.TOKEN_INVALID, "the account no longer exists")
        return user

    def public_keys(self) -> list[PublicKey]:
        """The keys that verify access tokens, the newest first."""
        return self._signer.public_keys()

    async def issue_service_token(self, service: str, secret: str) -> tuple[str, int]:
        """The access token of a process, and its seconds to live. CREDENTIALS_WRONG."""
        right = hmac.compare_digest(secret.encode(), self._bridge_secret) and service in SERVICES
        action = Action.SERVICE_TOKEN_ISSUED if right else Action.SERVICE_TOKEN_REFUSED
        await self._stores.audit.record(AuditEntry(action, subject=service[:64]))
        if not right:
            raise GridpactError(Reason.CREDENTIALS_WRONG, "service or secret is wrong")
        return self._access_token(service, "", Role.SERVICE, new_identifier()), LIFETIME_S

    async def _recognised(self, email: str, password: str) -> User | None:
        """The user of these credentials. An unknown address takes as long as a wrong password."""
        # The limit is looked up and the failure noted while a place is held, so that many
        # tries at once cannot slip through between the two.
        async with self._checking:
            wait_s = await self._stores.failures.seconds_to_wait(email)
            if wait_s > 0:
                words = f"there were too many failures; try again in {wait_s} s"
                raise GridpactError(Reason.TOO_MANY_ATTEMPTS, words, retry_after_s=wait_s)
            user = await self._stores.users.by_email(email)
            password_hash = None if user is None else user.password_hash
            matches = await self._passwords.matches(password_hash, password)
            if user is None or user.disabled or not matches:
                await self._stores.failures.add(email)
                return None
        await self._stores.failures.forget(email)
        return user

    async def _end(self, session_id: str) -> None:
        # Revoked first: should the second step fail, the first is what counts.
        await self._stores.revocation.revoke(session_id, self._now() + LIFETIME_S)
        await self._stores.sessions.close(session_id)

    async def _audit(
        self, action: Action, user: User | None, session: OpenSession, remote_address: str = ""
    ) -> None:
        await self._stores.audit.record(
            AuditEntry(
                action,
                organisation_id="" if user is None else user.organisation_id,
                user_id=session.user_id,
                session_id=session.session_id,
                remote_address=remote_address,
            )
        )

    def _pair(self, user: User, refresh: RefreshToken) -> TokenPair:
        access_token = self._access_token(
            user.user_id, user.organisation_id, user.role, refresh.session_id
        )
        return TokenPair(access_token, LIFETIME_S, self._signer.refresh_token(refresh))

    def _access_token(self, subject: str, organisation: str, role: Role, session: str) -> str:
        now = int(self._now())
        return self._signer.access_token(
            {
                "iss": ISSUER,
                "aud": AUDIENCE,
                "sub": subject,
                "sid": session,
                "org": organisation,
                "role": role.word,
                "iat": now,
                "exp": now + LIFETIME_S,
            }
        )


def _refresh_token_invalid() -> GridpactError:
    return GridpactError(Reason.REFRESH_TOKEN_INVALID, "the refresh token is not valid")

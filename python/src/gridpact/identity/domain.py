"""Users, sessions and refresh tokens, and the rules about them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gridpact.kit.caller import Role

# A session ends this long after log in, however often it is refreshed.
SESSION_LIFETIME_S = 30 * 24 * 3600

# So many failures of one e-mail address within the window, and it has to wait.
MAX_FAILURES = 10
FAILURE_WINDOW_S = 600

# The processes that may have a service token.
SERVICES = frozenset({"bridge"})

_REFRESH_TOKEN = re.compile(r"([0-9a-f]{32})\.([1-9][0-9]{0,9})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class User:
    """A person of one organisation."""

    user_id: str
    organisation_id: str
    email: str
    role: Role
    password_hash: str
    disabled: bool


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session that somebody logged in to."""

    session_id: str
    user_id: str


class Rotation(StrEnum):
    """What became of a refresh token that was shown."""

    RENEWED = "renewed"
    # It had been used before: somebody has a copy.
    REUSED = "reused"
    # Its session has ended or never was.
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What the audit record tells of."""

    LOGGED_IN = "logged-in"
    LOG_IN_REFUSED = "log-in-refused"
    REFRESH_TOKEN_REUSED = "refresh-token-reused"  # noqa: S105  # no password
    LOGGED_OUT = "logged-out"
    SERVICE_TOKEN_ISSUED = "service-token-issued"  # noqa: S105
    SERVICE_TOKEN_REFUSED = "service-token-refused"  # noqa: S105


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what; empty where nobody was recognised."""

    action: Action
    organisation_id: str = ""
    user_id: str = ""
    session_id: str = ""
    subject: str = ""
    remote_address: str = ""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """Generation ``generation`` of a session's refresh tokens; the first is 1."""

    session_id: str
    generation: int

    def sealed(self, secret: bytes) -> str:
        """The token as its owner gets it: unforgeable, so that only real ones are looked up."""
        return f"{uuid.UUID(self.session_id).hex}.{self.generation}.{self._seal(secret)}"

    @classmethod
    def opened(cls, text: str, secrets: Sequence[bytes]) -> RefreshToken | None:
        """The token that one of these secrets sealed; None for any other text."""
        match = _REFRESH_TOKEN.fullmatch(text)
        if match is None:
            return None
        token = cls(str(uuid.UUID(hex=match[1])), int(match[2]))
        sealed = [hmac.compare_digest(token._seal(secret), match[3]) for secret in secrets]
        return token if any(sealed) else None

    def _seal(self, secret: bytes) -> str:
        content = f"gridpact-refresh:{self.session_id}.{self.generation}".encode()
        mac = hmac.digest(secret, content, hashlib.sha256)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def canonical_email(email: str) -> str:
    """The address under which an account is kept: one person, one account."""
    return email.strip().lower()

"""Signing keys and access tokens for tests, well-formed or not."""

from __future__ import annotations

import base64
import time
from functools import cache
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from gridpact.kit.caller import Role
from gridpact.kit.tokens import AUDIENCE, ISSUER, TYPE, Keys, PublicKey

KID = "test-key"


@cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_key() -> PublicKey:
    numbers = private_key().public_key().public_numbers()
    return PublicKey(KID, _base64url(numbers.n), _base64url(numbers.e))


def keys() -> Keys:
    """The key source that knows the test key."""

    async def fetch() -> list[PublicKey]:
        return [public_key()]

    return Keys(fetch)


def claims(role: Role = Role.ADMIN, /, **changes: Any) -> dict[str, Any]:
    """The claims of a valid token, with these changes; None removes one."""
    now = int(time.time())
    whole: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "bridge" if role is Role.SERVICE else str(uuid4()),
        "sid": str(uuid4()),
        "org": "" if role is Role.SERVICE else str(uuid4()),
        "role": role.word,
        "iat": now,
        "exp": now + 600,
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def token(
    role: Role = Role.ADMIN,
    /,
    *,
    headers: dict[str, Any] | None = None,
    algorithm: str = "RS256",
    key: Any = None,
    **changes: Any,
) -> str:
    """A token that the test key signed."""
    return jwt.encode(
        claims(role, **changes),
        key if key is not None else private_key(),
        algorithm=algorithm,
        headers={"kid": KID, "typ": TYPE} | (headers or {}),
    )


def _base64url(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

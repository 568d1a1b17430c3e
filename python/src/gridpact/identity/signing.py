"""Signing keys, and the tokens they make."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gridpact.identity.domain import RefreshToken
from gridpact.kit.tokens import ALGORITHM, TYPE, PublicKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA key of 2048 bits for access tokens, and a secret that seals refresh tokens."""

    kid: str
    private_key: rsa.RSAPrivateKey
    refresh_secret: bytes

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key; takes about 0.1 s."""
        private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return cls(secrets.token_hex(8), private_key, secrets.token_bytes(32))

    @classmethod
    def load(cls, kid: str, private_key_pem: bytes, refresh_secret: bytes) -> SigningKey:
        """A key that was stored."""
        private_key = serialization.load_pem_private_key(private_key_pem, password=None)
        return cls(kid, cast("rsa.RSAPrivateKey", private_key), refresh_secret)

    def private_key_pem(self) -> bytes:
        """The private key to be stored (PKCS #8)."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def public_key(self) -> PublicKey:
        """What verifiers need."""
        numbers = self.private_key.public_key().public_numbers()
        return PublicKey(self.kid, _base64url(numbers.n), _base64url(numbers.e))


class KeySigner:
    """Signs with the newest key; recognises what any of them made."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self._keys = tuple(keys)

    def access_token(self, claims: dict[str, object]) -> str:
        """An RS256 JWT of these claims."""
        newest = self._keys[0]
        headers = {"kid": newest.kid, "typ": TYPE}
        return jwt.encode(claims, newest.private_key, algorithm=ALGORITHM, headers=headers)

    def refresh_token(self, token: RefreshToken) -> str:
        return token.sealed(self._keys[0].refresh_secret)

    def opened(self, text: str) -> RefreshToken | None:
        return RefreshToken.opened(text, [key.refresh_secret for key in self._keys])

    def public_keys(self) -> list[PublicKey]:
        return [key.public_key() for key in self._keys]


def _base64url(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

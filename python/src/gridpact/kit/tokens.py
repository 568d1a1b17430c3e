"""Access tokens: what is in them, and the check that every process makes for itself."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from gridpact.contracts.errors import Reason
from gridpact.kit.caller import Caller, Role
from gridpact.kit.errors import GridpactError
from gridpact.kit.identifiers import is_identifier

ISSUER = "gridpact"
AUDIENCE = "gridpact"
ALGORITHM = "RS256"
TYPE = "at+jwt"
LIFETIME_S = 600

_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_TOKEN_CHARACTERS = 4096
_CACHED_TOKENS = 10_000
_REFETCH_S = 5.0
_KNOWN_HEADERS = frozenset({"alg", "typ", "kid"})


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA public key (RFC 7517), its numbers as base64url."""

    kid: str
    n: str
    e: str

    def rsa(self) -> RSAPublicKey:
        """The key that verifies."""
        return RSAPublicNumbers(e=_number(self.e), n=_number(self.n)).public_key()


class Revoked(Protocol):
    """Tells which sessions have been revoked."""

    def __contains__(self, session_id: str, /) -> bool: ...


class Keys:
    """The public keys by id, fetched when an unknown id appears, at most every five seconds."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Iterable[PublicKey]]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._fetched_at = -_REFETCH_S

    async def key(self, kid: str) -> RSAPublicKey | None:
        """The key of that id; None when there is none."""
        if kid in self._keys:
            return self._keys[kid]
        async with self._lock:
            if kid not in self._keys and self._monotonic() - self._fetched_at >= _REFETCH_S:
                self._keys = {public.kid: public.rsa() for public in await self._fetch()}
                self._fetched_at = self._monotonic()
        return self._keys.get(kid)


class TokenVerifier:
    """Tells whom an access token belongs to. Verified tokens are remembered until they expire."""

    def __init__(
        self, keys: Keys, revoked: Revoked, *, now: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._revoked = revoked
        self._now = now
        self._verified: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    async def caller(self, token: str) -> Caller:
        """The caller of a token; TOKEN_INVALID or TOKEN_EXPIRED."""
        caller, _ = await self.caller_until(token)
        return caller

    async def caller_until(self, token: str) -> tuple[Caller, float]:
        """As ``caller``, with the Unix time at which the token expires."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is None:
            known = await self._verify(token)
            self._verified[digest] = known
            if len(self._verified) > _CACHED_TOKENS:
                self._verified.popitem(last=False)
        caller, expires = known
        if expires <= self._now():
            self._verified.pop(digest, None)
            raise GridpactError(Reason.TOKEN_EXPIRED, "the access token has expired")
        if caller.session_id in self._revoked:
            raise GridpactError(Reason.TOKEN_INVALID, "the session has ended")
        return known

    async def _verify(self, token: str) -> tuple[Caller, float]:
        try:
            if len(token) > _MAX_TOKEN_CHARACTERS:
                raise _invalid("it is too long")
            kid = _checked_kid(jwt.get_unverified_header(token))
            key = await self._keys.key(kid)
            if key is None:
                raise _invalid("no key has signed it")
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                # Times are checked below, against a clock that tests can set.
                options={
                    "require": ["iss", "aud", "sub", "sid", "org", "role", "iat", "exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "strict_aud": True,
                },
            )
            return self._caller_of(claims)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _invalid("it is not one of ours") from error

    def _caller_of(self, claims: Mapping[str, Any]) -> tuple[Caller, float]:
        words = [claims[name] for name in ("role", "sub", "org", "sid")]
        if not all(isinstance(word, str) for word in words):
            raise _invalid("a claim is no text")
        role, subject, organisation, session = Role.of(words[0]), *words[1:]
        named = subject if role is Role.SERVICE else is_identifier(subject) and organisation
        if not named or not is_identifier(session):
            raise _invalid("it names nobody")
        if _time(claims["iat"]) > self._now() + 60 or _time(claims.get("nbf", 0)) > self._now():
            raise _invalid("it is not valid yet")
        return Caller(subject, organisation, role, session), _time(claims["exp"])


def bearer_token(authorization: str | None) -> str:
    """The token of an ``Authorization`` value; TOKEN_MISSING or TOKEN_INVALID."""
    if not authorization:
        raise GridpactError(Reason.TOKEN_MISSING, "there is no access token")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _invalid("it must be given as: Bearer <token>")
    return token.strip()


def _checked_kid(header: Mapping[str, Any]) -> str:
    # jku, x5u, jwk and their like would let a token choose its own key.
    if not _KNOWN_HEADERS.issuperset(header):
        raise _invalid("its header has members that are not allowed")
    if header.get("alg") != ALGORITHM or header.get("typ") != TYPE:
        raise _invalid("it is of another type")
    kid = header.get("kid")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise _invalid("its key id is not well-formed")
    return kid


def _invalid(why: str) -> GridpactError:
    return GridpactError(Reason.TOKEN_INVALID, f"the access token is not valid: {why}")


def _time(claim: object) -> float:
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        raise TypeError("a time is a number")
    return float(claim)


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")

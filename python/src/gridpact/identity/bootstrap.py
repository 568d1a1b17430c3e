"""Identity, wired."""

from __future__ import annotations

from dataclasses import dataclass

import redis.asyncio

from gridpact.identity.passwords import Argon2Passwords
from gridpact.identity.repository import (
    AuditRepository,
    FailureRepository,
    SessionRepository,
    UserRepository,
    load_signing_keys,
)
from gridpact.identity.rpc import IdentityRpc
from gridpact.identity.service import IdentityService, Stores
from gridpact.identity.signing import KeySigner
from gridpact.kit.database import Database
from gridpact.kit.revocations import Revocations
from gridpact.kit.tokens import Keys, PublicKey


@dataclass(frozen=True, slots=True)
class Identity:
    """What the process that hosts identity needs of it."""

    rpc: IdentityRpc
    # For the TokenVerifier of the same process: no gRPC call to itself.
    keys: Keys


async def build_identity(
    database: Database,
    connection: redis.asyncio.Redis,
    revocations: Revocations,
    bridge_secret: str,
) -> Identity:
    """Identity on an open database; makes the first signing key if there is none."""
    signer = KeySigner(await load_signing_keys(database))
    stores = Stores(
        users=UserRepository(database),
        sessions=SessionRepository(connection),
        failures=FailureRepository(connection),
        audit=AuditRepository(database),
        revocation=revocations,
    )
    service = IdentityService(stores, Argon2Passwords(), signer, bridge_secret)

    async def own_keys() -> list[PublicKey]:
        return service.public_keys()

    return Identity(IdentityRpc(service), Keys(own_keys))

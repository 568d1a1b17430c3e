"""How bridge and node prove themselves to each other (contracts/asyncapi.yaml, Authentication)."""

from __future__ import annotations

import hmac
from hashlib import sha256


def bearer_of_bridge(secret: str, unix_seconds: int, nonce: str) -> str:
    """The Authorization header of a bridge; ``nonce`` is 32 fresh hex characters."""
    mac = _mac(secret, f"gridpact-bridge:v1.{unix_seconds}.{nonce}")
    return f"Bearer v1.{unix_seconds}.{nonce}.{mac}"


def proof_of_node(secret: str, hello_nonce: str) -> str:
    """What a node answers in ``welcome`` to the nonce of ``hello``."""
    return _mac(secret, f"gridpact-compute:{hello_nonce}")


def _mac(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), sha256).hexdigest()

"""Who may open a connection to a node."""

from __future__ import annotations

import hashlib

import pytest

from gridpact.compute.serve.auth import Doorkeeper
from gridpact.kit.node_auth import bearer_of_bridge, proof_of_node

SECRET = "a shared secret"
NONCE = "00112233445566778899aabbccddeeff"
NOW = 1_780_000_000


def doorkeeper(now: float = NOW) -> Doorkeeper:
    return Doorkeeper(SECRET, clock=lambda: now)


def test_admits_a_fresh_token_once() -> None:
    keeper = doorkeeper()
    token = bearer_of_bridge(SECRET, NOW, NONCE)
    assert keeper.admits(token)
    assert not keeper.admits(token)


@pytest.mark.parametrize("age", [-300, 300])
def test_admits_within_five_minutes(age: int) -> None:
    assert doorkeeper().admits(bearer_of_bridge(SECRET, NOW - age, NONCE))


@pytest.mark.parametrize("age", [-301, 301])
def test_refuses_beyond_five_minutes(age: int) -> None:
    assert not doorkeeper().admits(bearer_of_bridge(SECRET, NOW - age, NONCE))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        f"Bearer v1.{NOW}.{NONCE}.{'0' * 64}",
        bearer_of_bridge("another secret", NOW, NONCE),
        bearer_of_bridge(SECRET, NOW, NONCE) + "\n",
        bearer_of_bridge(SECRET, NOW, NONCE).upper(),
        bearer_of_bridge(SECRET, NOW, NONCE).replace("v1", "v2"),
        bearer_of_bridge(SECRET, NOW, NONCE[:-2]),
    ],
)
def test_refuses_whatever_is_no_proof(authorization: str | None) -> None:
    assert not doorkeeper().admits(authorization)


def test_a_refused_token_is_not_used_up() -> None:
    keeper = doorkeeper()
    keeper.admits(bearer_of_bridge("another secret", NOW, NONCE))
    assert keeper.admits(bearer_of_bridge(SECRET, NOW, NONCE))


def test_proof_of_the_contract() -> None:
    """hex HMAC-SHA256 of `gridpact-compute:` + nonce, computed by another library's call."""
    inner = bytes(byte ^ 0x36 for byte in SECRET.encode().ljust(64, b"\0"))
    outer = bytes(byte ^ 0x5C for byte in SECRET.encode().ljust(64, b"\0"))
    text = f"gridpact-compute:{NONCE}".encode()
    expected = hashlib.sha256(outer + hashlib.sha256(inner + text).digest()).hexdigest()
    assert proof_of_node(SECRET, NONCE) == expected

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from gridpact.contracts.errors import Reason
from gridpact.kit.caller import Caller, Role
from gridpact.kit.errors import GridpactError
from gridpact.kit.tokens import Keys, PublicKey, TokenVerifier, bearer_token
from tests import tokens


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def verifier(revoked: frozenset[str] = frozenset(), **options: Any) -> TokenVerifier:
    return TokenVerifier(tokens.keys(), revoked, **options)


async def refused(token: str, checker: TokenVerifier | None = None) -> Reason:
    with pytest.raises(GridpactError) as raised:
        await (checker or verifier()).caller(token)
    return raised.value.reason


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims)}."


@pytest.mark.parametrize("role", Role)
async def test_a_good_token_names_its_caller(role: Role) -> None:
    claims = tokens.claims(role)
    token = tokens.token(role, **claims)
    expected = Caller(claims["sub"], claims["org"], role, claims["sid"])
    assert await verifier().caller(token) == expected


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "HS256", "RS512", ""])
async def test_no_other_algorithm_is_taken(algorithm: str) -> None:
    header = {"alg": algorithm, "typ": "at+jwt", "kid": tokens.KID}
    assert await refused(unsigned(header, tokens.claims())) is Reason.TOKEN_INVALID


async def test_the_public_key_is_no_shared_secret() -> None:
    pem = (
        tokens.private_key()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    # PyJWT refuses to make such a token, so it is made by hand.
    header = {"alg": "HS256", "typ": "at+jwt", "kid": tokens.KID}
    head_and_body = unsigned(header, tokens.claims()).rstrip(".")
    mac = jwt.get_algorithm_by_name("HS256")
    signature = mac.sign(head_and_body.encode(), pem)
    forged = f"{head_and_body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert await refused(forged) is Reason.TOKEN_INVALID


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c", "crit"])
async def test_a_token_may_not_bring_its_own_key(name: str) -> None:
    token = tokens.token(headers={name: "https://attacker.example/keys"})
    assert await refused(token) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "' OR 1=1 --", "", "other", "a" * 65, "test-key\n", "/dev/null"]
)
async def test_strange_key_ids_are_refused(kid: str) -> None:
    assert await refused(tokens.token(headers={"kid": kid})) is Reason.TOKEN_INVALID


async def test_a_key_id_that_is_no_text_never_reaches_the_keys() -> None:
    header = {"alg": "RS256", "typ": "at+jwt", "kid": ["test-key"]}
    assert await refused(unsigned(header, tokens.claims())) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "someone"},
        {"aud": "someone"},
        {"aud": ["gridpact", "someone"]},
        {"role": "root"},
        {"role": 4},
        {"sub": "not-an-id"},
        {"sub": 7},
        {"org": ""},
        {"sid": ""},
        {"exp": "soon"},
        {"exp": True},
        {"iss": None},
        {"aud": None},
        {"sub": None},
        {"sid": None},
        {"org": None},
        {"role": None},
        {"iat": None},
        {"exp": None},
    ],
    ids=str,
)
async def test_wrong_or_missing_claims_are_refused(changes: dict[str, Any]) -> None:
    try:
        token = tokens.token(**changes)
    except TypeError:  # PyJWT does not make every broken token
        header = {"alg": "RS256", "typ": "at+jwt", "kid": tokens.KID}
        token = unsigned(header, tokens.claims(**changes))
    assert await refused(token) is Reason.TOKEN_INVALID


@pytest.mark.parametrize("kind", ["JWT", "refresh+jwt", "AT+JWT"])
async def test_tokens_of_another_type_are_refused(kind: str) -> None:
    assert await refused(tokens.token(headers={"typ": kind})) is Reason.TOKEN_INVALID


async def test_another_key_under_the_same_id_is_refused() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert await refused(tokens.token(key=other)) is Reason.TOKEN_INVALID


async def test_expiry_counts_from_its_second_on_also_for_a_remembered_token() -> None:
    claims = tokens.claims()
    clock = Clock(claims["exp"] - 0.001)
    checker = verifier(now=clock)
    token = tokens.token(**claims)
    await checker.caller(token)
    clock.now = claims["exp"]
    assert await refused(token, checker) is Reason.TOKEN_EXPIRED
    assert await refused(token, checker) is Reason.TOKEN_EXPIRED


async def test_a_token_is_not_good_before_its_time() -> None:
    claims = tokens.claims()
    clock = Clock(claims["iat"])
    token = tokens.token(**claims, nbf=claims["iat"] + 1)
    assert await refused(token, verifier(now=clock)) is Reason.TOKEN_INVALID
    clock.now += 1
    await verifier(now=clock).caller(token)


async def test_a_revoked_session_ends_a_remembered_token() -> None:
    claims = tokens.claims()
    revoked: set[str] = set()
    checker = TokenVerifier(tokens.keys(), revoked)
    token = tokens.token(**claims)
    await checker.caller(token)
    revoked.add(claims["sid"])
    assert await refused(token, checker) is Reason.TOKEN_INVALID


async def test_unknown_key_ids_fetch_the_keys_at_most_every_five_seconds() -> None:
    fetched = 0
    clock = Clock(100.0)

    async def fetch() -> list[PublicKey]:
        nonlocal fetched
        fetched += 1
        return [tokens.public_key()]

    keys = Keys(fetch, monotonic=clock)
    for _ in range(10):
        assert await keys.key("unknown") is None
    assert fetched == 1
    assert await keys.key(tokens.KID) is not None
    clock.now += 5
    assert await keys.key("unknown") is None
    assert fetched == 2


@given(st.text(max_size=300))
async def test_no_text_breaks_the_verifier(text: str) -> None:
    assert await refused(text) is Reason.TOKEN_INVALID


@given(st.integers(0, 2000), st.integers(1, 255))
async def test_no_changed_token_is_taken(place: int, change: int) -> None:
    token = tokens.token(sub="01981f6e-7c00-7000-8000-000000000001")
    place %= len(token)
    changed = token[:place] + chr(ord(token[place]) ^ change) + token[place + 1 :]
    parts = [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]
    try:
        same = [base64.urlsafe_b64decode(part + "==") for part in changed.split(".")] == parts
    except ValueError:
        same = False
    if not same:  # the last character of base64 has bits that mean nothing
        assert await refused(changed) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.TOKEN_MISSING),
        ("", Reason.TOKEN_MISSING),
        ("Basic YTpi", Reason.TOKEN_INVALID),
        ("Bearer", Reason.TOKEN_INVALID),
        ("Bearer  ", Reason.TOKEN_INVALID),
    ],
)
def test_what_is_no_bearer_token_is_refused(value: str | None, reason: Reason) -> None:
    with pytest.raises(GridpactError) as raised:
        bearer_token(value)
    assert raised.value.reason is reason


def test_the_scheme_is_read_in_any_case() -> None:
    assert bearer_token("bearer a.b.c") == bearer_token("Bearer a.b.c") == "a.b.c"

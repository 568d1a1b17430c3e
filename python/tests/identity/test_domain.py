from __future__ import annotations

import re
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gridpact.identity.domain import RefreshToken

SECRETS = st.binary(min_size=32, max_size=32)
TOKENS = st.builds(RefreshToken, st.uuids().map(str), st.integers(1, 10**9))


@given(TOKENS, SECRETS, SECRETS)
def test_a_sealed_token_opens_with_its_secret_only(
    token: RefreshToken, secret: bytes, other: bytes
) -> None:
    sealed = token.sealed(secret)
    assert RefreshToken.opened(sealed, [other, secret]) == token
    assert re.fullmatch(r"[A-Za-z0-9_.-]{16,512}", sealed)
    if other != secret:
        assert RefreshToken.opened(sealed, [other]) is None


@given(TOKENS, TOKENS, SECRETS)
def test_no_token_has_the_seal_of_another(
    token: RefreshToken, other: RefreshToken, secret: bytes
) -> None:
    if token != other:
        seal = token.sealed(secret).rpartition(".")[2]
        session = UUID(other.session_id).hex
        assert RefreshToken.opened(f"{session}.{other.generation}.{seal}", [secret]) is None


@given(st.text(max_size=120), SECRETS)
def test_other_texts_are_no_tokens(text: str, secret: bytes) -> None:
    assert RefreshToken.opened(text, [secret]) is None

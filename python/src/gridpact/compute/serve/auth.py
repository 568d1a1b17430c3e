"""Who may connect to this node (contracts/asyncapi.yaml, Authentication)."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable

from gridpact.kit.node_auth import bearer_of_bridge

ACCEPTANCE_SECONDS = 300

_TOKEN = re.compile(r"Bearer v1\.([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})")


class Doorkeeper:
    """Lets each bearer token in once, and only near the time it names."""

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock
        self._expiry_of_used: dict[str, float] = {}

    def admits(self, authorization: str | None) -> bool:
        """Whether the header proves a bridge that has not used this token before."""
        match = _TOKEN.fullmatch(authorization or "")
        if match is None:
            return False
        unix_seconds, nonce, _ = match.groups()
        expected = bearer_of_bridge(self._secret, int(unix_seconds), nonce)
        if not hmac.compare_digest(expected, match.string):
            return False
        now = self._clock()
        # Only tokens of the right secret get this far, so strangers cannot fill the memory.
        self._expiry_of_used = {
            used: expiry for used, expiry in self._expiry_of_used.items() if expiry >= now
        }
        if abs(now - int(unix_seconds)) > ACCEPTANCE_SECONDS or nonce in self._expiry_of_used:
            return False
        self._expiry_of_used[nonce] = int(unix_seconds) + ACCEPTANCE_SECONDS
        return True

from __future__ import annotations

import socket

import pytest

from gridpact.kit.settings import Address


@pytest.fixture
def address() -> Address:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", probe.getsockname()[1])

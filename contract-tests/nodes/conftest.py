from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.nodes import Node, started


@pytest.fixture(scope="module", params=["julia", "python"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node of each engine, for all tests of a file."""
    with started(request.param) as node:
        yield node

"""A task that needs more memory than its worker may use ends; the node goes on."""

from __future__ import annotations

import pytest

from gridpact.platform.options import Engine
from tests.heavy import long_linear
from tests.nodes import error_of, result_of, started

pytestmark = pytest.mark.timeout(300)  # Julia compiles at its first start

LIMIT_MIB = 700


@pytest.mark.parametrize("engine", ["julia", "python"])
def test_task_that_is_too_large_fails_for_good_and_says_what_to_do(engine: Engine) -> None:
    with (
        started(engine, GRIDPACT_WORKER_MEMORY_MIB=str(LIMIT_MIB)) as node,
        node.bridge() as bridge,
    ):
        bridge.ask("dispatch", long_linear(slots=35_000, batteries=30))
        error = error_of(bridge.answer())
        assert (error.reason, error.retryable) == ("OUT_OF_MEMORY", False)
        assert f"{LIMIT_MIB} MiB" in error.message
        assert "GRIDPACT_WORKER_MEMORY_MIB" in error.message
        bridge.ask("probe", {})
        result_of("probe", bridge.answer())

"""Bodies that are too large, or made to be: the task ends in words, the node goes on."""

from __future__ import annotations

import pytest

from gridpact.contracts.channels import BODY_BYTES, LIMITS
from gridpact.kit.compression import compress
from tests.bombs import BOMBS, NAMES, Bomb
from tests.nodes import Node, error_of, result_of

pytestmark = pytest.mark.timeout(300)  # Julia compiles at its first start


@pytest.mark.parametrize("bomb", BOMBS, ids=NAMES)
def test_bomb_ends_its_task_and_not_the_node(node: Node, bomb: Bomb) -> None:
    before = node.peak_bytes
    with node.bridge() as bridge:
        bridge.ask_packed("probe", (bomb.encoding, bomb.body))
        error = error_of(bridge.answer())
        assert (error.reason, error.retryable) == (bomb.reason, False)
        bridge.ask("probe", {})
        result_of("probe", bridge.answer())
    # The front never looks into a body.
    assert node.peak_bytes - before < 16 * 1024 * 1024 + 2 * len(bomb.body)


def noise(size: int) -> bytes:
    """MsgPack of an input that is as large, with a member that nobody knows."""
    head = b"\x81\xa1n\xc6"
    return head + (size - len(head) - 4).to_bytes(4, "big") + bytes(size - len(head) - 4)


@pytest.mark.parametrize("size", [BODY_BYTES - 1, BODY_BYTES])
def test_largest_body_that_a_message_carries_is_read(node: Node, size: int) -> None:
    with node.bridge() as bridge:
        bridge.ask_packed("probe", ("identity", noise(size)))
        result_of("probe", bridge.answer())


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (LIMITS.decoded_bytes - 1, None),
        (LIMITS.decoded_bytes, None),
        (LIMITS.decoded_bytes + 1, "MESSAGE_TOO_LARGE"),
    ],
)
def test_content_of_a_body_is_read_up_to_the_limit(
    node: Node, size: int, reason: str | None
) -> None:
    with node.bridge() as bridge:
        bridge.ask_packed("probe", compress(noise(size), 16384))
        if reason is None:
            result_of("probe", bridge.answer())
        else:
            assert error_of(bridge.answer()).reason == reason

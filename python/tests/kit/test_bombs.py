from __future__ import annotations

import gc

import pytest

from gridpact.contracts.channels import LIMITS
from gridpact.kit.compression import decompress
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import unpack
from tests.bombs import BOMBS, NAMES, Bomb, forget_peak, peak_bytes


@pytest.mark.parametrize("bomb", BOMBS, ids=NAMES)
def test_bomb_is_refused_with_a_reason_before_it_takes_much_memory(bomb: Bomb) -> None:
    gc.collect()
    forget_peak()
    before = peak_bytes()
    with pytest.raises(ContractError) as refused:
        unpack(decompress(bomb.encoding, bomb.body, LIMITS.decoded_bytes), LIMITS)
    assert refused.value.reason == bomb.reason
    assert peak_bytes() - before <= bomb.most_bytes

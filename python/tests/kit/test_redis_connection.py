"""What Redis cannot do now is UNAVAILABLE; what it will never do stays an error of ours."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.redis_connection import redis_errors

FULL_DISK = "MISCONF Errors writing to the AOF file: No space left on device"
IN_A_SCRIPT = "Error running script (call to f_e3fd): @user_script:7: @user_script: 7: -"


@pytest.mark.parametrize("place", ["", IN_A_SCRIPT], ids=["command", "script"])
@pytest.mark.parametrize(
    "condition",
    [
        FULL_DISK,
        "OOM command not allowed when used memory > 'maxmemory'.",
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
    ],
)
def test_a_server_that_cannot_work_now_is_unavailable(place: str, condition: str) -> None:
    with pytest.raises(GridpactError) as refused, redis_errors():
        raise ResponseError(place + condition)
    assert refused.value.reason is Reason.UNAVAILABLE


@pytest.mark.parametrize(
    "mistake",
    [
        "ERR unknown command 'OOMPH'",
        f"{IN_A_SCRIPT}WRONGTYPE Operation against a key holding the wrong kind of value",
    ],
)
def test_a_wrong_command_stays_a_mistake(mistake: str) -> None:
    with pytest.raises(ResponseError), redis_errors():
        raise ResponseError(mistake)

"""Redis: how a process connects, and what it says when Redis is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gridpact.kit.errors import unavailable
from gridpact.kit.log import Log

log = Log(__name__)

# At the beginning, or within what is said of a script: `… @user_script: 7: -MISCONF Errors …`
_PASSES = re.compile(r"(^|\s-?)(OOM|MISCONF|READONLY|LOADING)\b")


def connect_redis(url: str, *, wait_s: float = 5.0) -> redis.asyncio.Redis:
    """A client that connects when it is first used, and again after a loss. Replies are bytes.

    A command that meets a connection closed by a restarted server is tried once more. ``wait_s``
    limits every command; blocking reads must block for less. Close it with ``aclose()``.
    """
    return redis.asyncio.from_url(
        url,
        socket_connect_timeout=wait_s,
        socket_timeout=wait_s,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        health_check_interval=0,
    )


@contextmanager
def redis_errors() -> Iterator[None]:
    """Says UNAVAILABLE for a Redis that is gone, restarting, full or slow.

    A refused command that is our own mistake stays redis's error.
    """
    try:
        yield
    except ResponseError as error:
        # OOM, MISCONF (disk full), LOADING and READONLY pass; a wrong command does not.
        if _PASSES.search(str(error)):
            raise _gone(error) from error
        raise
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise _gone(error) from error


def _gone(error: RedisError) -> Exception:
    log.warning("redis-unavailable", cause=f"{type(error).__name__}: {error}".strip())
    return unavailable("Redis does not answer")

"""Celery: the application with its no-op task, which its worker loads, and its client."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from celery import Celery
from celery.exceptions import TimeoutError as CeleryTimeoutError

from bench.queue.load import Executions, Outcome, Pace, serve

_TIME_LIMIT_S = 60.0

_url = os.environ["BENCH_REDIS_URL"]
app = Celery("bench", broker=_url, backend=_url)
_executions = itertools.count(1)


@app.task(name="noop")
def noop() -> int:
    """Does nothing; says the how-manieth execution it is, so that doubled ones are found."""
    return next(_executions)


class CeleryClient:
    """Submits by ``delay``; results are pushed to it through Redis."""

    def __init__(self) -> None:
        self._executions = Executions()

    def burst(self, count: int) -> Outcome:
        outcome = Outcome()
        began = time.perf_counter()
        for result in [noop.delay() for _ in range(count)]:
            self._await(result, outcome)
        outcome.seconds = time.perf_counter() - began
        return self._executions.checked(outcome, count)

    def singly(self, count: int, rate: float) -> Outcome:
        outcome, pace = Outcome(), Pace(rate)
        for _ in range(count):
            time.sleep(pace.wait_s())
            began = time.perf_counter()
            self._await(noop.delay(), outcome)
            outcome.ms.append((time.perf_counter() - began) * 1e3)
        return self._executions.checked(outcome, count)

    def versions(self) -> Mapping[str, str]:
        return {"celery": version("celery"), "redis (client of the peers)": version("redis")}

    def _await(self, result: Any, outcome: Outcome) -> None:
        try:
            self._executions.note(result.get(timeout=_TIME_LIMIT_S))
        except CeleryTimeoutError:
            outcome.lost += 1


if __name__ == "__main__":
    serve(CeleryClient())

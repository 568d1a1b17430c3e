"""Every kind of task through the whole platform, on either engine: the golden cases."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from uuid import uuid4

from gridpact.cli.client import Client
from gridpact.contracts.channels import KINDS
from tests.golden import Case, Json, cases, differences, timeless


async def test_answers_are_the_golden_ones(client: Client, engine: str) -> None:
    """Failures too; tasks are under way together, but steps of a controller follow one another."""
    played = cases()
    assert {case.kind for case in played} == KINDS.keys() - {"probe"}
    steps = [case for case in played if case.kind == "mpc-step"]
    async with asyncio.TaskGroup() as group:
        others = [
            group.create_task(answer(client, engine, case)) for case in played if case not in steps
        ]
        in_order = group.create_task(answers(client, engine, steps))
    found = dict(await in_order) | dict(task.result() for task in others)
    assert found.keys() == set(played)
    different = [f"{case}: {words}" for case in played for words in differences(case, found[case])]
    assert different == []


async def answers(client: Client, engine: str, steps: list[Case]) -> list[tuple[Case, Json]]:
    """Of one after the other."""
    return [await answer(client, engine, case) for case in steps]


async def answer(client: Client, engine: str, case: Case) -> tuple[Case, Json]:
    """What a user is told in the end: the result, or the failure."""
    submission = case.submission | {"engine": engine}
    task = await client.submit(json.dumps(submission).encode(), str(uuid4()))
    async with aclosing(client.follow(task.task_id)) as updates:
        async for update in updates:
            if update.result is not None:
                return case, timeless(json.loads(update.result))
            if update.task.failure is not None:
                return case, update.task.failure.model_dump(mode="json")
    raise AssertionError(f"{case} has ended with nothing")

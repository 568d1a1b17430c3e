"""What the world hears of tasks, through a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import redis.asyncio
import yaml
from referencing import Registry, Resource

from gridpact.kit.background import running
from gridpact.kit.redis_connection import connect_redis
from gridpact.kit.violation import Violation
from gridpact.tasks.domain import Failed, Failure, Progress
from gridpact.tasks.events import CANCEL_CHANNEL, EVENTS_STREAM, RedisEvents, event_data
from tests.redis import RedisServer
from tests.tasks.examples import POLICY, START, end, queued_task, running_task

SCHEMAS = Path(__file__).parents[3] / "contracts" / "schemas"


def schema(name: str) -> jsonschema.Draft202012Validator:
    def retrieve(uri: str) -> Resource[Any]:
        return Resource.from_contents(yaml.safe_load((SCHEMAS / uri).read_text()))

    registry: Registry[Any] = Registry(retrieve=retrieve)  # pyright: ignore[reportCallIssue]
    return jsonschema.Draft202012Validator({"$ref": name}, registry=registry)


@pytest.fixture
async def connection(redis_server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    connection = connect_redis(redis_server.url)
    await connection.delete(EVENTS_STREAM)
    yield connection
    await connection.aclose()


async def heard(connection: redis.asyncio.Redis, count: int) -> list[dict[bytes, bytes]]:
    """The first events of the stream, waited for."""
    found: list[dict[bytes, bytes]] = []
    last: bytes | str = "0"
    while len(found) < count:
        reply: Any = await connection.xread({EVENTS_STREAM: last}, block=3000)
        assert reply, f"heard {len(found)} of {count} events"
        entries = reply[0][1]
        last = entries[-1][0]
        found += [fields for _, fields in entries]
    return found


class TestEventData:
    @pytest.mark.parametrize(
        "task",
        [
            queued_task(),
            replace(queued_task(), label="Plan", site_id=queued_task().task_id),
            replace(running_task(), progress=Progress(0.5, "solve", objective=1.5, bound=1.0)),
            running_task().end_attempt(1, end(), START, POLICY)[0],
            running_task().end_attempt(
                1,
                end(Failed(Failure("INFEASIBLE", "no plan", (Violation("a", "b", "c"),)))),
                START,
                POLICY,
            )[0],
        ],
    )
    def test_keeps_to_the_schema_of_a_task(self, task: Any) -> None:
        schema("task.yaml").validate(msgspec.json.decode(event_data(task)))

    def test_says_how_a_task_failed(self) -> None:
        failure = Failure("INFEASIBLE", "no plan", (Violation("a", "b", "c"),))
        task = running_task().end_attempt(1, end(Failed(failure)), START, POLICY)[0]
        assert msgspec.json.decode(event_data(task))["failure"] == {
            "reason": "INFEASIBLE",
            "message": "no plan",
            "violations": [{"field": "a", "rule": "b", "message": "c"}],
        }


class TestPublish:
    async def test_keeps_the_order(self, connection: redis.asyncio.Redis) -> None:
        events = RedisEvents(connection)
        tasks = [queued_task() for _ in range(1200)]
        async with running(events.run(), "events"):
            events.publish(tasks[:700])
            events.publish(tasks[700:])
            found = await heard(connection, len(tasks))
        assert [fields[b"task_id"].decode() for fields in found] == [task.task_id for task in tasks]
        assert found[0][b"org"].decode() == tasks[0].organisation_id
        assert found[0][b"data"] == event_data(tasks[0])

    async def test_tells_the_bridges_of_a_wish_to_cancel(
        self, connection: redis.asyncio.Redis
    ) -> None:
        asked = running_task().request_cancel(START)[0]
        over = queued_task().request_cancel(START)[0]
        events = RedisEvents(connection)
        async with connection.pubsub() as listener, running(events.run(), "events"):
            await listener.subscribe(CANCEL_CHANNEL)
            assert await listener.get_message(timeout=5)
            events.publish([over, asked])
            message = await listener.get_message(timeout=5)
        assert message is not None
        assert message["data"].decode() == asked.task_id

    async def test_goes_on_after_redis_was_away(self) -> None:
        server = RedisServer()
        server.start()
        connection = connect_redis(server.url)
        try:
            events = RedisEvents(connection)
            lost, told = queued_task(), queued_task()
            server.kill()
            async with running(events.run(), "events"):
                events.publish([lost])
                await events.drained()
                server.start()
                events.publish([told])
                [fields] = await heard(connection, 1)
            assert fields[b"task_id"].decode() == told.task_id
        finally:
            await connection.aclose()
            server.remove()

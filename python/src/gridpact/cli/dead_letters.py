"""Dead letters of every topic: which there are, what is in them, and what replaying comes to.

A dead letter is named by its topic without `compute-tasks-`, and its message: `auto-dispatch/17-0`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import product

from msgspec import UnsetType

from gridpact.broker.bootstrap import connected_broker
from gridpact.broker.port import Broker, Consumer, DeadLetter, MessageId
from gridpact.contracts.channels import KINDS, LIMITS, QUEUE_ADDRESS, QUEUE_ENGINES
from gridpact.contracts.messages import ComputeTaskHeaders
from gridpact.contracts.proto.gridpact.tasks.v1 import DeliveryServiceStub, ReplayTasksRequest
from gridpact.kit.compression import decompress
from gridpact.kit.rpc.client import RpcChannel
from gridpact.kit.rpc.service_token import ServiceToken, no_token
from gridpact.kit.settings import QueueSettings
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import build, decode, to_json

_PREFIX = QUEUE_ADDRESS.format(engine="", kind="").rstrip("-") + "-"

TOPICS: Mapping[str, str] = {
    f"{engine}-{kind}": QUEUE_ADDRESS.format(engine=engine, kind=kind)
    for engine, kind in product(QUEUE_ENGINES, KINDS)
}
"""The topics of the queue by the names that this command gives them."""

# More than a broker keeps of a topic, so that none is hidden: the oldest come first, and the newest
# matter most.
_ALL = 1_000_000
_MOST_REPLAYED = 256


class DeadLetterError(Exception):
    """What was asked for cannot be done; the message says what can."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and where it is."""

    topic: str
    letter: DeadLetter

    @property
    def name(self) -> str:
        return f"{self.topic}/{self.letter.message_id}"

    @property
    def headers(self) -> ComputeTaskHeaders | None:
        """What the contract finds in its properties; None when it refuses them."""
        try:
            return build(ComputeTaskHeaders, dict(self.letter.properties))
        except ContractError:
            return None

    @property
    def claim_bytes(self) -> int | None:
        """The size of an input that is kept with its task; None when it is in the body."""
        headers = self.headers
        if headers is None or isinstance(headers.claim_bytes, UnsetType):
            return None
        return int(headers.claim_bytes)

    @property
    def cause(self) -> str:
        return self.letter.error or (
            f"delivered {self.letter.attempts} times and never acknowledged: who held it died"
        )

    def input_json(self) -> bytes:
        """The input in the body as JSON. Raises ContractError with what is wrong with it."""
        headers = build(ComputeTaskHeaders, dict(self.letter.properties))
        data = decompress(headers.encoding, self.letter.body, LIMITS.decoded_bytes)
        return to_json(decode(KINDS[headers.kind].input, data, LIMITS))


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of a dead letter. ``outcome``: submitted, queued or left."""

    name: str
    outcome: str
    task_id: str | None = None
    new_task_id: str | None = None


@asynccontextmanager
async def connected_letters(settings: QueueSettings) -> AsyncGenerator[DeadLetters]:
    """The dead letters of the queue that the settings name."""
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(connected_broker(settings))
        identity = RpcChannel(settings.rpc_address, credentials=no_token)
        stack.callback(identity.close)
        token = ServiceToken(identity, "bridge", settings.bridge_secret)
        tasks = RpcChannel(settings.rpc_address, credentials=token)
        stack.callback(tasks.close)
        yield DeadLetters(broker, DeliveryServiceStub(tasks))


class DeadLetters:
    """Calls raise BrokerUnavailable, and GridpactError where tasks are concerned."""

    def __init__(self, broker: Broker, delivery: DeliveryServiceStub) -> None:
        self._broker = broker
        self._delivery = delivery

    async def all(self, topic: str | None, max_count: int | None = None) -> list[Letter]:
        """Those of a topic or of all, the newest first. Raises DeadLetterError."""
        topics = TOPICS if topic is None else [_topic_of(topic)]
        found = await asyncio.gather(*(self._consumer(name).dead_letters(_ALL) for name in topics))
        letters = [
            Letter(name, letter)
            for name, some in zip(topics, found, strict=True)
            for letter in some
        ]
        letters.sort(key=lambda it: it.letter.dead_time, reverse=True)
        return letters[:max_count]

    async def find(self, names: Sequence[str]) -> list[Letter]:
        """Those of these names. Raises DeadLetterError for one that there is not."""
        wanted: dict[str, list[str]] = {}
        for name in names:
            topic, separator, message_id = name.rpartition("/")
            if not separator:
                words = f"{name} names no dead letter: `gridpact dead-letters list` shows their ids"
                raise DeadLetterError(words)
            wanted.setdefault(_topic_of(topic), []).append(message_id)
        by_name: dict[tuple[str, str], Letter] = {}
        for topic in wanted:
            by_name |= {(topic, it.letter.message_id): it for it in await self.all(topic)}
        found: list[Letter] = []
        for topic, message_ids in wanted.items():
            for message_id in dict.fromkeys(message_ids):
                if (topic, message_id) not in by_name:
                    raise DeadLetterError(f"there is no dead letter {topic}/{message_id}")
                found.append(by_name[topic, message_id])
        return found

    async def replay(self, letters: Sequence[Letter]) -> list[Replay]:
        """Gives dead letters another chance.

        One whose task FAILED is submitted as a new task, because FAILED is final; whoever asks
        twice gets the same new task. Any other goes back to its topic with all attempts before it;
        one whose task there is not stays where it is.
        """
        new_tasks = await self._new_tasks([it.headers.task_id for it in letters if it.headers])
        outcomes: list[Replay] = []
        submitted: dict[str, list[MessageId]] = {}
        queued: dict[str, list[MessageId]] = {}
        for letter in letters:
            task_id = letter.headers.task_id if letter.headers else None
            new_task_id, refusal = new_tasks.get(task_id or "", ("", ""))
            if new_task_id:
                submitted.setdefault(letter.topic, []).append(letter.letter.message_id)
                outcomes.append(Replay(letter.name, "submitted", task_id, new_task_id))
            elif refusal == "NOT_FOUND":
                outcomes.append(Replay(letter.name, "left", task_id))
            else:
                queued.setdefault(letter.topic, []).append(letter.letter.message_id)
                outcomes.append(Replay(letter.name, "queued", task_id))
        # A broker may have to read all its dead letters to find one: once a topic, not once each.
        for topic, message_ids in submitted.items():
            await self._consumer(topic).discard(message_ids)
        for topic, message_ids in queued.items():
            await self._consumer(topic).replay(message_ids)
        return outcomes

    async def _new_tasks(self, task_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Of each task the new one and the reason why there is none; one of them is empty."""
        answers: dict[str, tuple[str, str]] = {}
        for start in range(0, len(task_ids), _MOST_REPLAYED):
            chunk = [*task_ids[start : start + _MOST_REPLAYED]]
            answer = await self._delivery.replay_tasks(ReplayTasksRequest(task_ids=chunk))
            for item in answer.tasks:
                reason = item.refusal.reason if item.refusal else ""
                answers[item.task_id] = (item.new_task_id, reason)
        return answers

    def _consumer(self, topic: str) -> Consumer:
        return self._broker.consumer(TOPICS[topic])


def _topic_of(name: str) -> str:
    topic = name.removeprefix(_PREFIX)
    if topic not in TOPICS:
        raise DeadLetterError(f"there is no topic {name}; there are {', '.join(TOPICS)}")
    return topic

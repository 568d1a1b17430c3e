"""Everything that has a limit, at the limit and just beyond it, and bodies that would burst."""

from __future__ import annotations

import json
from datetime import timedelta

import zstandard

from bench.faults.clients import Refusal, Wish, probe
from bench.faults.scene import Scene
from bench.faults.stage import rss_mib, until
from gridpact.broker.port import MAX_BODY_BYTES, Message
from gridpact.contracts.channels import LIMITS
from gridpact.contracts.errors import REASONS
from gridpact.contracts.operations import BODY_BYTES

FAILS = frozenset({"FAILED"})
_PADDING_BYTES = LIMITS.string_bytes
_LABEL_CHARACTERS = 120
_HOLD_MS = 600_000
# A worker may keep what it decoded; a bomb is 256 MiB.
_NODE_GROWTH_MIB = 192.0


async def limits_and_bombs(scene: Scene) -> None:
    """24: requests at every limit and one beyond; bombs put into the queue in place of bodies."""
    await _sizes_of_requests(scene)
    await _bodies_in_the_queue(scene)


async def _sizes_of_requests(scene: Scene) -> None:
    users = scene.users
    for size in (BODY_BYTES, BODY_BYTES + 1):
        wish = probe(scene.key(), result_bytes=1, engine=scene.stage.engine)
        await _request(scene, wish, size <= BODY_BYTES, json.dumps(wish.submission).encode(), size)
    for size in (_PADDING_BYTES, _PADDING_BYTES + 1):
        wish = probe(scene.key(), result_bytes=size, engine=scene.stage.engine)
        await _request(scene, wish, size <= _PADDING_BYTES)
    for hold_ms in (_HOLD_MS + 1, -1):
        await _request(scene, probe(scene.key(), hold_ms=hold_ms), False)
    for length in (_LABEL_CHARACTERS, _LABEL_CHARACTERS + 1):
        wish = probe(scene.key().ljust(length, "x"), engine=scene.stage.engine)
        await _request(scene, wish, length <= _LABEL_CHARACTERS)
    scene.require(
        not any(each.status >= 500 for each in users.refusals),
        f"a size was answered with {max(each.status for each in users.refusals or [_NONE])}",
    )


_NONE = Refusal(0, "", None)


async def _request(
    scene: Scene, wish: Wish, is_good: bool, content: bytes | None = None, size: int = 0
) -> None:
    """A request that must be answered with a task, or refused by name and for good."""
    padded = None if content is None else content + b" " * (size - len(content))
    scene.strike()
    try:
        task_id = await scene.users.submit_once(wish, "witness", padded)
    except Refusal as refusal:
        scene.require(
            not is_good and 400 <= refusal.status < 500 and refusal.reason in REASONS,
            f"{wish.submission['input']} of {size} bytes: {refusal.status} {refusal.reason}",
        )
    else:
        scene.require(is_good, f"{wish.submission['input']} of {size} bytes was taken")
        await scene.users.until_ended(task_id)


def _bombs() -> dict[str, tuple[str, bytes]]:
    """By what they are: how they say they are packed, and their bytes."""
    zeros = bytes(LIMITS.decoded_bytes * 4)
    undeclared = zstandard.ZstdCompressor(write_content_size=False)
    return {
        "zstd that says its size": ("zstd", zstandard.compress(zeros)),
        "zstd that does not": ("zstd", undeclared.compress(zeros)),
        "zstd cut short": ("zstd", zstandard.compress(bytes(4096))[:-4]),
        "no zstd": ("zstd", b"no zstd at all"),
        "too deep": ("identity", b"\x91" * 100_000 + b"\xc0"),
        "endless array": ("identity", b"\xdd\xff\xff\xff\xff"),
        "endless map": ("identity", b"\xdf\xff\xff\xff\xff"),
        "endless string": ("identity", b"\xdb\xff\xff\xff\xffx"),
        "cut short": ("identity", b"\x81\xa7hold_ms"),
        "more than one value": ("identity", b"\x80\x80"),
        "no UTF-8": ("identity", b"\x81\xa7hold_m\xff\x01"),
        "key twice": ("identity", b"\x82\xa7hold_ms\x01\xa7hold_ms\x02"),
        "largest body": ("identity", b"\x80" + bytes(MAX_BODY_BYTES - 1)),
    }


async def _bodies_in_the_queue(scene: Scene) -> None:
    """The bridge stands still while the bodies of queued tasks are exchanged."""
    stage = scene.stage
    bombs = _bombs()
    before_mib = sum(map(rss_mib, stage.tree(stage.node)))
    victims: dict[str, str] = {}
    async with stage.broker() as broker:
        consumer = broker.consumer(stage.topic)
        with stage.frozen("bridge"):
            for name in bombs:
                victims[await scene.witness(ends=FAILS)] = name
            exchanged: set[str] = set()

            async def are_exchanged() -> bool:
                taken = await consumer.receive(64, timedelta(seconds=60), timedelta(seconds=1))
                ours = [each for each in taken if each.key in victims]
                others = [each.receipt for each in taken if each.key not in victims]
                if others:
                    await consumer.change_invisibility(others, timedelta(milliseconds=500))
                for each in ours:
                    encoding, body = bombs[victims[each.key]]
                    properties = {**each.properties, "encoding": encoding}
                    await broker.publish([Message(stage.topic, body, each.key, properties)])
                if ours:
                    await consumer.acknowledge([each.receipt for each in ours])
                exchanged.update(each.key for each in ours)
                return exchanged == victims.keys()

            await until(are_exchanged, "the bodies are exchanged", 20)
            scene.strike(len(exchanged))
    reasons: dict[str, str] = {}
    for task_id, name in victims.items():
        await scene.users.until_ended(task_id)
        task = await scene.users.read(task_id)
        failure, attempts = task.get("failure") or {}, task["attempt_count"]
        reasons[name] = failure.get("reason", "")
        scene.require(
            attempts == 1 and reasons[name] in REASONS and reasons[name] != "INTERNAL",
            f"{name}: {task['state']} {reasons[name]} after {attempts} attempts",
        )
    scene.notes["reasons"] = reasons
    growth_mib = sum(map(rss_mib, stage.tree(stage.node))) - before_mib
    scene.notes["node_growth_mib"] = round(growth_mib)
    scene.require(growth_mib < _NODE_GROWTH_MIB, f"the node grew by {growth_mib:.0f} MiB")

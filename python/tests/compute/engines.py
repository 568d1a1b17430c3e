"""Both engines side by side: what Python and Julia answer to the same inputs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gridpact.contracts.channels import KINDS, LIMITS
from gridpact.kit.errors import GridpactError
from gridpact.kit.wire import Message, build, decode, encode
from gridpact.platform.compute import compute_nodes
from gridpact.platform.options import PlatformOptions
from tests.compute.test_dispatch_plan import silent

ROOT = Path(__file__).parents[3]
PLAYER = ROOT / "contract-tests" / "differential" / "compute.jl"

Json = dict[str, Any]


def answers(
    julia: str, kind: str, compute: Callable[[Any, Any], Message], inputs: Sequence[Json]
) -> Iterator[tuple[Message | str, Message | str]]:
    """Python's and Julia's result of each input, computed at once; a refusal in words."""
    messages = [build(KINDS[kind].input, given) for given in inputs]
    with ThreadPoolExecutor(1) as beside:
        theirs = beside.submit(lambda: list(answers_of_julia(julia, kind, messages)))
        ours = [_answer(compute, each) for each in messages]
    yield from zip(ours, theirs.result(), strict=True)


def _answer(compute: Callable[[Any, Any], Message], message: Message) -> Message | str:
    try:
        return compute(message, silent)
    except GridpactError as error:
        found = sorted(f"{each.field}:{each.rule}" for each in error.violations)
        return f"{error.reason} {';'.join(found)}"


def answers_of_julia(julia: str, kind: str, messages: Sequence[Message]) -> Iterator[Message | str]:
    """Julia's results, computed one after another by one process; a refusal in words."""
    (node,) = compute_nodes(PlatformOptions(engine="julia"), print)
    done = subprocess.run(
        [julia, "--startup-file=no", "--project=julia", PLAYER],
        cwd=ROOT,
        env=os.environ | node.environment,
        input="".join(f"{type(each).__name__} {encode(each).hex()}\n" for each in messages),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        said, _, data = line.partition(" ")
        yield decode(KINDS[kind].result, bytes.fromhex(data), LIMITS) if said == "result" else line

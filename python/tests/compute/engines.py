"""Both engines side by side: what Python and Julia answer to the same inputs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
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
    """Python's and Julia's result of each input; a refusal in words."""
    wanted = KINDS[kind]
    messages = [build(wanted.input, given) for given in inputs]
    (node,) = compute_nodes(PlatformOptions(engine="julia"), print)
    done = subprocess.run(
        [julia, "--startup-file=no", "--project=julia", PLAYER],
        cwd=ROOT,
        env=os.environ | node.environment,
        input="".join(f"{wanted.input.__name__} {encode(each).hex()}\n" for each in messages),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for message, line in zip(messages, done.stdout.splitlines(), strict=True):
        said, _, data = line.partition(" ")
        theirs = decode(wanted.result, bytes.fromhex(data), LIMITS) if said == "result" else line
        try:
            ours: Message | str = compute(message, silent)
        except GridpactError as error:
            found = sorted(f"{each.field}:{each.rule}" for each in error.violations)
            ours = f"{error.reason} {';'.join(found)}"
        yield ours, theirs

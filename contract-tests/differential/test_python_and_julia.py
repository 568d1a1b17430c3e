"""Python and Julia say the same of the same bytes.

Every value of every example, of schemas and messages alike, is removed, and replaced by values of
a pool of edge cases: by a third of them, drawn anew for each, some thirty thousand messages in all;
in `make test-full` by each. Both sides must accept or refuse each alike, name the same violations,
and pack what they accept to the same bytes.
"""

from __future__ import annotations

import copy
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack
import pytest
import yaml

from gridpact.contracts import messages
from gridpact.contracts.channels import LIMITS
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import Message, decode, encode

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

POOL: list[Any] = [
    *("", "EUR", "EUR\n", "EURO", " a", "a ", "a\n", "a\x00", "é", "😀" * 120, "x" * 121),
    *("2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2026-06-01T00:00:60Z"),
    *("2026-06-01T00:00:00Z\n", "0000-01-01T00:00:00Z", "2026-06-01T00:00:00.123456Z"),
    *("01981f6e-7c00-7000-8000-000000000001", "probe", "identity", "julia", "INTERNAL"),
    *(-1, 0, 1, 2, 4, 900, 1001, 35137, 10**7 + 1, 2**53, 2**63 - 1, -(2**63), 2**64 - 1),
    *(-0.0, 0.5, 1.0, 1.5, 4.0, 900.0, 1e-300, 1e300, -1000.5, 2.0**53, 2.0**63, -(2.0**63)),
    *(None, True, False, b"", b"\x80", bytes(8), bytes(32), [], {}, [0], [True], ["x"]),
    *([0.0, 1.0, 2.0, 3.0], {"x": 1}, {"name": "a"}, [{}], [[]]),
    msgpack.ExtType(1, b""),
    msgpack.ExtType(1, bytes(32)),
]


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each example of a message, an input or a result, with the name of its type."""
    contracts = ROOT / "contracts"
    for path in sorted((contracts / "schemas").glob("*.yaml")):
        schema = yaml.safe_load(path.read_text("utf-8"))
        kind = getattr(messages, schema["title"], None)
        if isinstance(kind, type) and issubclass(kind, Message):
            for example in schema.get("examples", ()):
                yield schema["title"], example
    document = yaml.safe_load((contracts / "asyncapi.yaml").read_text("utf-8"))
    for message in document["components"]["messages"].values():
        title = message["payload"].get("$ref", "").rpartition("/")[2]
        if hasattr(messages, title):
            example = message["examples"][0]["payload"]
            yield title, example | ({"body": b"\x80"} if "body" in example else {})


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container within ``value`` with each of its keys."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def cases(part: int) -> Iterator[tuple[str, bytes]]:
    """With one in ``part`` values of the pool at each place."""
    dice = random.Random(0)
    for title, example in examples():
        yield title, msgpack.packb(example)
        for i in range(len(places(example))):
            for replacement in dice.sample(POOL, len(POOL) // part):
                value = copy.deepcopy(example)
                container, key = places(value)[i]
                container[key] = copy.deepcopy(replacement)
                yield title, msgpack.packb(value)
            value = copy.deepcopy(example)
            container, key = places(value)[i]
            del container[key]
            yield title, msgpack.packb(value)


def verdict(title: str, data: bytes) -> str:
    """Python's, in the words of ``verdicts.jl``."""
    try:
        return f"accept {encode(decode(getattr(messages, title), data, LIMITS)).hex()}"
    except ContractError as error:
        found = sorted(f"{violation.field}:{violation.rule}" for violation in error.violations)
        return f"{error.reason} {';'.join(found)}"


def verdicts_of_julia(julia: str, played: list[tuple[str, bytes]]) -> list[str]:
    done = subprocess.run(
        [julia, "--startup-file=no", "--project=julia", HERE / "verdicts.jl"],
        cwd=ROOT,
        input="".join(f"{title} {data.hex()}\n" for title, data in played),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "part", [pytest.param(3, id="third"), pytest.param(1, id="all", marks=pytest.mark.full)]
)
def test_verdicts_are_the_same(julia: str, part: int) -> None:
    played = list(cases(part))
    assert len(played) > 10_000
    with ThreadPoolExecutor(1) as beside:
        done = beside.submit(verdicts_of_julia, julia, played)
        verdicts = [verdict(title, data) for title, data in played]
    different = [
        (title, data.hex()[:400], ours, theirs)
        for (title, data), ours, theirs in zip(played, verdicts, done.result(), strict=True)
        if ours != theirs
    ]
    assert different == []

"""Python's side of the golden vectors; ``play.jl`` is Julia's."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from gridpact.contracts import messages
from gridpact.contracts.channels import LIMITS
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import Message, decode, encode

HERE = Path(__file__).parent


class Vector(NamedTuple):
    kind: type[Message]
    verdict: str
    violations: list[str]
    data: bytes
    again: bytes


def as_bytes(text: str) -> bytes:
    runs = (run.partition("*") for run in text.split(" "))
    return b"".join(bytes.fromhex(run) * int(count or 1) for run, _, count in runs)


def vectors() -> list[object]:
    found: list[object] = []
    for path in sorted(HERE.glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, verdict, violations, data, again = line.split("\t")
            vector = Vector(
                getattr(messages, path.stem),
                verdict,
                violations.split(";") if violations else [],
                as_bytes(data),
                as_bytes(data if again == "=" else again),
            )
            found.append(pytest.param(vector, id=f"{path.stem}-{name}"))
    return found


@pytest.mark.parametrize("vector", vectors())
def test_gives_the_verdict_of_the_vector(vector: Vector) -> None:
    """Accepts and packs again to the bytes given, or refuses with the violations given."""
    if vector.verdict == "accept":
        assert encode(decode(vector.kind, vector.data, LIMITS)) == vector.again
        return
    with pytest.raises(ContractError) as refused:
        decode(vector.kind, vector.data, LIMITS)
    assert refused.value.reason == vector.verdict
    found = sorted(f"{v.field}:{v.rule}" for v in refused.value.violations)
    assert found == sorted(vector.violations)


@pytest.mark.parametrize("vector", [v for v in vectors() if v.id.endswith("-valid")])  # type: ignore[attr-defined]
def test_refuses_every_truncation(vector: Vector) -> None:
    """No proper prefix of a valid message is one."""
    for length in range(len(vector.data)):
        with pytest.raises(ContractError) as refused:
            decode(vector.kind, vector.data[:length], LIMITS)
        assert refused.value.reason == "MESSAGE_MALFORMED"


def generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate", HERE / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_files_are_what_the_generator_writes() -> None:
    """A vector is changed in the generator, never in the file."""
    generate = generator()
    for name, make in generate.VECTORS.items():
        assert (HERE / f"{name}.tsv").read_text(encoding="utf-8") == generate.render(make())


def test_julia_gives_the_same_verdicts() -> None:
    """The Julia implementation plays the same files."""
    julia = HERE.parents[1] / ".tools" / "bin" / "julia"
    if not julia.exists():
        pytest.skip("Julia is not installed (scripts/setup-julia)")
    played = subprocess.run(
        [julia, "--project=julia", "--startup-file=no", HERE / "play.jl"],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, played.stdout[-4000:] + played.stderr[-4000:]

"""Which compute nodes run: the Julia service where a Julia is found, and the Python engine."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gridpact.platform.error import PlatformError
from gridpact.platform.options import PlatformOptions, repository

_LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
)


@dataclass(frozen=True, slots=True)
class ComputeNode:
    """A compute node without its address: ``command`` takes ``--host --port --workers``."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict[str, str])


def compute_nodes(options: PlatformOptions, say: Callable[[str], None]) -> tuple[ComputeNode, ...]:
    """The nodes that ``options.engine`` asks for.

    Without a Julia, ``all`` becomes the Python engine alone, which is said; ``julia`` raises
    PlatformError.
    """
    python = ComputeNode("compute-python", (sys.executable, "-m", "gridpact.compute"))
    if options.engine == "python":
        return (python,)
    julia = _find_julia()
    if julia is not None:
        return (julia,) if options.engine == "julia" else (julia, python)
    if options.engine == "julia":
        raise PlatformError("the Julia engine is missing: run scripts/setup in a clone")
    say("no Julia found (.tools/bin/julia, made by scripts/setup): the Python engine computes")
    return (python,)


def _find_julia() -> ComputeNode | None:
    root = repository()
    if root is None:
        return None
    julia = root / ".tools" / "bin" / "julia"
    service = root / "julia" / "bin" / "compute.jl"
    if not julia.exists() or not service.exists():
        return None
    # What computes much is compiled C; compiling Julia harder would only delay the start.
    flags = ("-O1", "--startup-file=no", f"--project={root / 'julia'}")
    command = (str(julia), *flags, str(service))
    return ComputeNode("compute-julia", command, _native_libraries())


def _native_libraries() -> dict[str, str]:
    """Where the C libraries are that Julia calls; what is not found is left to Julia to miss."""
    found: dict[str, str] = {}
    spec = importlib.util.find_spec("highsbox")
    for place in (spec and spec.submodule_search_locations) or ():
        library = Path(place) / "highs_dist" / "lib" / "libhighs.so"
        if library.exists():
            found["GRIDPACT_LIBHIGHS"] = str(library)
    for folder in _LIBRARY_FOLDERS:
        library = Path(folder) / "libzstd.so.1"
        if library.exists():
            found.setdefault("GRIDPACT_LIBZSTD", str(library))
    return found

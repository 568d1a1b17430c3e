"""gRPC for Python: betterproto2 messages and grpclib stubs by buf, and the descriptor set."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath

from gridpact.codegen.documents import ContractFault, Contracts
from gridpact.codegen.emit.output import PYTHON, header


def emit(contracts: Contracts) -> dict[PurePosixPath, bytes]:
    files: dict[PurePosixPath, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        _buf(contracts.root, "generate", "--output", str(out))
        for path in sorted(out.rglob("*")):
            if path.is_file():
                name = PYTHON / "proto" / path.relative_to(out).as_posix()
                text = path.read_bytes()
                files[name] = header("proto/").encode() + text if text else text
    files[PYTHON / "proto" / "descriptors.binpb"] = descriptors(contracts)
    return files


def descriptors(contracts: Contracts) -> bytes:
    """Every proto file as a FileDescriptorSet, for reflection, transcoding and checks."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "descriptors.binpb"
        _buf(contracts.root, "build", "--as-file-descriptor-set", "--output", str(target))
        return target.read_bytes()


def _buf(root: Path, *arguments: str) -> None:
    # buf and its plugin are installed beside the interpreter, whether or not that is on PATH.
    tools = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": tools + os.pathsep + os.environ.get("PATH", "")}
    done = subprocess.run(
        ["buf", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ContractFault(f"buf {arguments[0]}: {done.stdout}{done.stderr}".strip())

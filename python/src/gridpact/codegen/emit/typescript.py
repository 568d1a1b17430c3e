"""TypeScript for the web: the REST types by openapi-typescript, and the kinds of tasks."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path, PurePosixPath

from gridpact.codegen.documents import ContractFault, Contracts
from gridpact.codegen.emit.messages import Channels
from gridpact.codegen.emit.output import WEB, header, quoted
from gridpact.codegen.model import Model


def emit(contracts: Contracts, model: Model) -> dict[PurePosixPath, bytes]:
    return {
        WEB / "rest.ts": header("openapi.yaml", "//").encode() + _rest(contracts),
        WEB / "kinds.ts": _kinds(contracts, model).encode(),
    }


def _rest(contracts: Contracts) -> bytes:
    repository = contracts.root.parent
    tool = repository / "web/node_modules/.bin/openapi-typescript"
    if not tool.exists():
        raise ContractFault(f"{tool.name} is not installed; run scripts/setup-web")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "openapi.json", Path(folder) / "rest.ts"
        source.write_text(json.dumps(contracts.bundle("openapi.yaml")), "utf-8")
        done = subprocess.run(
            [str(repository / "scripts/node"), str(tool), str(source), "--output", str(target)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ContractFault(f"openapi-typescript: {done.stdout}{done.stderr}".strip())
        return target.read_bytes()


def _kinds(contracts: Contracts, model: Model) -> str:
    channels = Channels(contracts, model)
    lines = [
        header("asyncapi.yaml", "//"),
        "import type { components } from './rest'",
        "",
        "interface Description {",
        "  readonly type: string",
        "  readonly summary: string",
        "}",
        "",
        "/** What each kind of task computes. */",
        "export const kinds = {",
    ]
    for kind in channels.kinds:
        value = {"type": kind.type, "summary": kind.summary}
        members = ", ".join(f"{key}: {quoted(item)}" for key, item in value.items())
        name = kind.name if kind.name.isidentifier() else quoted(kind.name)
        lines.append(f"  {name}: {{ {members} }},")
    lines += [
        "} as const satisfies Record<components['schemas']['TaskKind'], Description>",
        "",
        "export type Kind = keyof typeof kinds",
        "",
    ]
    return "\n".join(lines)

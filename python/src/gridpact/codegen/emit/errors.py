"""The registry of error reasons for Python, Julia and TypeScript, and its page in docs/."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

from gridpact.codegen.documents import ContractFault, Contracts
from gridpact.codegen.emit.output import JULIA, PYTHON, WEB, header, quoted

SOURCE = "errors.yaml"

HTTP_STATUS = {
    "INVALID_ARGUMENT": 422,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "ABORTED": 409,
    "CANCELLED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
}

GRPC_CODE = {
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}


@dataclass(frozen=True)
class Entry:
    """One reason of the registry."""

    reason: str
    grpc_code: str
    http_status: int
    title: str
    retryable: bool
    meta: tuple[str, ...]
    way_out: str

    @property
    def slug(self) -> str:
        return self.reason.lower().replace("_", "-")


def read(contracts: Contracts) -> list[Entry]:
    entries: dict[str, Entry] = {}
    for row in contracts.errors["reasons"]:
        reason, code = row["reason"], row["grpc_code"]
        if code not in HTTP_STATUS:
            raise ContractFault(f"contracts/errors.yaml: {reason}: {code} is no gRPC code")
        if reason in entries:
            raise ContractFault(f"contracts/errors.yaml: {reason} stands there twice")
        entries[reason] = Entry(
            reason,
            code,
            row.get("http_status", HTTP_STATUS[code]),
            row["title"],
            row["retryable"],
            tuple(row["meta"]),
            row["way_out"],
        )
    return list(entries.values())


def emit(contracts: Contracts) -> dict[PurePosixPath, bytes]:
    entries = read(contracts)
    return {
        PYTHON / "errors.py": _python(entries).encode(),
        JULIA / "errors.jl": _julia(entries).encode(),
        WEB / "errors.ts": _typescript(entries).encode(),
        PurePosixPath("docs/problems.md"): _page(entries).encode(),
    }


def _python(entries: list[Entry]) -> str:
    lines = [
        header(SOURCE),
        '"""The registry of error reasons."""',
        "from collections.abc import Mapping",
        "from dataclasses import dataclass",
        "from enum import IntEnum, StrEnum",
        "from types import MappingProxyType",
        "",
        "class Reason(StrEnum):",
        '    """Why something failed; never renamed."""',
        "",
        *(f"    {entry.reason} = {entry.reason!r}" for entry in entries),
        "",
        "class GrpcCode(IntEnum):",
        '    """The gRPC codes that reasons use."""',
        "",
        *(f"    {name} = {number}" for name, number in GRPC_CODE.items()),
        "",
        "@dataclass(frozen=True, slots=True)",
        "class ReasonEntry:",
        '    """How a reason looks in each protocol, and what helps."""',
        "",
        "    reason: Reason",
        "    grpc_code: GrpcCode",
        "    http_status: int",
        "    title: str",
        "    retryable: bool",
        "    meta: tuple[str, ...]",
        "    way_out: str",
        "    problem_type: str",
        "",
        "REASONS: Mapping[Reason, ReasonEntry] = MappingProxyType({",
        "    entry.reason: entry for entry in (",
        *(
            f"    ReasonEntry(Reason.{entry.reason}, GrpcCode.{entry.grpc_code}, "
            f"{entry.http_status}, {entry.title!r}, {entry.retryable}, {entry.meta!r}, "
            f"{entry.way_out!r}, {'/problems/' + entry.slug!r}),"
            for entry in entries
        ),
        ")})",
    ]
    return "\n".join(lines)


def _julia(entries: list[Entry]) -> str:
    lines = [
        header(SOURCE),
        '"""',
        "    Reason",
        "",
        "An entry of the registry of error reasons: its gRPC code, HTTP status, title, whether the",
        "same request may succeed later, and what helps.",
        '"""',
        "struct Reason",
        "    grpc_code::String",
        "    http_status::Int",
        "    title::String",
        "    retryable::Bool",
        "    way_out::String",
        "end",
        "",
        "const REASONS = Dict{String,Reason}(",
    ]
    for entry in entries:
        retryable = "true" if entry.retryable else "false"
        lines += [
            (
                f'    "{entry.reason}" => Reason("{entry.grpc_code}", {entry.http_status}, '
                f"{json.dumps(entry.title)}, {retryable},"
            ),
            f"        {json.dumps(entry.way_out)}),",
        ]
    return "\n".join([*lines, ")", ""])


def _typescript(entries: list[Entry]) -> str:
    lines = [
        header(SOURCE, "//"),
        "/** How a reason of a problem looks, and what helps. */",
        "export interface ReasonEntry {",
        "  readonly status: number",
        "  readonly title: string",
        "  readonly retryable: boolean",
        "  readonly meta: readonly string[]",
        "  readonly wayOut: string",
        "}",
        "",
        "export const reasons = {",
    ]
    for entry in entries:
        value = {
            "status": entry.http_status,
            "title": entry.title,
            "retryable": entry.retryable,
            "meta": list(entry.meta),
            "wayOut": entry.way_out,
        }
        members = ", ".join(f"{key}: {quoted(item)}" for key, item in value.items())
        lines.append(f"  {entry.reason}: {{ {members} }},")
    lines += [
        "} as const satisfies Record<string, ReasonEntry>",
        "",
        "/** Why something failed; branch on it, never on text. */",
        "export type Reason = keyof typeof reasons",
        "",
    ]
    return "\n".join(lines)


def _page(entries: list[Entry]) -> str:
    lines = [
        "<!-- Generated by `make generate` from contracts/errors.yaml; do not edit. -->",
        "",
        "# Problems",
        "",
        "Every error names a reason of this list: in `reason` of a problem (REST), in `ErrorInfo`",
        "(gRPC) and in `reason` of an `error` message. Branch on it, never on text.",
    ]
    for entry in entries:
        again = "The same request may succeed later." if entry.retryable else ""
        meta = f"Meta: {', '.join(f'`{name}`' for name in entry.meta)}." if entry.meta else ""
        lines += [
            "",
            f'## <a id="{entry.slug}"></a>{entry.reason}',
            "",
            f"{entry.title}. HTTP {entry.http_status}, gRPC {entry.grpc_code}.",
            " ".join(text for text in (entry.way_out, again, meta) if text),
        ]
    return "\n".join([*lines, ""])

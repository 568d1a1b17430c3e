"""x-gateway: every operation has one, and it agrees with the operation's security."""

from __future__ import annotations

from collections.abc import Iterator

from gridpact.codegen.documents import Contracts
from gridpact.codegen.emit.rest import operations


def faults(contracts: Contracts) -> Iterator[str]:
    roles = contracts.document("schemas/role.yaml")["enum"]
    for path, method, operation in operations(contracts):
        place = f"contracts/openapi.yaml: {method.upper()} {path}"
        gateway = operation.get("x-gateway")
        if gateway is None:
            yield f"{place} has no x-gateway; say who may call it, how often and how long"
            continue
        public = gateway.get("access") == "public"
        if public != (operation.get("security") == []):
            yield f"{place}: access is {gateway.get('access')}, security says otherwise"
        if public == ("role" in gateway):
            yield f"{place}: a role is named exactly when access is token"
        if not public and gateway.get("role") not in roles:
            yield f"{place}: role {gateway.get('role')} is none of {', '.join(roles)}"
        for part in ("rate", "timeout_s"):
            if part not in gateway:
                yield f"{place}: x-gateway has no {part}"

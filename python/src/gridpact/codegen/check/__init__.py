"""What generation alone does not notice: each module finds one sort of fault in the contracts."""

from __future__ import annotations

from collections.abc import Iterator

from gridpact.codegen.check import examples, gateway, kinds, protobuf, schemas, twice
from gridpact.codegen.documents import Contracts
from gridpact.codegen.model import Model


def faults(contracts: Contracts, model: Model) -> Iterator[str]:
    """Every fault of the contracts as a line that names the file and the way out."""
    yield from schemas.faults(contracts)
    yield from examples.faults(contracts, model)
    yield from twice.faults(contracts, model)
    yield from kinds.faults(contracts)
    yield from protobuf.faults(contracts, model)
    yield from gateway.faults(contracts)

"""Protobuf repeats stored objects in its own type system: names and words must not drift apart.

A message that shares its name with a schema has the same members, an enum the same words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from gridpact.codegen.documents import Contracts
from gridpact.codegen.emit.proto import descriptors
from gridpact.codegen.model import Alias, Model, Object
from gridpact.kit.shapes import Text

# What one side has on purpose and the other has not.
ONLY_THERE: Mapping[str, frozenset[str]] = {
    "Role": frozenset(("service",)),  # a process, never a person: no caller of REST sees it
    "Session": frozenset(("token_type",)),  # a constant of REST
    # REST names the member by the asset's type, gRPC carries it as JSON.
    "Asset": frozenset(("battery", "pv", "load", "tariff", "specification_json")),
}


def faults(contracts: Contracts, model: Model) -> Iterator[str]:
    for file in FileDescriptorSet.FromString(descriptors(contracts)).file:
        if not file.package.startswith("gridpact."):
            continue
        spoken = {
            message.name: {field.name for field in message.field} for message in file.message_type
        }
        for enum in file.enum_type:
            prefix = f"{_upper(enum.name)}_"
            words = {value.name.removeprefix(prefix).lower() for value in enum.value}
            spoken[enum.name] = words - {"unspecified"}
        for name, there in spoken.items():
            here = _words(model, name)
            for word in sorted((here ^ there) - ONLY_THERE.get(name, frozenset()) if here else ()):
                yield (
                    f"contracts/proto/{file.name} and contracts/schemas/ disagree about {word} of "
                    f"{name}; name it in both, or in ONLY_THERE of codegen/check/protobuf.py"
                )


def _words(model: Model, name: str) -> set[str]:
    """The members of the object, or the choices of the text, that has this title."""
    definition = model.definitions.get(name)
    if isinstance(definition, Object):
        return {member.name for member in definition.members}
    if isinstance(definition, Alias) and isinstance(definition.type, Text):
        return {choice.lower() for choice in definition.type.choices or ()}
    return set()


def _upper(name: str) -> str:
    return (
        "".join(f"_{letter}" if letter.isupper() else letter for letter in name).upper().strip("_")
    )

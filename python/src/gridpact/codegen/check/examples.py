"""Every example in the contracts is what its schema says, x-rules included."""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gridpact.codegen.documents import Contracts, Json, native_items, walk
from gridpact.codegen.model import Alias, Model, Named, Object
from gridpact.kit.shapes import Binary, is_instant

FORMATS = FormatChecker(["uuid"])


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or is_instant(value)


FORMATS.checks("date-time")(_is_time)


class Schemas:
    """Validators of the contracts as written, each ``$ref`` followed from file to file."""

    def __init__(self, contracts: Contracts) -> None:
        documents = dict(contracts.schemas)
        documents |= {name: contracts.document(name) for name in ("openapi.yaml", "asyncapi.yaml")}
        self._registry: Registry[Any] = Registry().with_resources(
            (
                f"http://contracts/{name}",
                Resource(contents=native_items(document), specification=DRAFT202012),
            )
            for name, document in documents.items()
        )

    def validator(self, name: str, pointer: str = "") -> Draft202012Validator:
        """The validator of the schema at ``pointer`` in the file ``name``."""
        root = {"$ref": f"http://contracts/{name}#{pointer}"}
        return Draft202012Validator(root, registry=self._registry, format_checker=FORMATS)

    def faults(self, name: str, pointer: str, value: Any, place: str) -> Iterator[str]:
        for error in self.validator(name, pointer).iter_errors(value):
            yield (
                f"{place}: the example breaks its schema at {error.json_path}: {error.message}; "
                "correct one of them"
            )


def faults(contracts: Contracts, model: Model) -> Iterator[str]:
    schemas = Schemas(contracts)
    for name, schema in contracts.schemas.items():
        for i, example in enumerate(schema.get("examples", ())):
            place = f"contracts/{name} example {i + 1}"
            yield from schemas.faults(name, "", example, place)
            yield from _broken_rules(model, schema["title"], example, place)
    for name, example_holder in (("openapi.yaml", "schema"), ("asyncapi.yaml", "payload")):
        for at, node in walk(contracts.document(name)):
            if example_holder not in node:
                continue
            for i, example in enumerate(_examples(node)):
                place = f"contracts/{name}#{at} example {i + 1}"
                if name == "openapi.yaml":
                    yield from schemas.faults(name, f"{at}/schema", example, place)
                    continue
                for part in ("headers", "payload"):
                    if part in example:
                        pointer = f"{at}/{part}"
                        yield from schemas.faults(name, pointer, example[part], place)
                reference = node["payload"].get("$ref")
                if reference is not None:
                    title = contracts.title_of(reference, name)
                    yield from _broken_rules(model, title, example["payload"], place)


def _examples(node: Json) -> list[Any]:
    if "example" in node:
        return [node["example"]]
    examples = node.get("examples", [])
    if isinstance(examples, dict):
        return [example["value"] for example in examples.values()]
    return examples


def _broken_rules(model: Model, title: str, example: Any, place: str) -> Iterator[str]:
    """What the generated message of this title says of the example, where there is one."""
    # Imported late: the module is itself generated, and a first generation must not need it.
    from gridpact.contracts import messages
    from gridpact.kit.violation import ContractError
    from gridpact.kit.wire import Message, build

    kind = getattr(messages, title, None)
    if not (isinstance(kind, type) and issubclass(kind, Message)):
        return
    try:
        build(kind, _with_bytes(model, title, example))
    except ContractError as error:
        for found in error.violations:
            yield f"{place}: the example breaks {found.rule} at {found.field}: {found.message}"


def _with_bytes(model: Model, title: str, example: Json) -> Json:
    """The example as MsgPack would carry it: base64 texts of binary members become bytes."""
    definition = model.definitions[title]
    plain = copy.deepcopy(example)
    if isinstance(definition, Object):
        for member in definition.members:
            kind = member.type
            if isinstance(kind, Named):
                target = model.definitions[kind.title]
                kind = target.type if isinstance(target, Alias) else kind
            if isinstance(kind, Binary) and member.name in plain:
                plain[member.name] = base64.b64decode(plain[member.name])
    return plain

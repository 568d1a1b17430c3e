"""Reading the YAML of contracts/, with every ``$ref`` between its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]


class ContractFault(Exception):
    """Something in contracts/ is wrong; the message names the file and the way out."""


class _Loader(yaml.CSafeLoader):
    """YAML without dates: an instant in an example stays the text that it is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


@dataclass
class Contracts:
    """The contract files under ``root``, each read once."""

    root: Path
    _read: dict[Path, Json] = field(default_factory=dict[Path, Json], repr=False)

    def document(self, name: str) -> Json:
        """The content of a file named relative to ``root``."""
        path = (self.root / name).resolve()
        if path not in self._read:
            try:
                text = path.read_text("utf-8")
            except FileNotFoundError:
                raise ContractFault(
                    f"contracts/{name} does not exist; correct the $ref to it"
                ) from None
            try:
                self._read[path] = yaml.load(text, _Loader)  # noqa: S506  # a CSafeLoader
            except yaml.YAMLError as error:
                raise ContractFault(f"contracts/{name} is not YAML: {error}") from None
        return self._read[path]

    @property
    def openapi(self) -> Json:
        return self.document("openapi.yaml")

    @property
    def asyncapi(self) -> Json:
        return self.document("asyncapi.yaml")

    @property
    def errors(self) -> Json:
        return self.document("errors.yaml")

    @cached_property
    def schemas(self) -> dict[str, Json]:
        """Every shared schema by the name of its file (``schemas/site.yaml``)."""
        names = sorted(path.name for path in (self.root / "schemas").glob("*.yaml"))
        return {f"schemas/{name}": self.document(f"schemas/{name}") for name in names}

    def title_of(self, reference: str, origin: str) -> str:
        """The type name that a ``$ref`` standing in file ``origin`` leads to."""
        file, _, pointer = reference.partition("#")
        target = self.document(str(Path(origin).parent / file) if file else origin)
        for part in [part for part in pointer.split("/") if part]:
            try:
                target = target[part]
            except KeyError:
                raise ContractFault(
                    f"contracts/{origin}: nothing stands at {reference}; correct the $ref"
                ) from None
        title = target.get("title")
        if not isinstance(title, str):
            raise ContractFault(f"contracts/{origin}: {reference} has no title; give it one")
        return title

    def merged(self, name: str) -> Json:
        """A schema in which ``allOf`` has become properties of its own, which more tools read."""
        schema = self.document(name)
        if "allOf" not in schema:
            return schema
        parts = [self.merged(str(Path(name).parent / base["$ref"])) for base in schema["allOf"]]
        whole: Json = {"properties": {}, "required": []}
        for part in [*parts, schema]:
            whole["properties"] |= part.get("properties", {})
            whole["required"] = [*whole["required"], *part.get("required", ())]
        replaced = ("allOf", "unevaluatedProperties", "properties", "required", "examples")
        own = {key: value for key, value in schema.items() if key not in replaced}
        return {**own, "additionalProperties": False, **whole, "examples": schema["examples"]}

    def bundle(self, name: str) -> Json:
        """A specification in one piece: shared schemas stand in its own ``components/schemas``."""
        document = self.document(name)
        taken: dict[str, Json] = {}

        def rewrite(node: Any, origin: str) -> Any:
            return map_references(node, lambda reference: local(reference, origin))

        def local(reference: str, origin: str) -> str:
            if reference.startswith("#"):
                return reference
            file = str(Path(origin).parent / reference)
            title = self.title_of(reference, origin)
            if title not in taken:
                taken[title] = {}  # a schema may refer to itself
                taken[title] = rewrite(self.merged(file), file)
                taken[title].pop("$schema", None)
            return f"#/components/schemas/{title}"

        bundled = native_items(rewrite(document, name))
        own = bundled.setdefault("components", {}).setdefault("schemas", {})
        for title in own.keys() & taken.keys():
            raise ContractFault(f"contracts/{name}: schema {title} stands in schemas/ too; $ref it")
        bundled["components"]["schemas"] = dict(sorted((own | native_items(taken)).items()))
        return bundled


def map_references(node: Any, change: Callable[[str], str]) -> Any:
    """A copy in which every ``$ref`` and discriminator mapping went through ``change``."""
    if isinstance(node, list):
        return [map_references(item, change) for item in node]
    if not isinstance(node, dict):
        return node
    copy: Json = {}
    for key, value in node.items():
        if key == "$ref" and isinstance(value, str):
            copy[key] = change(value)
        elif key == "mapping" and "propertyName" in node:
            copy[key] = {name: change(target) for name, target in value.items()}
        else:
            copy[key] = map_references(value, change)
    return copy


def native_items(node: Any) -> Any:
    """A copy in which ``x-items`` (bounds of a referenced series' items) is JSON Schema's own."""
    if isinstance(node, list):
        return [native_items(item) for item in node]
    if not isinstance(node, dict):
        return node
    copy = {key: native_items(value) for key, value in node.items() if key != "x-items"}
    if "x-items" in node:
        copy["items"] = {"type": "number", **node["x-items"]}
    return copy


def walk(node: Any, at: str = "") -> Iterator[tuple[str, Json]]:
    """Every mapping within ``node`` with its JSON pointer, parents first."""
    if isinstance(node, dict):
        yield at, node
        for key, value in node.items():
            step = key.replace("~", "~0").replace("/", "~1")
            yield from walk(value, f"{at}/{step}")
    elif isinstance(node, list):
        for i, item in enumerate(node):
            yield from walk(item, f"{at}/{i}")

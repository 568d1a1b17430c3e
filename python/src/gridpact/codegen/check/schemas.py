"""Schemas: only keywords that every target knows, and patterns that mean the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gridpact.codegen.documents import Contracts, Json, walk

# fmt: off
KEYWORDS = frozenset((
    "$schema", "$ref", "title", "description", "default", "examples",
    "type", "enum", "const", "allOf", "oneOf", "anyOf", "discriminator",
    "properties", "required", "additionalProperties", "unevaluatedProperties",
    "minProperties", "maxProperties", "items", "minItems", "maxItems",
    "minLength", "maxLength", "pattern", "format",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "contentEncoding", "contentMediaType", "contentSchema",
    "x-rules", "x-items", "x-wire", "x-same-as",
))
# fmt: on

FORMATS = frozenset(("date-time", "uuid", "uri-reference"))

# \d, \w, \s and \b differ between ECMAScript, Python, Rust and PCRE, and so do look-arounds.
NOT_PORTABLE = re.compile(r"\\[dDwWsSbBpPuA-Z]|\(\?(?!:)")


def faults(contracts: Contracts) -> Iterator[str]:
    for name, schema in _schemas(contracts):
        yield from _faults(name, schema, "")
    for name in ("openapi.yaml", "asyncapi.yaml"):
        for at, node in walk(contracts.document(name)):
            for key, value in node.items():
                if value is None and not at.endswith("/security"):
                    yield (
                        f"contracts/{name}#{at}: {key!r} has no value; "
                        "quote the text before it when it holds a comma or a colon"
                    )


def _schemas(contracts: Contracts) -> Iterator[tuple[str, Json]]:
    yield from contracts.schemas.items()
    for title, schema in contracts.asyncapi["components"]["schemas"].items():
        yield f"asyncapi.yaml#/components/schemas/{title}", schema


def _faults(name: str, schema: Json, at: str) -> Iterator[str]:
    place = f"contracts/{name}{at and ' at ' + at}"
    for keyword in schema.keys() - KEYWORDS:
        yield (
            f"{place}: keyword {keyword!r} is unknown; correct it, or quote the description "
            "that it was cut from"
        )
    pattern = schema.get("pattern", "")
    if NOT_PORTABLE.search(pattern):
        yield f"{place}: pattern {pattern} is not portable; write classes out, as [0-9]"
    if pattern and not (pattern.startswith("^") and pattern.endswith("$")):
        yield f"{place}: pattern {pattern} is not anchored; write ^…$"
    if schema.get("format", "date-time") not in FORMATS:
        yield f"{place}: no target checks the format {schema['format']}; use a pattern"
    if schema.get("type") == "object" and "properties" in schema:
        for member in set(schema.get("required", ())) - schema["properties"].keys():
            if "allOf" not in schema:
                yield f"{place}: required names {member}, which is no property; correct one of them"
        for member, node in schema["properties"].items():
            if "null" in node.get("type", ()):
                yield f"{place}: {member} may be null; make it optional instead"
    for member, node in schema.get("properties", {}).items():
        yield from _faults(name, node, f"{at}/{member}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from _faults(name, schema[keyword], f"{at}/{keyword}")

"""JSON Schema, the MsgPack messages and the REST models accept and refuse the same values."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gridpact.codegen.documents import Contracts, Json
from gridpact.contracts import messages, rest
from gridpact.kit.rest import StrictModel, violations_from
from gridpact.kit.shapes import is_instant
from gridpact.kit.wire import Message, violations_of
from tests.codegen.conftest import ROOT

CONTRACTS = Contracts(ROOT / "contracts")
SCHEMAS = {schema["title"]: schema for schema in CONTRACTS.schemas.values()}
BUNDLE: Json = {
    **CONTRACTS.bundle("asyncapi.yaml")["components"]["schemas"],
    **CONTRACTS.bundle("openapi.yaml")["components"]["schemas"],
}

# What a request may hold: models that refuse everything unknown, and unions of them.
SENT = {
    title
    for title in SCHEMAS
    if "oneOf" in SCHEMAS[title]
    or (isinstance(model := getattr(rest, title, None), type) and issubclass(model, StrictModel))
}

# What JSON Schema cannot say.
ACROSS = {
    "at-most",
    "before",
    "contains",
    "convex",
    "disjoint",
    "fits",
    "increasing",
    "last-equals",
    "length-equals",
    "not-all-zero",
    "must-run-can-start",
    "refers-to",
    "spans",
    "unique",
}

EXAMPLES = [
    pytest.param(title, example, id=f"{title}-{i}")
    for title, schema in SCHEMAS.items()
    if title in SENT or hasattr(getattr(messages, title, None), "__shape__")
    for i, example in enumerate(schema.get("examples", ()))
]

TEXTS = [
    *("", "EUR", "EUR\n", "EURO", " a", "a ", "a b", "a\n", "a\x00", "é", "😀" * 120, "x" * 121),
    *("2026-02-28T00:00:00Z", "2026-02-29T00:00:00Z", "2026-06-01T00:00:60Z"),
    *("2026-06-01T00:00:00Z\n", "0000-01-01T00:00:00Z", "2026-06-01T00:00:00.1234567Z"),
    *("01981f6e-7c00-7000-8000-000000000001", "battery", "dispatch", "auto", "julia"),
]
NUMBERS = [
    *(-1, 0, 1, 2, 4, 900, 901, 1000, 1001, 35136, 35137, 10**6, 10**6 + 1, 10**7, 10**7 + 1),
    *(-0.0, 0.5, 1.0, 1.5, 4.0, 900.0, 3600, 3601, 86400.5, 1e-300, 1e300, -1e-300, -1000.5),
]
OTHER = [None, True, False, [], {}, [0], [True], ["x"], [0.0, 1.0, 2.0, 3.0], {"x": 1}]
POOL = [*TEXTS, *NUMBERS, *OTHER]

values = st.recursive(
    st.sampled_from(POOL) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3)
    ),
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container within ``value`` with each of its keys."""
    found: list[tuple[Any, Any]] = []
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        found.append((value, key))
        found.extend(places(value[key]))
    return found


def changed_once(example: Any) -> Iterator[Any]:
    """The example with each of its values removed, and replaced by each value of the pool."""
    for i in range(len(places(example))):
        for replacement in (REMOVED, *POOL):
            value = copy.deepcopy(example)
            container, key = places(value)[i]
            if replacement is REMOVED:
                del container[key]
            else:
                container[key] = copy.deepcopy(replacement)
            yield value


REMOVED = object()


@st.composite
def changed(draw: st.DrawFn, example: Any) -> Any:
    """The example, with up to three of its values replaced or removed."""
    value = copy.deepcopy(example)
    for _ in range(draw(st.integers(0, 3))):
        if not places(value):
            return draw(values)
        container, key = draw(st.sampled_from(places(value)))
        if draw(st.booleans()):
            # A copy: the next change may go into it, and the pool must stay as it is.
            container[key] = copy.deepcopy(draw(values))
        else:
            del container[key]
    return value


@cache
def validator(title: str, *, open_: bool) -> jsonschema_rs.Draft202012Validator:
    """The schema of this title; ``open_`` allows unknown members, as readers of messages do."""
    return jsonschema_rs.Draft202012Validator(
        {
            "$ref": f"#/components/schemas/{title}",
            "components": {"schemas": opened(BUNDLE) if open_ else BUNDLE},
        },
        validate_formats=True,
        formats={"date-time": is_instant},
    )


def opened(node: Any) -> Any:
    if isinstance(node, list):
        return [opened(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: opened(item) for key, item in node.items() if item is not False}


@cache
def adapter(title: str) -> TypeAdapter[Any]:
    return TypeAdapter(getattr(rest, title))


def accepted_by_model(title: str, value: Any) -> bool:
    try:
        adapter(title).validate_python(value)
    except ValidationError as error:
        return {found.rule for found in violations_from(error.errors())} <= ACROSS
    return True


def assert_agreement(title: str, value: Any) -> None:
    message = getattr(messages, title, None)
    if isinstance(message, type) and issubclass(message, Message):
        expected = validator(title, open_=True).is_valid(value)
        assert (violations_of(message, value) == []) == expected, value
    if title in SENT:
        expected = validator(title, open_=False).is_valid(value)
        assert accepted_by_model(title, value) == expected, value


@pytest.mark.parametrize(("title", "example"), EXAMPLES)
def test_all_say_the_same_of_one_change(title: str, example: Any) -> None:
    for value in changed_once(example):
        assert_agreement(title, value)


@pytest.mark.parametrize(("title", "example"), EXAMPLES)
@settings(max_examples=30)
@given(data=st.data())
def test_all_say_the_same_of_several_changes(title: str, example: Any, data: st.DataObject) -> None:
    assert_agreement(title, data.draw(changed(example)))

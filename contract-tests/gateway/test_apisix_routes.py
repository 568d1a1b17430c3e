"""The generated routes against APISIX's own schemas, and against the operations they stand for."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from gridpact.contracts.operations import OPERATIONS

ROOT = Path(__file__).parents[2]
SCHEMAS = json.loads(Path(__file__).with_name("apisix-3.18-schema.json").read_text("utf-8"))
TEXT = (ROOT / "apisix" / "apisix.yaml").read_text("utf-8")
DOCUMENT: dict[str, list[dict[str, Any]]] = yaml.safe_load(TEXT)
KINDS = {
    "upstreams": "upstream",
    "services": "service",
    "plugin_configs": "plugin_config",
    "consumers": "consumer",
    "routes": "route",
}


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """The value as APISIX sees it: it fills in the defaults before it validates."""
    if not isinstance(value, dict):
        return value
    filled = copy.deepcopy(value)
    for name, member in schema.get("properties", {}).items():
        if name in filled:
            filled[name] = with_defaults(member, filled[name])
        elif "default" in member:
            filled[name] = member["default"]
    return filled


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    return [
        f"{error.json_path}: {error.message}"
        for error in Draft7Validator(schema).iter_errors(with_defaults(schema, value))
    ]


def known(schema: Any) -> set[str]:
    """The settings that a schema names, in any of its branches."""
    if not isinstance(schema, dict):
        return set().union(*map(known, schema)) if isinstance(schema, list) else set()
    branches = (value for key, value in schema.items() if key != "properties")
    return set(schema.get("properties", ())).union(*map(known, branches))


def objects() -> list[Any]:
    return [
        pytest.param(kind, item, id=f"{kind}-{item.get('id', item.get('username'))}")
        for group, kind in KINDS.items()
        for item in DOCUMENT[group]
    ]


@pytest.mark.parametrize(("kind", "item"), objects())
def test_object_is_valid(kind: str, item: dict[str, Any]) -> None:
    """APISIX refuses an object, or one of its plugins, that breaks its schema."""
    assert faults(SCHEMAS["main"][kind], item) == []
    for name, settings in item.get("plugins", {}).items():
        part = "consumer_schema" if kind == "consumer" else "schema"
        schema = SCHEMAS["plugins"][name][part]
        assert faults(schema, settings) == [], name
        # APISIX accepts an unknown plugin setting in silence: a typing error would do nothing.
        assert settings.keys() <= known(schema), name


def test_file_ends_as_apisix_demands() -> None:
    assert TEXT.endswith("\n#END\n")


def test_only_known_groups_stand_in_the_file() -> None:
    assert DOCUMENT.keys() == KINDS.keys()


def test_there_is_one_route_an_operation() -> None:
    """Path, method, rate, time and protection are those of the operation."""
    routes = {route["id"]: route for route in DOCUMENT["routes"]}
    assert routes.keys() == OPERATIONS.keys()
    for name, operation in OPERATIONS.items():
        route = routes[name]
        assert route["uri"] == re.sub(r"\{(\w+)\}", r":\1", operation.path)
        assert route["methods"] == [operation.method]
        assert ("plugin_config_id" in route) == (operation.role is not None)
        assert route["timeout"]["read"] == operation.timeout_s
        assert route["plugins"]["limit-count"]["count"] == operation.rate_count
        assert route["plugins"]["limit-count"]["rejected_code"] == 429
        assert ("proxy-buffering" in route["plugins"]) == operation.streaming


def test_tokens_are_checked_for_their_end() -> None:
    """A token without `exp` passes jwt-auth unless it is told to look."""
    (token,) = DOCUMENT["plugin_configs"]
    assert token["plugins"]["jwt-auth"]["claims_to_verify"] == ["exp"]


def test_every_plugin_is_switched_on() -> None:
    config = yaml.safe_load((ROOT / "apisix" / "config.yaml").read_text("utf-8"))
    used = {
        name for group in DOCUMENT.values() for item in group for name in item.get("plugins", {})
    }
    assert used == set(config["plugins"])


@pytest.mark.parametrize("breakage", [{"rejected_code": 1}, {"count": 0}, {"cout": 5}])
def test_a_broken_setting_is_noticed(breakage: dict[str, int]) -> None:
    """The check above can fail."""
    settings = DOCUMENT["routes"][0]["plugins"]["limit-count"] | breakage
    schema = SCHEMAS["plugins"]["limit-count"]["schema"]
    assert faults(schema, settings) or not settings.keys() <= known(schema)

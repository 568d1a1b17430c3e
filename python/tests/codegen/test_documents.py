from __future__ import annotations

import json

import pytest

from gridpact.codegen.documents import Contracts, walk
from gridpact.codegen.emit import errors, gateway, julia, messages, rest
from gridpact.codegen.model import Model


@pytest.mark.parametrize("name", ["openapi.yaml", "asyncapi.yaml"])
def test_bundle_stands_alone(name: str, contracts: Contracts) -> None:
    """Every reference of a bundle leads to something within it."""
    bundle = contracts.bundle(name)
    for at, node in walk(bundle):
        if not isinstance(node.get("$ref"), str):
            continue
        target = bundle
        assert node["$ref"].startswith("#/"), at
        for step in node["$ref"][2:].split("/"):
            target = target[step]


def test_bundle_says_the_bounds_of_a_series_in_plain_json_schema(contracts: Contracts) -> None:
    load = contracts.bundle("openapi.yaml")["components"]["schemas"]["DispatchLoad"]
    assert load["properties"]["power_kw"]["items"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 1000000,
    }


def test_bundle_merges_what_a_schema_builds_on(contracts: Contracts) -> None:
    site = contracts.bundle("openapi.yaml")["components"]["schemas"]["Site"]
    assert site["additionalProperties"] is False
    assert {"name", "site_id"} <= set(site["required"]) <= site["properties"].keys()


def test_generation_gives_the_same_text_every_time(contracts: Contracts) -> None:
    """Two runs, each reading the contracts anew, give the same bytes."""

    def run() -> str:
        fresh = Contracts(contracts.root)
        model = Model(fresh)
        files = (
            messages.emit(fresh, model)
            | rest.emit(fresh, model)
            | julia.emit(fresh, model)
            | gateway.emit(fresh)
            | errors.emit(fresh)
        )
        return json.dumps({str(path): text.decode() for path, text in files.items()})

    assert run() == run()

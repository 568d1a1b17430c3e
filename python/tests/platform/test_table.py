"""Every row gets what its process reads, and waits for every server it talks to."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridpact.kit.settings import (
    ApiSettings,
    BridgeSettings,
    ComputeSettings,
    RelaySettings,
    ServicesSettings,
    read_settings,
)
from gridpact.platform import rocketmq
from gridpact.platform.addresses import PortClaims
from gridpact.platform.compute import ComputeNode, compute_nodes
from gridpact.platform.error import PlatformError
from gridpact.platform.options import Broker, PlatformOptions
from gridpact.platform.state import Secrets
from gridpact.platform.steps import Steps
from gridpact.platform.supervisor import ProcessSpec
from gridpact.platform.table import database_folder, listeners, process_table

STEPS = {"initdb", "migrate", "first-admin"}


def table(
    state_dir: Path,
    *,
    only: tuple[str, ...] = (),
    broker: Broker = "redis",
    detours: dict[str, dict[str, str]] | None = None,
) -> dict[str, ProcessSpec]:
    options = PlatformOptions(state_dir=state_dir, only=only, broker=broker, detours=detours or {})
    computes = (
        ComputeNode("compute-julia", ("julia",)),
        ComputeNode("compute-python", ("python",)),
    )
    secrets = Secrets.random()
    claims = PortClaims()
    try:
        addresses = claims.claim(listeners(computes, options.broker))
        steps = Steps(database_folder(state_dir), secrets)
        rows = process_table(options, secrets, addresses, computes, steps)
    finally:
        claims.close()
    return {row.name: row for row in rows}


@pytest.fixture(params=["first start", "later start"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, ProcessSpec]:
    if request.param == "later start":
        secrets = Secrets.random()
        (database_folder(tmp_path) / "data").mkdir(mode=0o700)
        for step in STEPS:
            Steps(database_folder(tmp_path), secrets).note(step)
    found = table(tmp_path)
    assert (STEPS & found.keys()) == (STEPS if request.param == "first start" else set())
    return found


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("services", ServicesSettings),
        ("api", ApiSettings),
        ("relay", RelaySettings),
        ("bridge", BridgeSettings),
        ("compute-julia", ComputeSettings),
        ("compute-python", ComputeSettings),
    ],
)
def test_a_process_finds_its_settings(
    rows: dict[str, ProcessSpec], name: str, settings: type[object]
) -> None:
    read_settings(settings, rows[name].environment)


def test_a_process_waits_for_the_servers_it_talks_to(rows: dict[str, ProcessSpec]) -> None:
    for row in rows.values():
        if "GRIDPACT_DATABASE_URL" in row.environment and row.name in ("services", "relay"):
            assert {"postgres", "redis"} <= set(row.after)
    assert {"redis", "services"} <= set(rows["bridge"].after) & set(rows["api"].after)


def test_the_bridge_knows_every_compute_node(rows: dict[str, ProcessSpec]) -> None:
    urls = read_settings(BridgeSettings, rows["bridge"].environment).compute_urls
    nodes = (rows["compute-julia"], rows["compute-python"])
    assert urls == tuple(f"ws://{node.address}/compute" for node in nodes)
    for node, url in zip(nodes, urls, strict=True):
        assert f"--port {url.removesuffix('/compute').rpartition(':')[2]}" in " ".join(node.command)


def test_a_detour_is_one_process_s_way_to_one_server(tmp_path: Path) -> None:
    rows = table(tmp_path, detours={"bridge": {"compute-python": "127.0.0.1:1"}})
    urls = read_settings(BridgeSettings, rows["bridge"].environment).compute_urls
    assert urls == (f"ws://{rows['compute-julia'].address}/compute", "ws://127.0.0.1:1/compute")
    assert "--port 1" not in " ".join(rows["compute-python"].command)
    changed = {name for name, row in rows.items() if "127.0.0.1:1/" in str(row.environment)}
    assert changed == {"bridge"}


def test_with_rocketmq_the_queue_goes_through_it_and_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rocketmq, "find_java", lambda: "java")
    monkeypatch.setattr(rocketmq, "find_libraries", lambda: tmp_path)
    rows = table(tmp_path, broker="rocketmq")
    names, proxy = rows["rocketmq-names"], rows["rocketmq"]
    assert proxy.after == ("rocketmq-names",)
    for name, kind in (("relay", RelaySettings), ("bridge", BridgeSettings)):
        assert "rocketmq" in rows[name].after
        settings = read_settings(kind, rows[name].environment)
        assert settings.broker == "rocketmq"
        assert settings.rocketmq_endpoints == proxy.address
        assert settings.rocketmq_name_servers == (names.address,)


def test_without_java_rocketmq_is_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/usr/sbin/nothing-here")
    with pytest.raises(PlatformError, match=r"needs Java.*scripts/setup-rocketmq"):
        rocketmq.find_java()


def test_wanting_postgresql_includes_making_it(tmp_path: Path) -> None:
    assert list(table(tmp_path, only=("postgres",))) == ["initdb", "postgres"]


def test_without_a_julia_the_python_engine_computes_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gridpact.platform.compute.repository", lambda: None)
    said: list[str] = []
    nodes = compute_nodes(PlatformOptions(engine="all"), said.append)
    assert [node.name for node in nodes] == ["compute-python"]
    assert len(said) == 1
    assert "Julia" in said[0]

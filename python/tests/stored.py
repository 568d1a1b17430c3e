"""Something to ask the API for."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

import httpx

from gridpact.kit.identifiers import new_identifier
from tests.message_view import message_of
from tests.rpc_client import RpcClient
from tests.services import BRIDGE_SECRET, Services


@dataclass(frozen=True)
class Stored:
    """The ids of one object of each kind."""

    site_id: str
    asset_id: str
    series_id: str
    # A task that SUCCEEDED.
    task_id: str


def store_one_of_each(api: httpx.Client, token: str, services: Services) -> Stored:
    """Creates them with the token of an engineer or admin."""

    def create(path: str, body: object) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": new_identifier()}
        return api.post(path, json=body, headers=headers).raise_for_status().json()

    site = {"name": "Hof", "time_zone": "Europe/Berlin", "currency": "EUR"}
    site_id = create("/v1/sites", site)["site_id"]
    load = {"type": "load", "name": "House", "load": {}}
    asset_id = create(f"/v1/sites/{site_id}/assets", load)["asset_id"]
    series = {"site_id": site_id, "name": "L", "quantity": "power_kw", "slot_duration_s": 900}
    series_id = create("/v1/series", series)["series_id"]
    values = {"start_time": "2026-06-01T00:00:00Z", "values": [0.25, 0.5]}
    create(f"/v1/series/{series_id}/values", values)
    task_id = create("/v1/tasks", {"kind": "probe", "input": {}})["task_id"]
    with RpcClient(services.address) as client:
        _finish(client, task_id)
    return Stored(site_id, asset_id, series_id, task_id)


def _finish(client: RpcClient, task_id: str) -> None:
    """Brings the result of a probe, as the bridge does."""
    bridge = {"service": "bridge", "secret": BRIDGE_SECRET}
    identity = "gridpact.identity.v1.IdentityService/IssueServiceToken"
    token = client.call(identity, bridge)["access_token"]
    delivery = "gridpact.tasks.v1.DeliveryService"
    opening = {"attempts": [{"task_id": task_id, "bridge_id": "test"}]}
    opened = client.call(f"{delivery}/OpenAttempts", opening, token)["attempts"][0]
    ending = {
        "lease": {"task_id": task_id, "fencing_token": opened["fencing_token"]},
        "engine": "python",
        "engine_version": "1",
        "solve_ms": 0.5,
        "succeeded": {
            "encoding": "ENCODING_IDENTITY",
            "result": b64encode(message_of({"held_ms": 0.5, "padding": ""})).decode(),
        },
    }
    client.call(f"{delivery}/CompleteAttempts", {"attempts": [ending]}, token)

"""Somebody who uses one of the marketplaces: a pretend world, a clock by hand, and one dialect's requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from shopperd.simulator import Answer, Request, World, WorldSettings

START = 1_795_384_800.0
"""2026-11-22T22:00:00Z."""
KEY = "a-good-key"
TAG = "shopper-0d5f3a0e-8f1d-4c39-9d8e-1f2a3b4c5d6e"
PROVIDER = {"vastai": "vastai", "v2": "tensordock", "v0": "tensordock"}


class Visitor:
    """Asks the world in one dialect. Without rate limits and with machines that boot at once, unless told."""

    def __init__(
        self, dialect: str = "vastai", *, key: str = KEY, only_key: str | None = None, **settings: Any
    ) -> None:
        self.dialect = dialect
        self.provider = PROVIDER[dialect]
        self.key = key
        defaults: dict[str, Any] = {"rate_scale": 0.0, "boot_seconds": 0.0, "offers": 60, "nodes": 12}
        self.world = World.build(WorldSettings(key=only_key, **(defaults | settings)), now=START)
        self.now = START

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.world.advance_to(self.now)

    def ask(
        self,
        method: str,
        path: str,
        content: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        raw = body if body is not None else b"" if content is None else json.dumps(content).encode()
        request = Request(method, path, query or {}, {**sent, **(headers or {})}, raw)
        return self.world.handle(self.provider, request, self.now)

    def form(self, path: str, **fields: Any) -> Answer:
        keys = {"api_key": "an-id", "api_token": self.key} if self.key else {}
        body = urlencode({**keys, **fields}).encode()
        return self.ask("POST", f"/api/v0/{path}", body=body)

    def control(self, method: str, path: str, content: Any = None, query: Mapping[str, str] | None = None) -> Answer:
        body = b"" if content is None else json.dumps(content).encode()
        return self.world.handle("control", Request(method, f"/_sim/{path}", query or {}, {}, body), self.now)

    # --- the five things that everybody does ----------------------------------------------------------------

    def search(self, **filters: Any) -> Answer:
        if self.dialect == "vastai":
            return self.ask("POST", "/api/v0/bundles/", filters)
        return self.ask("GET", "/api/v2/locations" if self.dialect == "v2" else "/api/v0/client/deploy/hostnodes")

    def create(self, tag: str | None = TAG, **more: Any) -> Answer:
        if self.dialect == "vastai":
            offer = more.pop("offer", None) or next(self.world.truth.vast.free()).id
            return self.ask("PUT", f"/api/v0/asks/{offer}/", {"image": "ubuntu:22.04", "label": tag, **more})
        node = self.node()
        gpu = next(name for name, count in node.gpus.items() if count)
        if self.dialect == "v2":
            return self.ask("POST", "/api/v2/instances", self.wish(node.site.id, gpu, tag, **more))
        fields = {
            "name": tag,
            "password": "Abcdefg1!",
            "gpu_count": 1,
            "gpu_model": gpu,
            "vcpus": 4,
            "ram": 16,
            "storage": 100,
            "hostnode": node.id,
            "operating_system": "Ubuntu 22.04 LTS",
            "external_ports": f"{{{node.ports[0]}}}",
            "internal_ports": "{22}",
        }
        return self.form("client/deploy/single", **(fields | more))

    def node(self) -> Any:
        return next(node for node in self.world.truth.dock.nodes.values() if any(node.gpus.values()))

    @staticmethod
    def wish(location: str, gpu: str, tag: str | None, **more: Any) -> dict[str, Any]:
        attributes = {
            "name": tag,
            "type": "virtualmachine",
            "image": "ubuntu2404",
            "resources": {"vcpu_count": 4, "ram_gb": 16, "storage_gb": 100, "gpus": {gpu: {"count": 1}}},
            "location_id": location,
            "port_forwards": [{"internal_port": 22, "external_port": 22}],
            "ssh_key": "ssh-ed25519 AAAA test",
        }
        return {"data": {"type": "virtualmachine", "attributes": attributes | more}}

    def page(self, **query: str) -> Answer:
        match self.dialect:
            case "vastai":
                return self.ask("GET", "/api/v1/instances/", query=query)
            case "v2":
                return self.ask("GET", "/api/v2/instances")
            case _:
                return self.form("client/list")

    def show(self, instance_id: str) -> Answer:
        match self.dialect:
            case "vastai":
                return self.ask("GET", f"/api/v0/instances/{instance_id}/")
            case "v2":
                return self.ask("GET", f"/api/v2/instances/{instance_id}")
            case _:
                return self.form("client/get/single", server=instance_id)

    def destroy(self, instance_id: str) -> Answer:
        match self.dialect:
            case "vastai":
                return self.ask("DELETE", f"/api/v0/instances/{instance_id}/", {})
            case "v2":
                return self.ask("DELETE", f"/api/v2/instances/{instance_id}")
            case _:
                return self.form("client/delete/single", server=instance_id)

    # --- shorthand ------------------------------------------------------------------------------------------

    def rent(self, tag: str | None = TAG, **more: Any) -> str:
        """A machine through the front door; its id."""
        created = self.create(tag, **more).json()
        if self.dialect == "vastai":
            return str(created["new_contract"])
        return str(created["data"]["id"] if self.dialect == "v2" else created["server"])

    def conjure(self, number: int = 1, **wish: Any) -> list[str]:
        """Machines out of nowhere; their ids."""
        full = {"provider": self.provider, "tag": TAG, "age_seconds": 3600, **wish}
        return [self.world.conjure(full)["id"] for _ in range(number)]

    def rows(self, answer: Answer | None = None) -> list[dict[str, Any]]:
        """The rows of a listing."""
        content = (answer or self.page()).json()
        rows = content[{"vastai": "instances", "v2": "data", "v0": "virtualmachines"}[self.dialect]]
        return [{"id": key, **row} for key, row in rows.items()] if isinstance(rows, dict) else rows

    def listed(self) -> list[str]:
        """The ids of one page, as text."""
        return [str(row["id"]) for row in self.rows()]

    def existing(self) -> list[str]:
        """The ids of what truly exists."""
        return [instance.id for instance in self.world.truth.existing(self.provider)]

    def offers(self, answer: Answer | None = None, **filters: Any) -> list[dict[str, Any]]:
        """The rows of the market."""
        content = (answer or self.search(**filters)).json()
        match self.dialect:
            case "vastai":
                return content["offers"]  # type: ignore[no-any-return]  # decoded JSON
            case "v2":
                return content["data"]["locations"]  # type: ignore[no-any-return]  # decoded JSON
            case _:
                return list(content["hostnodes"].values())

    def tag_of(self, row: Mapping[str, Any]) -> Any:
        return row["label" if self.dialect == "vastai" else "name"]

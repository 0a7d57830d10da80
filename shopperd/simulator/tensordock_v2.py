"""The TensorDock v2 dialect: JSON, a Bearer token, errors that can arrive with HTTP 200.

Facts follow recorded answers of 2026 before documentation: the list is a flat array, one machine comes unwrapped, a create
comes wrapped and says `running` long before there is an address. A 429's body and headers are on nobody's record; the ones here
(`error`, `Retry-After`, `X-RateLimit-*`) are this simulator's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shopperd.simulator.call import Call
from shopperd.simulator.dock_market import MODELS_BY_NAME, Hostnode, Site, new_uuid
from shopperd.simulator.exchange import Answer, BadBodyError, Request, json_answer, loose_json_answer, text_answer
from shopperd.simulator.instances import DockInstance, Phase
from shopperd.simulator.keys import Verdict, bearer, judge
from shopperd.simulator.limits import DOCK_REQUESTS_PER_MINUTE, MINUTE
from shopperd.simulator.routing import Match, find, route
from shopperd.simulator.tensordock_create import Wish, read_wish
from shopperd.simulator.truth import Truth

PROVIDER = "tensordock"
RETRY_AFTER_SECONDS = 5
BALANCE_MIN = 1.0

STATUS: Mapping[Phase, str] = {
    Phase.PROVISIONING: "creating",
    Phase.LOADING: "starting",
    Phase.RUNNING: "running",
    Phase.REBOOTING: "running",
    Phase.STOPPING: "stopping",
    Phase.STOPPED: "stopped",
    Phase.RELEASED: "stoppeddisassociated",
    Phase.EXITED: "stopped",
    Phase.FAILED: "error",
    Phase.QUEUED: "queued",
    Phase.OFFLINE: "unknown",
    Phase.UNKNOWN: "unknown",
}
STARTABLE = (Phase.STOPPED, Phase.RELEASED, Phase.EXITED)


def refusal_in_200(text: str) -> Answer:
    """A failed create: HTTP 200, and the status in the body."""
    return json_answer(200, {"status": 400, "error": text})


def not_found() -> Answer:
    """No machine of that id."""
    return json_answer(404, {"error": "Instance not found"})


def unauthorized() -> Answer:
    """A bad or missing token."""
    return text_answer(401, "Unauthorized")


def too_many(retry_after: int | None = RETRY_AFTER_SECONDS) -> Answer:
    """The organisation's requests of this minute are used up."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return json_answer(429, {"error": "Rate limit exceeded"}, headers)


class TensordockV2:
    """The dialect. It keeps nothing: see the truth."""

    name = "v2"

    def __init__(self) -> None:
        base = "/api/v2"
        one = f"{base}/instances/{{instance}}"
        self.routes = (
            route("GET", f"{base}/locations", "search", self.locations, public=True),
            route("GET", f"{base}/hostnodes", "search", self.hostnodes),
            route("GET", f"{base}/hostnodes/{{node}}", "search", self.hostnode),
            route("GET", f"{base}/instances", "list", self.list),
            route("POST", f"{base}/instances", "create", self.create, writes=True),
            route("GET", one, "show", self.show),
            route("DELETE", one, "destroy", self.destroy, writes=True),
            route("POST", f"{one}/start", "start", self.start, writes=True),
            route("POST", f"{one}/stop", "stop", self.stop, writes=True),
            route("PUT", f"{one}/modify", "modify", self.modify, writes=True),
            route("GET", f"{base}/secrets", "secrets", self.secrets),
            route("POST", f"{base}/secrets", "secret", self.create_secret, writes=True),
            route("GET", f"{base}/secrets/{{secret}}", "secrets", self.secret),
            route("DELETE", f"{base}/secrets/{{secret}}", "secret", self.delete_secret, writes=True),
        )

    # --- the way in -----------------------------------------------------------------------------------------

    def match(self, request: Request) -> Match | None:
        """The route of a request; a trailing slash does not matter."""
        return find(self.routes, request, request.path.rstrip("/"))

    def lost(self, _request: Request) -> Answer:
        """No such route."""
        return json_answer(404, {"error": "Not found"})

    @staticmethod
    def key_of(request: Request) -> str:
        """The Bearer token. Credentials in the query are ignored, as the real service does."""
        return bearer(request.header("authorization"))

    @staticmethod
    def refused(call: Call, match: Match) -> Answer | None:
        """The answer to a bad token (`id:token` is one too), or to one request too many."""
        verdict = judge(call.key, call.truth.settings.key)
        public = match.route.public and verdict is Verdict.MISSING
        if (verdict in (Verdict.MISSING, Verdict.BAD) and not public) or ":" in call.key:
            return unauthorized()
        if verdict is Verdict.READ_ONLY and match.route.writes:
            return json_answer(403, {"error": "Forbidden"})
        left = call.truth.limits.window_left("tensordock-v2", DOCK_REQUESTS_PER_MINUTE, call.now)
        return too_many() if left is None else None

    @staticmethod
    def limit_headers(truth: Truth) -> dict[str, str]:
        """Headers on every answer; their names are this simulator's choice."""
        used = truth.limits.window_used("tensordock-v2")
        return {
            "X-RateLimit-Limit": str(DOCK_REQUESTS_PER_MINUTE),
            "X-RateLimit-Remaining": str(max(0, DOCK_REQUESTS_PER_MINUTE - used)),
            "X-RateLimit-Reset": str(int(truth.now + MINUTE)),
        }

    # --- market ---------------------------------------------------------------------------------------------

    @staticmethod
    def locations(call: Call) -> Answer:
        """What can be rented, by location and GPU model."""
        rows = [_location(call, site) for site in call.truth.dock.sites]
        rows = call.offers([row for row in rows if row["gpus"]])
        return loose_json_answer(200, {"data": {"locations": rows}})

    @staticmethod
    def hostnodes(call: Call) -> Answer:
        """All nodes; filters in the query are applied where they are known."""
        location, gpu = call.request.param("location"), call.request.param("gpu")
        nodes = [
            node
            for node in call.truth.dock.nodes.values()
            if location in (None, node.site.id) and (gpu is None or gpu in node.gpus)
        ]
        return loose_json_answer(200, {"data": {"hostnodes": call.offers([_hostnode(node) for node in nodes])}})

    @staticmethod
    def hostnode(call: Call) -> Answer:
        """One node."""
        node = call.truth.dock.nodes.get(call.params["node"])
        return (
            json_answer(404, {"error": "Hostnode not found"})
            if node is None
            else json_answer(200, {"data": _hostnode(node)})
        )

    # --- machines -------------------------------------------------------------------------------------------

    @staticmethod
    def create(call: Call) -> Answer:
        """Rent a virtual machine."""
        try:
            wish = read_wish(call.request.json())
        except BadBodyError:
            return json_answer(400, {"error": "Invalid JSON"})
        if not isinstance(wish, Wish):
            return json_answer(400, wish)
        if call.truth.credit(PROVIDER) < BALANCE_MIN:
            return refusal_in_200(f"You need at least ${BALANCE_MIN:.2f} in your account to deploy")
        node = _node_for(call, wish)
        if isinstance(node, Answer):
            return node
        instance = call.truth.rent_dock(
            node,
            wish.resources,
            tag=wish.name,
            internal_ports=() if wish.dedicated_ip else wish.ports,
            image=wish.image,
            dedicated_ip=wish.dedicated_ip,
        )
        call.did_create(instance)
        content = {
            "type": "virtualmachine",
            "id": instance.id,
            "name": instance.tag,
            "status": STATUS[instance.at(call.now).phase],
        }
        return json_answer(200, {"data": content})

    @staticmethod
    def list(call: Call) -> Answer:
        """Every machine of the organisation, as a flat array without paging."""
        known = call.seen(call.truth.listed(PROVIDER))
        rows = [call.row(row, _item(row, call.now)) for row in known if isinstance(row, DockInstance)]
        return loose_json_answer(200, {"data": rows})

    @staticmethod
    def show(call: Call) -> Answer:
        """One machine, unwrapped."""
        seen = call.seen(call.truth.shown(PROVIDER, call.params["instance"]))
        instance = next((row for row in seen if isinstance(row, DockInstance)), None)
        if instance is None:
            return not_found()
        return loose_json_answer(200, call.row(instance, _detail(instance, call.now)))

    @staticmethod
    def destroy(call: Call) -> Answer:
        """End a machine: the only act that ends its bill."""
        instance = call.truth.find(PROVIDER, call.params["instance"])
        if instance is None:
            return not_found()
        call.did_destroy(instance)
        message = "Instance deleted successfully"
        return json_answer(200, {"data": {"type": "success", "attributes": {"message": message}}})

    @staticmethod
    def start(call: Call) -> Answer:
        """Start a stopped machine."""
        instance = call.truth.find(PROVIDER, call.params["instance"])
        if instance is None:
            return not_found()
        if instance.at(call.now).phase not in STARTABLE:
            return json_answer(409, {"error": "Instance is already running"})
        if not call.truth.start(instance):
            return json_answer(400, {"error": "GPU is no longer available; the instance can only be deleted"})
        call.effects.append(f"started:{instance.id}")
        return _accepted(instance.id, "starting")

    @staticmethod
    def stop(call: Call) -> Answer:
        """Stop a machine; its GPU stays reserved and its bill runs on."""
        instance = call.truth.find(PROVIDER, call.params["instance"])
        if instance is None:
            return not_found()
        if instance.at(call.now).phase in (*STARTABLE, Phase.STOPPING):
            return json_answer(409, {"error": "Instance is not running"})
        call.truth.stop(instance)
        call.effects.append(f"stopped:{instance.id}")
        return _accepted(instance.id, "stopping")

    @staticmethod
    def modify(call: Call) -> Answer:
        """Change a stopped machine's resources; here only the checks are made, and the sizes kept."""
        instance = call.truth.find(PROVIDER, call.params["instance"])
        if not isinstance(instance, DockInstance):
            return not_found()
        if instance.at(call.now).phase not in (Phase.STOPPED, Phase.RELEASED):
            return json_answer(400, {"error": "Instance must be stopped to be modified"})
        try:
            body = call.request.json()
        except BadBodyError:
            body = None
        if not isinstance(body, Mapping):
            return json_answer(400, {"error": "Invalid JSON"})
        disk = body.get("diskGb")
        if isinstance(disk, int) and disk < instance.resources.storage_gb:
            return json_answer(400, {"error": "Storage can only be increased"})
        call.effects.append(f"modified:{instance.id}")
        return _accepted(instance.id, STATUS[instance.at(call.now).phase])

    # --- secrets --------------------------------------------------------------------------------------------

    @staticmethod
    def secrets(call: Call) -> Answer:
        """Stored ssh keys, without their values."""
        return json_answer(200, {"data": {"secrets": [*call.truth.secrets.values()]}})

    @staticmethod
    def secret(call: Call) -> Answer:
        """One stored key, without its value."""
        found = call.truth.secrets.get(call.params["secret"])
        return json_answer(404, {"error": "Secret not found"}) if found is None else json_answer(200, {"data": found})

    @staticmethod
    def create_secret(call: Call) -> Answer:
        """Store a key. Its value is not kept: nothing here needs it."""
        try:
            attributes = call.request.json()["data"]["attributes"]
            name, kind = str(attributes["name"]), str(attributes["type"])
        except (BadBodyError, KeyError, TypeError):
            return json_answer(400, [_missing(["data", "attributes", "name"])])
        secret = {"id": new_uuid(call.truth.rng), "name": name, "type": kind}
        call.truth.secrets[secret["id"]] = secret
        return json_answer(200, {"data": secret})

    @staticmethod
    def delete_secret(call: Call) -> Answer:
        """Forget a key."""
        if call.truth.secrets.pop(call.params["secret"], None) is None:
            return json_answer(404, {"error": "Secret not found"})
        return json_answer(200, {"data": {"type": "success", "attributes": {"message": "Secret deleted successfully"}}})


def _missing(path: list[str]) -> dict[str, Any]:
    return {"code": "invalid_type", "expected": "string", "received": "undefined", "path": path, "message": "Required"}


def _accepted(instance_id: str, status: str) -> Answer:
    return json_answer(200, {"data": {"type": "instance", "id": instance_id, "attributes": {"status": status}}})


def _node_for(call: Call, wish: Wish) -> Hostnode | Answer:
    """The node that takes it: the named one, or the first of the location with room."""
    dock = call.truth.dock
    if wish.node_id is not None:
        named = dock.nodes.get(wish.node_id)
        if named is None or not named.fits(wish.resources):
            return refusal_in_200("Hostnode unavailable")
        fitting = [named]
    else:
        fitting = [
            node for node in dock.nodes.values() if node.site.id == wish.location_id and node.fits(wish.resources)
        ]
        if not fitting:
            return refusal_in_200("No available nodes found")
    if wish.dedicated_ip:
        fitting = [node for node in fitting if node.dedicated_ips > 0]
        if not fitting:
            return refusal_in_200("No available public IPs on hostnode")
    return fitting[0]


def _location(call: Call, site: Site) -> dict[str, Any]:
    gpus: dict[str, list[Hostnode]] = {}
    for node in call.truth.dock.at(site):
        for name in node.gpus:
            gpus.setdefault(name, []).append(node)
    return {
        "id": site.id,
        "city": site.city,
        "stateprovince": site.state,
        "country": site.country,
        "tier": site.tier,
        "gpus": [_location_gpu(name, nodes) for name, nodes in gpus.items()],
    }


def _location_gpu(name: str, nodes: list[Hostnode]) -> dict[str, Any]:
    best = max(nodes, key=lambda node: node.gpus[name])
    return {
        "v0Name": name,
        "displayName": MODELS_BY_NAME[name].display_name,
        "max_count": max(0, best.gpus[name]),
        "price_per_hr": best.gpu_prices[name],
        "resources": {
            "max_vcpus": best.vcpus,
            "max_ram_gb": best.ram_gb,
            "max_storage_gb": best.storage_gb,
        },
        "pricing": _unit_prices(best),
        "network_features": {
            "dedicated_ip_available": any(node.dedicated_ips > 0 for node in nodes),
            "port_forwarding_available": True,
            "network_storage_available": False,
        },
    }


def _unit_prices(node: Hostnode) -> dict[str, float]:
    return {
        "per_vcpu_hr": node.vcpu_price,
        "per_gb_ram_hr": node.ram_price,
        "per_gb_storage_hr": node.storage_price,
    }


def _hostnode(node: Hostnode) -> dict[str, Any]:
    gpus = [
        {"v0Name": name, "availableCount": max(0, count), "price_per_hr": node.gpu_prices[name]}
        for name, count in node.gpus.items()
    ]
    return {
        "id": node.id,
        "location_id": node.site.id,
        "engine": "kvm",
        "uptime_percentage": round(node.uptime * 100, 2),
        "available_resources": {
            "gpus": gpus,
            "vcpu_count": node.vcpus,
            "ram_gb": node.ram_gb,
            "storage_gb": node.storage_gb,
            "max_vcpus_per_gpu": 16,
            "max_ram_per_gpu": 64,
            "available_ports": node.ports[:20],
            "has_public_ip_available": node.dedicated_ips > 0,
        },
        "pricing": _unit_prices(node),
        "location": {
            "uuid": node.site.id,
            "city": node.site.city,
            "stateprovince": node.site.state,
            "country": node.site.country,
            "has_network_storage": False,
            "network_speed_gbps": node.speed_gbps,
            "network_speed_upload_gbps": node.speed_gbps,
            "organization": "org",
            "organizationName": "Org",
            "tier": node.site.tier,
        },
    }


def _item(instance: DockInstance, now: float) -> dict[str, Any]:
    """A row of the list: no price, no resources, no creation time. An address is absent until there is one."""
    row: dict[str, Any] = {
        "type": "virtualmachine",
        "id": instance.id,
        "name": instance.tag,
        "status": STATUS[instance.at(now).phase],
    }
    if now >= instance.address_at:
        row["ipAddress"] = instance.address
    row["portForwards"] = [
        {"internal_port": internal, "external_port": external} for internal, external in instance.ports
    ]
    return row


def _detail(instance: DockInstance, now: float) -> dict[str, Any]:
    wanted = instance.resources
    return _item(instance, now) | {
        "resources": {
            "vcpu_count": wanted.vcpus,
            "ram_gb": wanted.ram_gb,
            "storage_gb": wanted.storage_gb,
            "gpus": {name: {"count": count, "v0Name": name} for name, count in wanted.gpus.items()},
        },
        "rateHourly": instance.shown_rate,
    }

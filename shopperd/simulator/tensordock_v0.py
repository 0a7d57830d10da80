"""The TensorDock v0 dialect: forms with the credentials in them, and a `success` flag. The machines are those of v2.

State conflicts answer HTTP 500 with a JSON body, as recorded. Numbers come as numbers, ports as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from attrs import evolve

from shopperd.simulator.call import Call
from shopperd.simulator.dock_market import MODELS_BY_NAME, Hostnode, Resources
from shopperd.simulator.exchange import Answer, Request, json_answer, loose_json_answer, text_answer
from shopperd.simulator.instances import DockInstance, Phase
from shopperd.simulator.keys import Verdict, judge
from shopperd.simulator.routing import Match, find, route
from shopperd.simulator.tensordock_v2 import STARTABLE

PROVIDER = "tensordock"
PASSWORD_MIN = 8
PORTS_MAX = 64
BALANCE_MIN = 1.0
SYSTEMS: Mapping[str, int] = {
    "Ubuntu 20.04 LTS": 20,
    "Ubuntu 22.04 LTS": 20,
    "Ubuntu 24.04 LTS": 20,
    "TensorML 20 TensorFlow": 40,
    "TensorML 20 PyTorch": 40,
    "TensorML 20 RAPIDS": 40,
    "TensorML 20 Everything": 60,
    "TensorML 24 TensorFlow": 40,
    "TensorML 24 PyTorch": 40,
    "TensorML 24 Everything": 60,
    "Windows 10": 90,
}
"""Operating systems by display name, with the least disk in GB."""

STATUS: Mapping[Phase, str] = {
    Phase.PROVISIONING: "Pending",
    Phase.LOADING: "Starting",
    Phase.RUNNING: "Running",
    Phase.REBOOTING: "Running",
    Phase.STOPPING: "Stopping",
    Phase.STOPPED: "Stopped",
    Phase.RELEASED: "StoppedDisassociated",
    Phase.EXITED: "Stopped",
    Phase.FAILED: "Error",
    Phase.QUEUED: "Pending",
    Phase.OFFLINE: "Unknown",
    Phase.UNKNOWN: "Unknown",
}


def refusal(status: int, text: str) -> Answer:
    """A failure in the API's own shape."""
    return json_answer(status, {"success": False, "error": text})


def done(**more: Any) -> Answer:
    """A success."""
    return loose_json_answer(200, {"success": True, **more})


class TensordockV0:
    """The dialect. Nothing is limited here: the API asks for about one request a second and enforces nothing."""

    name = "v0"

    def __init__(self) -> None:
        base = "/api/v0"
        client = f"{base}/client"
        self.routes = (
            route("POST", f"{base}/auth/test", "auth", lambda _call: done()),
            route("POST", f"{base}/auth/list", "auth", self.authorizations),
            route("GET", f"{client}/deploy/hostnodes", "search", self.hostnodes, public=True),
            route("GET", f"{client}/deploy/hostnodes/{{node}}", "search", self.hostnode, public=True),
            route("POST", f"{client}/deploy/single", "create", self.create, writes=True),
            route("POST", f"{client}/list", "list", self.list),
            route("POST", f"{client}/get/single", "show", self.show),
            route("POST", f"{client}/start/single", "start", self.start, writes=True),
            route("POST", f"{client}/stop/single", "stop", self.stop, writes=True),
            route("POST", f"{client}/modify/single", "modify", self.modify, writes=True),
            route("POST", f"{client}/delete/single", "destroy", self.destroy, writes=True),
            route("POST", f"{client}/spot/validate/new", "auth", lambda _call: done()),
            route("POST", f"{client}/spot/validate/existing", "auth", lambda _call: done()),
            route("POST", f"{base}/billing/balance", "balance", self.balance),
        )

    # --- the way in -----------------------------------------------------------------------------------------

    def match(self, request: Request) -> Match | None:
        """The route of a request, with the machine that its form names."""
        found = find(self.routes, request, request.path.rstrip("/"))
        if found is None or request.method != "POST":
            return found
        form = request.form()
        server = form.get("server") or form.get("server_id")
        return evolve(found, params={**found.params, "instance": server}) if server else found

    def lost(self, _request: Request) -> Answer:
        """No such route."""
        return text_answer(404, "<!doctype html><title>404 Not Found</title>", "text/html; charset=utf-8")

    @staticmethod
    def key_of(request: Request) -> str:
        """The token, if the authorization id came with it; a GET has both in the query."""
        fields = dict(request.query) if request.method == "GET" else request.form()
        return fields.get("api_token", "") if fields.get("api_key") else ""

    @staticmethod
    def refused(call: Call, match: Match) -> Answer | None:
        """The answer to bad credentials."""
        verdict = judge(call.key, call.truth.settings.key)
        if verdict is Verdict.MISSING and match.route.public:
            return None
        if verdict in (Verdict.MISSING, Verdict.BAD):
            return refusal(401, "Invalid API key or token")
        if verdict is Verdict.READ_ONLY and match.route.writes:
            return refusal(403, "This authorization may not do that")
        return None

    @staticmethod
    def authorizations(call: Call) -> Answer:
        """The organisation's authorizations."""
        entry = {"permissions": "All", "timestamp_creation": "2022-12-04 02:26:01.898472", "note": "simulated"}
        return done(authorizations={"simulated": entry})

    # --- market ---------------------------------------------------------------------------------------------

    @staticmethod
    def hostnodes(call: Call) -> Answer:
        """The nodes that fit the query."""
        rows = [
            {"id": node.id, **_node(node)} for node in call.truth.dock.nodes.values() if _fits_query(node, call.request)
        ]
        shown = call.offers(rows)
        return done(hostnodes=dict(_entry(row, number) for number, row in enumerate(shown)))

    @staticmethod
    def hostnode(call: Call) -> Answer:
        """One node."""
        node = call.truth.dock.nodes.get(call.params["node"])
        return refusal(404, "Hostnode not found") if node is None else done(hostnode=_node(node))

    # --- machines -------------------------------------------------------------------------------------------

    @staticmethod
    def create(call: Call) -> Answer:
        """Rent a virtual machine on a named node."""
        form = call.request.form()
        if "\n" in form.get("cloudinit_script", ""):
            # Line breaks must be written as the two characters backslash and n.
            return text_answer(500, "<title>500 Internal Server Error</title>", "text/html")
        try:
            wanted = _wanted(form)
            inside, outside = _ports(form.get("internal_ports", "")), _ports(form.get("external_ports", ""))
        except ValueError as error:
            return refusal(400, str(error))
        node = call.truth.dock.nodes.get(form.get("hostnode", ""))
        if node is None or not node.fits(wanted):
            return refusal(400, "Hostnode does not have enough resources available")
        taken = [port for port in outside if port not in node.ports]
        if taken or len(inside) != len(outside) or len(inside) > PORTS_MAX:
            return text_answer(500, "<title>500 port is not available</title>", "text/html")
        if call.truth.credit(PROVIDER) < BALANCE_MIN:
            return refusal(400, f"You need at least ${BALANCE_MIN:.2f} in your account to deploy")
        instance = call.truth.rent_dock(
            node,
            wanted,
            tag=form["name"],
            internal_ports=inside,
            external_ports=outside,
            image=form["operating_system"],
            spot=form.get("price_type") == "spot",
        )
        call.did_create(instance)
        return done(
            server=instance.id,
            ip=instance.address,
            port_forwards={str(external): str(internal) for internal, external in instance.ports},
            execution_id=1689,
            cost=_cost(instance),
        )

    @staticmethod
    def list(call: Call) -> Answer:
        """Every machine, keyed by id."""
        known = call.seen(call.truth.listed(PROVIDER))
        rows = {row.id: call.row(row, _machine(row, call.now)) for row in known if isinstance(row, DockInstance)}
        return done(virtualmachines=rows)

    @staticmethod
    def show(call: Call) -> Answer:
        """One machine, under both names that are on record for it."""
        seen = call.seen(call.truth.shown(PROVIDER, call.params.get("instance", "")))
        instance = next((row for row in seen if isinstance(row, DockInstance)), None)
        if instance is None:
            return refusal(404, "Server not found")
        row = call.row(instance, _machine(instance, call.now))
        return done(virtualmachine=row, virtualmachines=row)

    @staticmethod
    def start(call: Call) -> Answer:
        """Start a stopped machine."""
        instance = _found(call)
        if instance is None:
            return refusal(404, "Server not found")
        phase = instance.at(call.now).phase
        if phase not in STARTABLE:
            return refusal(500, f"Machine is {STATUS[phase].lower()}, therefore it cannot be started")
        if not call.truth.start(instance):
            return refusal(500, "Not enough GPUs are available on the hostnode")
        call.effects.append(f"started:{instance.id}")
        return done()

    @staticmethod
    def stop(call: Call) -> Answer:
        """Stop a machine; on request its GPU goes to others and only its disk bills."""
        instance = _found(call)
        if instance is None:
            return refusal(404, "Server not found")
        phase = instance.at(call.now).phase
        if phase in (*STARTABLE, Phase.STOPPING):
            return refusal(500, f"Machine is {STATUS[phase].lower()}, therefore it cannot be stopped")
        release = call.request.form().get("disassociate_resources", "").lower() in ("true", "1", "yes")
        call.truth.stop(instance, release=release)
        call.effects.append(f"stopped:{instance.id}")
        return done()

    @staticmethod
    def modify(call: Call) -> Answer:
        """Accepted for a stopped machine, without effect."""
        instance = _found(call)
        if instance is None:
            return refusal(404, "Server not found")
        if instance.at(call.now).phase not in STARTABLE:
            return refusal(500, "Machine is running, therefore it cannot be modified")
        return done(server=instance.id)

    @staticmethod
    def destroy(call: Call) -> Answer:
        """End a machine. A second time is an error in the service's words."""
        instance = _found(call)
        if instance is None:
            return refusal(500, "Machine is already terminated")
        call.did_destroy(instance)
        return done()

    @staticmethod
    def balance(call: Call) -> Answer:
        """USD left, and what all machines cost per hour."""
        hourly = sum(instance.rate_now(call.now) for instance in call.truth.existing(PROVIDER))
        return done(balance=round(call.truth.credit(PROVIDER), 3), hourly_cost=round(hourly, 3))


def _found(call: Call) -> DockInstance | None:
    instance = call.truth.find(PROVIDER, call.params.get("instance", ""))
    return instance if isinstance(instance, DockInstance) else None


def _fits_query(node: Hostnode, request: Request) -> bool:
    """Numbers that cannot be read ask for nothing."""

    def least(name: str) -> int:
        value = request.param(name) or "0"
        return int(value) if value.isdecimal() else 0

    gpus = [
        name
        for name, count in node.gpus.items()
        if count >= least("minGPUCount") and MODELS_BY_NAME[name].vram_gb >= least("minVRAM")
    ]
    return (
        bool(gpus)
        and node.vcpus >= least("minvCPUs")
        and node.ram_gb >= least("minRAM")
        and node.storage_gb >= least("minStorage")
    )


def _number(form: Mapping[str, str], name: str) -> int:
    text = form.get(name, "").strip()
    if not text.isdecimal():
        raise ValueError(f"{name} must be a number")
    return int(text)


def _wanted(form: Mapping[str, str]) -> Resources:
    for name in ("name", "password", "hostnode", "operating_system"):
        if not form.get(name):
            raise ValueError(f"{name} is required")
    if len(form["password"]) < PASSWORD_MIN:
        raise ValueError(f"password must have at least {PASSWORD_MIN} characters")
    if form["operating_system"] not in SYSTEMS:
        raise ValueError("operating_system is not supported")
    gpu = form.get("gpu_model", "")
    wanted = Resources(
        _number(form, "vcpus"),
        _number(form, "ram"),
        _number(form, "storage"),
        {gpu: _number(form, "gpu_count")} if gpu else {},
    )
    if wanted.vcpus % 2 or wanted.ram_gb % 2:
        raise ValueError("vcpus and ram must be even")
    if wanted.storage_gb < SYSTEMS[form["operating_system"]]:
        raise ValueError("storage is too small for that operating system")
    return wanted


def _ports(text: str) -> list[int]:
    """Ports from the text of a list: ``{20013, 20012}`` or ``[20013, 20012]``."""
    items = [item.strip() for item in text.strip().strip("{}[]").split(",") if item.strip()]
    if not all(item.isdecimal() for item in items):
        raise ValueError("ports must be numbers")
    if len(dict.fromkeys(items)) < len(items):
        raise ValueError("ports must be different")
    return [int(item) for item in items]


def _cost(instance: DockInstance) -> dict[str, float]:
    disk = instance.disk_rate
    return {
        "compute_price": round(instance.running_rate - disk, 6),
        "storage_price": round(disk, 6),
        "total_price": round(instance.running_rate, 6),
    }


def _entry(row: dict[str, Any] | None, number: int) -> tuple[str, dict[str, Any] | None]:
    """A node under its id; a fault may have put something in its place that has none."""
    if row is None:
        return f"node-{number}", None
    return row["id"], {key: value for key, value in row.items() if key != "id"}


def _node(node: Hostnode) -> dict[str, Any]:
    site = node.site
    gpus = {
        name: {
            "amount": max(0, count),
            "price": node.gpu_prices[name],
            "vram": MODELS_BY_NAME[name].vram_gb,
            "pcie": "pcie" in name,
            "gtx": "gtx" in name,
            "rtx": "rtx" in name,
        }
        for name, count in node.gpus.items()
    }
    data_center = {"name": f"{site.city} 1", "tier": site.tier} if site.tier >= 3 else None
    return {
        "location": {
            "id": site.id,
            "country": site.country,
            "region": site.state,
            "city": site.city,
            "dc": data_center,
        },
        "networking": {"ports": node.ports[:20], "receive": 1000, "send": 1000},
        "specs": {
            "cpu": {"amount": node.vcpus, "price": node.vcpu_price, "type": node.cpu_type},
            "gpu": gpus,
            "ram": {"amount": node.ram_gb, "price": node.ram_price},
            "storage": {"amount": node.storage_gb, "price": node.storage_price},
        },
        "status": {"listed": True, "online": True, "uptime": node.uptime, "report": ""},
    }


def _machine(instance: DockInstance, now: float) -> dict[str, Any]:
    """The record of a machine; `deployment.status` stays Pending on the real service too."""
    wanted, site = instance.resources, instance.node.site
    cost = _cost(instance)
    return {
        "city": site.city,
        "state": site.state,
        "country": site.country,
        **cost,
        "cost": cost["compute_price"],
        "cpu_threadscount": wanted.vcpus,
        "dedicated_ip_address": instance.address if instance.dedicated_ip else None,
        "default_user": "user",
        "deployment": {"status": "Pending", "timestamp_completion": None, "timestamp_failure": None},
        "hostname": instance.id,
        "hostnode": instance.node.id,
        "ip_address": instance.address,
        "location": site.id,
        "name": instance.tag,
        "operating_system": instance.image,
        "port_forwards": {str(external): str(internal) for internal, external in instance.ports},
        "specs": {
            "gpu": {"amount": instance.gpu_count, "type": instance.gpu},
            "ram": wanted.ram_gb,
            "storage": wanted.storage_gb,
            "vcpus": wanted.vcpus,
        },
        "status": STATUS[instance.at(now).phase],
        "timestamp_creation": formatdate(instance.created_at, usegmt=True),
        "type": "spot" if instance.spot else "ondemand",
    }

"""TensorDock's API v0: forms under ``https://marketplace.tensordock.com/api/v0``, opt-in.

Both credentials go into the form of every request but the market's, which needs none: never into an address. An answer
counts by its ``success``, whatever its HTTP status. Facts are from the official collection of 2022 to 2024 and from clients
of those years; since 2025 the service has been failing more and more, and v2 is the API to use.
"""

from __future__ import annotations

import base64
import secrets
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import cattrs
from attrs import evolve, field, frozen

from shopperd.providers.contract import BadAnswer, CreatedInstance, CreateRequest, ProviderError, Unclear
from shopperd.providers.limiter import Blocks, Endpoint, Published
from shopperd.providers.tensordock import startup
from shopperd.providers.tensordock.complaints import complaint_of, meaning
from shopperd.providers.tensordock.dialect import Listing, Machine, Market, Order, Rentable, place_text
from shopperd.providers.tensordock.fields import (
    array,
    decode,
    decoded_or_none,
    flag,
    floor,
    gpu_name,
    host,
    identifier,
    mapping,
    number,
    port,
    price,
    text,
    whole,
)
from shopperd.providers.tensordock.sizing import Caps, Rates, counts_up_to
from shopperd.providers.transport import UNDERSTOOD, Call, Reply, Understood
from shopperd.secrets import Secret

DEFAULT_IMAGE = "Ubuntu 22.04 LTS"
ROOT = "/api/v0"
SHARE_MAX = 0.75
"""Larger parts of a node are refused, unless all of its GPUs are taken (seen by a price catalogue, 2023 to 2026)."""
_SSH_PORT = "22"
_ADDRESS_KEYS = ("dedicated_ip_address", "ip_address", "hostname")
_converter = cattrs.Converter(use_alias=True, prefer_attrib_converters=True)


def _moment(raw: object) -> datetime | None:
    """RFC 1123, such as ``Sun, 03 Nov 2024 07:16:59 GMT``."""
    if not isinstance(raw, str):
        return None
    try:
        moment = parsedate_to_datetime(raw)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, IndexError):
        return None


@frozen
class VmRow:
    """A machine of ``client/list`` or ``client/get/single``, where every number may be a text."""

    name: str | None = field(default=None, converter=text)
    status: str | None = field(default=None, converter=text)
    address: str | None = field(default=None, alias="ip_address", converter=host)
    dedicated_address: str | None = field(default=None, alias="dedicated_ip_address", converter=host)
    hostname: str | None = field(default=None, converter=host)
    forwards: Mapping[str, object] = field(factory=dict, alias="port_forwards", converter=mapping)
    specs: Mapping[str, object] = field(factory=dict, converter=mapping)
    total_price: float | None = field(default=None, converter=price)
    compute_price: float | None = field(default=None, converter=price)
    storage_price: float | None = field(default=None, converter=price)
    created_at: datetime | None = field(default=None, alias="timestamp_creation", converter=_moment)

    def machine(self, id: str, address_told: bool) -> Machine:
        """As the adapter reads it. ``hostname`` held the address in older answers, and holds the id in newer ones."""
        older = self.hostname if self.hostname and self.hostname.lower() != id.lower() else None
        gpu = mapping(self.specs.get("gpu"))
        external = next((key for key, inner in self.forwards.items() if str(inner).strip() == _SSH_PORT), None)
        address = self.dedicated_address or self.address or older
        return Machine(
            id=id,
            name=self.name,
            status=self.status,
            address=address,
            address_told=address_told,
            ssh_port=port(external) or (22 if self.dedicated_address else None),
            gpu=gpu_name(gpu.get("type")),
            gpu_count=whole(gpu.get("amount")),
            price_per_hour=self._price(),
            disk_per_hour=self.storage_price,
            started_at=self.created_at,
        )

    def _price(self) -> float | None:
        """``cost`` alone leaves the storage out, so it is not read."""
        if self.total_price is None and self.compute_price is not None and self.storage_price is not None:
            return self.compute_price + self.storage_price
        return self.total_price


class V0:
    """The old dialect."""

    base_url = "https://marketplace.tensordock.com"
    published = Published(shared=1.0, blocks=Blocks.ACCOUNT)
    """No limit is enforced; the official page asks for about one request a second."""

    def __init__(self, auth_id: Secret, api_token: Secret) -> None:
        self._auth_id = auth_id
        self._api_token = api_token

    def headers(self) -> Mapping[str, str]:
        """None: v0 takes its credentials in the form."""
        return {}

    def classify(self, endpoint: Endpoint, reply: Reply) -> ProviderError | Understood | None:
        """The error that a reply is by its body.

        A conflict of states comes as JSON with HTTP 500, so this dialect reads words below a 500 too.
        """
        document = decoded_or_none(reply.body)
        if endpoint is Endpoint.CREATE and identifier(mapping(document).get("server")) is not None:
            return UNDERSTOOD
        complaint = complaint_of(document, reply.status)
        if complaint is None or 300 <= reply.status < 400 or reply.status in (401, 403, 408, 429):
            return None
        status = complaint.status
        if status is None and reply.status >= 500 and not complaint.says_not_found and not complaint.is_conflict:
            status = reply.status
        return meaning(complaint, endpoint, status)

    def offers_call(self) -> Call:
        """``GET client/deploy/hostnodes``, without credentials."""
        hidden = tuple(self._credentials().values())
        return Call(Endpoint.OFFERS, "GET", f"{ROOT}/client/deploy/hostnodes", hidden=hidden)

    def read_market(self, reply: Reply, gpu_count: int | None) -> Market:
        """The GPU models of all nodes. An empty market is an error here as in v2."""
        document = mapping(decode(reply.body))
        nodes = document.get("hostnodes")
        if not isinstance(nodes, dict) or flag(document.get("success", True)) is not True:
            raise BadAnswer("no map of nodes in the answer")
        if not nodes:
            raise BadAnswer("an empty map of nodes, which says nothing about the stock")
        rentables: list[Rentable] = []
        rejected: Counter[str] = Counter()
        for key, raw in nodes.items():
            node = mapping(raw)
            gpus = mapping(node.get("specs")).get("gpu")
            for model, offered in gpus.items() if isinstance(gpus, dict) else ((None, None),):
                found = _rentables(identifier(key), node, gpu_name(model), mapping(offered), gpu_count)
                if isinstance(found, str):
                    rejected[found] += 1
                else:
                    rentables += found
        return Market(tuple(rentables), dict(rejected))

    def list_call(self) -> Call:
        """``POST client/list``."""
        return self._post(Endpoint.LIST, "client/list")

    def read_listing(self, reply: Reply) -> Listing:
        """All machines, a map by id."""
        document = _successful(reply)
        rows = document.get("virtualmachines")
        if not isinstance(rows, dict):
            raise BadAnswer("no map of machines in the answer")
        machines: list[Machine] = []
        bad = 0
        for key, raw in rows.items():
            machine_id = identifier(key)
            if machine_id is not None:
                machines.append(_machine(machine_id, raw))
            name = mapping(raw).get("name")
            bad += machine_id is None or not isinstance(raw, dict) or not isinstance(name, str | None)
        reason = "bad_row" if bad else ""
        return Listing(tuple(machines), reason, f"{bad} of {len(rows)} rows cannot be identified" if bad else "")

    def show_call(self, id: str) -> Call:
        """``POST client/get/single``."""
        return self._post(Endpoint.SHOW, "client/get/single", server=id)

    def read_machine(self, reply: Reply, id: str) -> Machine:
        """One machine, under ``virtualmachine`` as documented or ``virtualmachines`` as seen, bare or by its id."""
        document = _successful(reply)
        found = mapping(document.get("virtualmachine", document.get("virtualmachines")))
        if "status" not in found:
            found = next((mapping(row) for key, row in found.items() if key.lower() == id.lower()), {})
        claimed = [identifier(found.get(key)) for key in ("id", "server", "hostname")]
        others = [other for other in claimed if other is not None and _is_uuid(other) and other.lower() != id.lower()]
        if "status" not in found or others:
            raise BadAnswer("the answer is not about the machine that was asked for")
        return _machine(id, found)

    def create_call(self, request: CreateRequest, order: Order, timeout_seconds: float) -> Call:
        """``POST client/deploy/single``.

        The API demands a password. It gets one that nobody knows: people come in by their SSH key. The start-up script is
        YAML whose line breaks are the two characters ``\\n``, so what it runs is packed where no others can occur.
        """
        script = base64.b64encode("\n".join(startup.commands(request)).encode()).decode()
        form = {
            "name": request.tag,
            "password": _password(),
            "gpu_count": str(order.gpu_count),
            "gpu_model": order.gpu,
            "vcpus": str(order.size.vcpus),
            "ram": str(order.size.ram_gb),
            "storage": str(order.size.storage_gb),
            "hostnode": order.place,
            "operating_system": request.image or DEFAULT_IMAGE,
            "external_ports": f"{{{order.access}}}",
            "internal_ports": f"{{{_SSH_PORT}}}",
            "cloudinit_script": f"runcmd:\\n- echo {script} | base64 -d | sh",
        }
        if request.ssh_key is not None:
            form["ssh_key"] = request.ssh_key.strip()
        call = self._post(Endpoint.CREATE, "client/deploy/single", **form)
        return evolve(call, timeout_seconds=timeout_seconds, hidden=tuple(request.env.values()))

    def read_created(self, reply: Reply) -> CreatedInstance:
        """The id, and the price that was agreed."""
        document = mapping(decoded_or_none(reply.body))
        server = identifier(document.get("server"))
        if server is None:
            raise Unclear("an answer without the id of a machine", "server")
        return CreatedInstance(server, price(mapping(document.get("cost")).get("total_price")))

    def destroy_call(self, id: str) -> Call:
        """``POST client/delete/single``."""
        return self._post(Endpoint.DESTROY, "client/delete/single", server=id)

    def read_destroyed(self, reply: Reply) -> None:
        """``success`` true."""
        _successful(reply)

    def _post(self, endpoint: Endpoint, route: str, **form: str) -> Call:
        return Call(endpoint, "POST", f"{ROOT}/{route}", form={**self._credentials(), **form})

    def _credentials(self) -> dict[str, str]:
        return {"api_key": self._auth_id.get(), "api_token": self._api_token.get()}


def _successful(reply: Reply) -> Mapping[str, object]:
    document = mapping(decode(reply.body))
    if flag(document.get("success")) is not True:
        raise BadAnswer("an answer without success")
    return document


def _machine(id: str, raw: object) -> Machine:
    row = mapping(raw)
    told = any(key in row for key in _ADDRESS_KEYS)
    return _converter.structure(row, VmRow).machine(id, told)


def _rentables(
    node_id: str | None,
    node: Mapping[str, object],
    model: str | None,
    offered: Mapping[str, object],
    gpu_count: int | None,
) -> list[Rentable] | str:
    """A GPU model of a node in every number to offer, or why not."""
    amount = whole(offered.get("amount"))
    if node_id is None or model is None or amount is None:
        return "bad_row"
    status = mapping(node.get("status"))
    if any(flag(status.get(key)) is False for key in ("online", "listed")) or flag(status.get("reserved")):
        return "offline"
    if amount == 0:
        return "no_stock"
    # Of all free ports the highest is the least likely to be taken by the time of a create.
    access = max((port(raw) or 0 for raw in array(mapping(node.get("networking")).get("ports")) or ()), default=0)
    if not access:
        return "no_access"
    specs = mapping(node.get("specs"))
    location = mapping(node.get("location"))
    city, region, country = (text(location.get(key)) for key in ("city", "region", "country"))
    uptime = number(status.get("uptime"))
    return [
        Rentable(
            place=node_id,
            gpu=model,
            gpu_count=count,
            rates=Rates(price(offered.get("price")), *(price(part.get("price")) for part in _parts(specs))),
            caps=_bound(specs, count, amount, "max"),
            floor=_bound(specs, count, amount, "min"),
            access=str(access),
            location=place_text(city, region, country),
            country=country,
            reliability=uptime if uptime is not None and 0 <= uptime <= 1 else None,
        )
        for count in counts_up_to(amount, gpu_count)
    ]


def _parts(specs: Mapping[str, object]) -> list[Mapping[str, object]]:
    return [mapping(specs.get(part)) for part in ("cpu", "ram", "storage")]


def _bound(specs: Mapping[str, object], count: int, amount: int, end: str) -> Caps:
    """The least or largest machine with so many of a node's GPUs: by the node's own restrictions, and by what it has."""
    restrictions = mapping(mapping(specs.get("restrictions")).get(str(count)))
    bounds = [floor(mapping(restrictions.get(part)).get(end)) for part in ("cpu", "ram", "storage")]
    if end == "min":
        return Caps(*bounds)
    share = 1.0 if count == amount else SHARE_MAX
    has = [number(part.get("amount")) for part in _parts(specs)]
    free = [None if amount_of is None else floor(amount_of * share) for amount_of in has]
    pairs = [[cap for cap in pair if cap is not None] for pair in zip(bounds, free, strict=True)]
    return Caps(*(min(pair, default=None) for pair in pairs))


def _is_uuid(raw: str) -> bool:
    return len(raw) == 36 and raw.count("-") == 4


def _password() -> str:
    """Long enough that its few fixed characters, which the API's rule demands, take nothing away."""
    return f"{secrets.token_urlsafe(32)}A1-"

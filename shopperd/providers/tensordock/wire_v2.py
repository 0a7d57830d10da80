"""TensorDock's API v2: JSON under ``https://dashboard.tensordock.com/api/v2``, one bearer token, no paging.

Facts are from the official pages and from what public clients saw; both contradict themselves, so every shape seen is read
and no other. The token goes into the header of every request, ``/locations`` included: without it that route has answered
with an empty list since mid-2026. The Authorization ID is not used in v2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import cattrs
from attrs import field, frozen

from shopperd.providers.contract import BadAnswer, CreatedInstance, CreateRequest, ProviderError, Refused, Unclear
from shopperd.providers.limiter import Blocks, Endpoint, Published
from shopperd.providers.tensordock import startup
from shopperd.providers.tensordock.complaints import complaint_of, meaning
from shopperd.providers.tensordock.dialect import (
    DEDICATED_IP,
    PORT_FORWARD,
    Listing,
    Machine,
    Market,
    Order,
    Rentable,
    place_text,
)
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
    port,
    price,
    text,
    whole,
)
from shopperd.providers.tensordock.sizing import STORAGE_PER_GB_HOUR, Caps, Rates, counts_up_to
from shopperd.providers.transport import UNDERSTOOD, Call, Reply, Understood
from shopperd.secrets import Secret

DEFAULT_IMAGE = "ubuntu2404"
ROOT = "/api/v2"
_SSH_PORT = 22
_MORE_KEYS = (
    "next",
    "next_page",
    "next_token",
    "next_cursor",
    "nextPage",
    "nextToken",
    "nextCursor",
    "has_more",
    "hasMore",
)
_TOTAL_KEYS = ("total", "total_count", "totalCount")
_converter = cattrs.Converter(use_alias=True, prefer_attrib_converters=True)


def _caps(raw: object) -> Caps:
    resources = mapping(raw)
    return Caps(
        vcpus=floor(resources.get("max_vcpus")),
        ram_gb=floor(resources.get("max_ram_gb")),
        storage_gb=floor(resources.get("max_storage_gb")),
    )


def _access(raw: object) -> str | None:
    """How SSH would be reached. An address of its own is preferred, as port forwards have been ignored at some places."""
    features = mapping(raw)
    if flag(features.get("dedicated_ip_available")):
        return DEDICATED_IP
    return None if flag(features.get("port_forwarding_available")) is False else PORT_FORWARD


@frozen
class GpuRow:
    """A GPU model at a location, of ``GET /locations``."""

    v0_name: str | None = field(default=None, alias="v0Name", converter=gpu_name)
    max_count: int | None = field(default=None, converter=whole)
    price_per_hr: float | None = field(default=None, converter=price)
    caps: Caps = field(factory=Caps, alias="resources", converter=_caps)
    pricing: Mapping[str, object] = field(factory=dict, converter=mapping)
    access: str | None = field(default=PORT_FORWARD, alias="network_features", converter=_access)

    @property
    def rates(self) -> Rates:
        """USD per hour of each part."""
        return Rates(
            gpu=self.price_per_hr,
            vcpu=price(self.pricing.get("per_vcpu_hr")),
            ram_gb=price(self.pricing.get("per_gb_ram_hr")),
            storage_gb=price(self.pricing.get("per_gb_storage_hr")),
        )


@frozen
class LocationRow:
    """A location of ``GET /locations``. Its tier is a class of building, no probability, so it is not read."""

    id: str | None = field(default=None, converter=identifier)
    city: str | None = field(default=None, converter=text)
    state: str | None = field(default=None, alias="stateprovince", converter=text)
    country: str | None = field(default=None, converter=text)
    gpus: list[object] | None = field(default=None, converter=array)


def _forwards(raw: object) -> tuple[tuple[int | None, int | None], ...] | None:
    if (entries := array(raw)) is None:
        return None
    rows = (mapping(entry) for entry in entries)
    return tuple((port(row.get("internal_port")), port(row.get("external_port"))) for row in rows)


@frozen
class Parts:
    """What a machine is made of; None: not told."""

    gpu: str | None = None
    gpu_count: int | None = None
    storage_gb: int | None = None


def _parts(raw: object) -> Parts:
    """The name of the GPU is taken from inside its entry before the key of the entry."""
    storage_gb = whole(mapping(raw).get("storage_gb"))
    rows = mapping(mapping(raw).get("gpus"))
    if len(rows) != 1:
        return Parts(storage_gb=storage_gb)
    key, row = next(iter(rows.items()))
    name = gpu_name(mapping(row).get("v0Name")) or gpu_name(key)
    return Parts(name, whole(mapping(row).get("count")), storage_gb)


@frozen
class InstanceRow:
    """An instance of a listing or of a single read; what only the single read tells is None in a listing."""

    id: str | None = field(default=None, converter=identifier)
    name: str | None = field(default=None, converter=text)
    status: str | None = field(default=None, converter=text)
    address: str | None = field(default=None, alias="ipAddress", converter=host)
    forwards: tuple[tuple[int | None, int | None], ...] | None = field(
        default=None, alias="portForwards", converter=_forwards
    )
    parts: Parts = field(factory=Parts, alias="resources", converter=_parts)
    rate_hourly: float | None = field(default=None, alias="rateHourly", converter=price)

    def machine(self, id: str, address_told: bool) -> Machine:
        """As the adapter reads it."""
        return Machine(
            id=id,
            name=self.name,
            status=self.status,
            address=self.address,
            address_told=address_told,
            ssh_port=self._ssh_port(),
            gpu=self.parts.gpu,
            gpu_count=self.parts.gpu_count,
            price_per_hour=self.rate_hourly,
            disk_per_hour=None if self.parts.storage_gb is None else self.parts.storage_gb * STORAGE_PER_GB_HOUR,
        )

    def _ssh_port(self) -> int | None:
        if self.forwards is None or self.address is None:
            return None
        if not self.forwards:  # usual for a dedicated address
            return _SSH_PORT
        return next((external for internal, external in self.forwards if internal == _SSH_PORT), None)


class V2:
    """The default dialect."""

    base_url = "https://dashboard.tensordock.com"
    published = Published(shared=0.6, blocks=Blocks.ACCOUNT)
    """100 requests a minute, counted over the organisation, other tools included."""

    def __init__(self, api_token: Secret) -> None:
        self._api_token = api_token

    def headers(self) -> Mapping[str, str]:
        """The bearer token."""
        return {"Authorization": f"Bearer {self._api_token.get()}"}

    def classify(self, endpoint: Endpoint, reply: Reply) -> ProviderError | Understood | None:
        """The error that a reply is by its body; an id in a create's answer counts more than any error beside it."""
        document = decoded_or_none(reply.body)
        if endpoint is Endpoint.CREATE and _wrapped_id(document) is not None:
            return UNDERSTOOD
        complaint = complaint_of(document, reply.status)
        if (
            complaint is None
            or 300 <= reply.status < 400
            or reply.status >= 500
            or reply.status in (401, 403, 408, 429)
        ):
            return None
        return meaning(complaint, endpoint, reply.status if reply.status >= 400 else complaint.status)

    def offers_call(self) -> Call:
        """``GET /locations``."""
        return Call(Endpoint.OFFERS, "GET", f"{ROOT}/locations")

    def read_market(self, reply: Reply, gpu_count: int | None) -> Market:
        """The GPU models of all locations, none of them twice.

        An empty list means "not logged in" as often as "no stock", so it is an error.
        """
        rows = array(mapping(mapping(decode(reply.body)).get("data")).get("locations"))
        if rows is None:
            raise BadAnswer("no list of locations in the answer")
        if not rows:
            raise BadAnswer("an empty list of locations, which says nothing about the stock")
        rentables: list[Rentable] = []
        rejected: Counter[str] = Counter()
        for row in rows:
            location = _converter.structure(mapping(row), LocationRow)
            for gpu in [None] if location.id is None or location.gpus is None else location.gpus:
                found = _rentables(location, _converter.structure(mapping(gpu), GpuRow), gpu_count)
                if isinstance(found, str):
                    rejected[found] += 1
                else:
                    rentables += found
        return Market(tuple(rentables), dict(rejected))

    def list_call(self) -> Call:
        """``GET /instances``."""
        return Call(Endpoint.LIST, "GET", f"{ROOT}/instances")

    def read_listing(self, reply: Reply) -> Listing:
        """All instances, from one of three shapes.

        The live one is a flat list under ``data``; the official pages show ``data.instances`` and
        ``data.attributes.instances``, with what is known of a row in its ``attributes``, and never an address.
        """
        document = mapping(decode(reply.body))
        data = document.get("data")
        flat = isinstance(data, list)
        rows = data
        if isinstance(data, dict):
            rows = data.get("instances", mapping(data.get("attributes")).get("instances"))
        if not isinstance(rows, list):
            raise BadAnswer("no list of instances in the answer")
        machines: list[Machine] = []
        bad = 0
        for raw in rows:
            row = _converter.structure(_flattened(raw), InstanceRow)
            if row.id is not None:
                machines.append(row.machine(row.id, address_told=flat))
            if row.id is None or not _name_is_readable(_flattened(raw)):
                bad += 1
        if bad:
            return Listing(tuple(machines), "bad_row", f"{bad} of {len(rows)} rows cannot be identified")
        if more := _sign_of_more(document, len(rows)) or _sign_of_more(mapping(data), len(rows)):
            return Listing(tuple(machines), "count_mismatch", f"{len(rows)} rows, but the answer has {more}")
        return Listing(tuple(machines))

    def show_call(self, id: str) -> Call:
        """``GET /instances/{id}``."""
        return Call(Endpoint.SHOW, "GET", f"{ROOT}/instances/{id}")

    def read_machine(self, reply: Reply, id: str) -> Machine:
        """One instance, bare as it is live or wrapped in ``data``."""
        document = mapping(decode(reply.body))
        row = _converter.structure(_flattened(document.get("data", document)), InstanceRow)
        if row.id is None or row.id.lower() != id.lower():
            raise BadAnswer("the answer is not about the instance that was asked for")
        return row.machine(id, address_told=True)

    def create_call(self, request: CreateRequest, order: Order, timeout_seconds: float) -> Call:
        """``POST /instances``.

        Raises:
            Refused: without an SSH key, which the API demands for every image but Windows.
        """
        image = request.image or DEFAULT_IMAGE
        windows = image.startswith("windows")
        if request.ssh_key is None and not windows:
            raise Refused("TensorDock rents no machine without an SSH key", code="ssh_key_required")
        size = order.size
        attributes: dict[str, object] = {
            "name": request.tag,
            "type": "virtualmachine",
            "image": image,
            "resources": {
                "vcpu_count": size.vcpus,
                "ram_gb": size.ram_gb,
                "storage_gb": size.storage_gb,
                "gpus": {order.gpu: {"count": order.gpu_count}},
            },
            "location_id": order.place,
        }
        if order.access == DEDICATED_IP:
            attributes["useDedicatedIp"] = True
        else:  # the external port is a wish: which one it became, a single read tells
            attributes["port_forwards"] = [{"internal_port": _SSH_PORT, "external_port": _SSH_PORT}]
        if request.ssh_key is not None:
            attributes["ssh_key"] = request.ssh_key.strip()
        if not windows:
            attributes["cloud_init"] = {"runcmd": startup.commands(request)}
        return Call(
            Endpoint.CREATE,
            "POST",
            f"{ROOT}/instances",
            json={"data": {"type": "virtualmachine", "attributes": attributes}},
            hidden=tuple(request.env.values()),
            timeout_seconds=timeout_seconds,
        )

    def read_created(self, reply: Reply) -> CreatedInstance:
        """The id, wrapped as it is live or bare. The status beside it is ``running`` from the start and says nothing."""
        document = decoded_or_none(reply.body)
        instance_id = _wrapped_id(document) or identifier(mapping(document).get("id"))
        if instance_id is None:
            raise Unclear("an answer without the id of an instance", "server")
        return CreatedInstance(instance_id)

    def destroy_call(self, id: str) -> Call:
        """``DELETE /instances/{id}``."""
        return Call(Endpoint.DESTROY, "DELETE", f"{ROOT}/instances/{id}")

    def read_destroyed(self, reply: Reply) -> None:
        """An empty 204, or words of success, which stand in ``data`` in two ways, in an answer that complains of nothing."""
        if reply.status == 204 and not reply.body.strip():
            return
        document = mapping(decode(reply.body))
        if not mapping(document.get("data")) and text(document.get("message")) is None and not document.get("success"):
            raise BadAnswer("the answer neither confirms nor refuses")


def _rentables(location: LocationRow, gpu: GpuRow, gpu_count: int | None) -> list[Rentable] | str:
    """A GPU model at a location in every number to offer, or why not."""
    if location.id is None or gpu.v0_name is None or gpu.max_count is None:
        return "bad_row"
    if gpu.max_count == 0:
        return "no_stock"
    if gpu.access is None:
        return "no_access"
    return [
        Rentable(
            place=location.id,
            gpu=gpu.v0_name,
            gpu_count=count,
            rates=gpu.rates,
            caps=gpu.caps,
            access=gpu.access,
            location=place_text(location.city, location.state, location.country),
            country=location.country,
        )
        for count in counts_up_to(gpu.max_count, gpu_count)
    ]


def _flattened(raw: object) -> dict[str, object]:
    """A row with what stands in its ``attributes``; the row's own keys go before."""
    row = mapping(raw)
    return {**mapping(row.get("attributes")), **row}


def _name_is_readable(row: Mapping[str, object]) -> bool:
    """A name is the only mark that an instance carries. None or nothing is no name; a list instead of one hides it."""
    return row.get("name") is None or isinstance(row["name"], str)


def _sign_of_more(holder: Mapping[str, object], rows: int) -> str | None:
    """The key that tells of more rows than were sent. The API has no paging; should it get some, no part is the whole."""
    key = next((key for key in _MORE_KEYS if holder.get(key)), None)
    if key is None:
        key = next((key for key in _TOTAL_KEYS if (whole(holder.get(key)) or 0) > rows), None)
    return key


def _wrapped_id(document: object) -> str | None:
    return identifier(mapping(mapping(document).get("data")).get("id"))

"""What the adapter asks of a dialect (v2 or v0 of the API), and the records in which a dialect answers.

A dialect does no I/O: it makes the calls that the adapter sends and reads the replies that come back. What a reply means in
the end, for offers, instances and snapshots alike, the adapter decides once for both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from attrs import evolve, field, frozen

from shopperd.providers.contract import CreatedInstance, CreateRequest, ProviderError
from shopperd.providers.limiter import Endpoint, Published
from shopperd.providers.tensordock.sizing import Caps, Rates, Size
from shopperd.providers.transport import Call, Reply, Understood

DEDICATED_IP = "ip"
"""SSH on port 22 of an address of its own."""
PORT_FORWARD = "forward"
"""SSH on whatever port the provider opens."""
_ORDER = re.compile(
    r"(?P<place>[A-Za-z0-9][A-Za-z0-9_-]*):(?P<gpu>[^:\s]+):(?P<count>\d{1,3}):(?P<vcpus>\d{1,5}):(?P<ram>\d{1,6})"
    r":(?P<storage>\d{1,7}):(?P<access>ip|forward|\d{1,5})"
)


@frozen
class Order:
    """Everything that a create needs and an offer's `provider_id` carries, so that no listing has to be remembered.

    Attributes:
        place: a location (v2) or a node (v0).
        gpu: the provider's name of it.
        access: how SSH is reached: `DEDICATED_IP`, `PORT_FORWARD`, or the external port to ask for.
    """

    place: str
    gpu: str
    gpu_count: int
    size: Size
    access: str

    def encode(self) -> str:
        """As a `provider_id`."""
        size = self.size
        return ":".join(
            (
                self.place,
                self.gpu,
                str(self.gpu_count),
                str(size.vcpus),
                str(size.ram_gb),
                str(size.storage_gb),
                self.access,
            )
        )

    def with_storage(self, storage_gb: int) -> Order:
        """The same with another size of disk."""
        return evolve(self, size=evolve(self.size, storage_gb=storage_gb))

    @classmethod
    def decode(cls, provider_id: str) -> Order | None:
        """From a `provider_id`, None if it is not one of ours."""
        found = _ORDER.fullmatch(provider_id)
        if found is None:
            return None
        size = Size(int(found["vcpus"]), int(found["ram"]), int(found["storage"]))
        return cls(found["place"], found["gpu"], int(found["count"]), size, found["access"])


@frozen
class Rentable:
    """One GPU model in one number at one place, not priced yet.

    Attributes:
        caps, floor: the largest and the least machine that can be had with so many GPUs.
        location: "City, State, Country".
        reliability: 0 to 1.
    """

    place: str
    gpu: str
    gpu_count: int
    rates: Rates
    caps: Caps
    access: str
    location: str | None = None
    country: str | None = None
    reliability: float | None = None
    floor: Caps = field(factory=Caps)


@frozen
class Market:
    """What can be rented, with the rows that cannot, by reason."""

    rentables: tuple[Rentable, ...]
    rejected: Mapping[str, int] = field(factory=dict)


@frozen
class Machine:
    """One instance as an answer tells it. None: the answer does not say.

    Attributes:
        name: exactly as it was sent; it is the tag.
        address_told: whether this kind of answer tells addresses, so that a missing one means "none yet".
        price_per_hour: USD for the whole machine.
        disk_per_hour: USD for its storage alone, which is what is left to pay once its GPU was released.
    """

    id: str
    name: str | None = None
    status: str | None = None
    address: str | None = None
    address_told: bool = False
    ssh_port: int | None = None
    gpu: str | None = None
    gpu_count: int | None = None
    price_per_hour: float | None = None
    disk_per_hour: float | None = None
    started_at: datetime | None = None


@frozen
class Listing:
    """An answer that lists instances. `reason` says why it is not the whole truth; "" if it is."""

    machines: tuple[Machine, ...]
    reason: str = ""
    detail: str = ""


def place_text(*parts: str | None) -> str | None:
    """ "City, State, Country" of what is told, without repetitions such as "Texas, Texas"."""
    return ", ".join(dict.fromkeys(part.strip() for part in parts if part)) or None


class Dialect(Protocol):
    """One version of the API."""

    base_url: str
    published: Published

    def headers(self) -> Mapping[str, str]:
        """Headers of every request, credentials included."""

    def classify(self, endpoint: Endpoint, reply: Reply) -> ProviderError | Understood | None:
        """The error or answer that a reply is by its body; None leaves it to the rules for HTTP statuses."""

    def offers_call(self) -> Call:
        """Ask for the market."""

    def read_market(self, reply: Reply, gpu_count: int | None) -> Market:
        """The market, in the usual numbers of GPUs and in `gpu_count`. BadAnswer if it is not one, or empty."""

    def list_call(self) -> Call:
        """Ask for all instances."""

    def read_listing(self, reply: Reply) -> Listing:
        """All instances. BadAnswer for any shape that is not known."""

    def show_call(self, id: str) -> Call:
        """Ask for one instance."""

    def read_machine(self, reply: Reply, id: str) -> Machine:
        """One instance. BadAnswer if it is another one."""

    def create_call(self, request: CreateRequest, order: Order, timeout_seconds: float) -> Call:
        """Rent a machine. Refused, before any request, if the provider could only refuse it."""

    def read_created(self, reply: Reply) -> CreatedInstance:
        """The id of what was rented. Unclear if there is none."""

    def destroy_call(self, id: str) -> Call:
        """Ask for an instance to be destroyed."""

    def read_destroyed(self, reply: Reply) -> None:
        """BadAnswer unless the provider said yes."""

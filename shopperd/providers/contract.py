"""The provider contract: what every adapter must do, and the errors that it may raise.

Errors are values with meaning::

    ProviderError
    |-- RateLimited        too many requests; says when to try again
    |-- AuthFailed         the credentials were refused, or lack a right; nothing was done, nothing is known
    |-- InstanceNotFound   the provider said, in its own words, that there is no such instance
    |-- OfferUnavailable   that offer cannot be rented (any more); another one may
    |-- Refused            a definite, parsed refusal: the request had no effect and a repeat will not help
    |-- Unclear            nobody knows whether the request had an effect: timeout, reset, 408, 5xx, no answer
    `-- BadAnswer          an answer came, but not one that the API is known to give; read nothing into it

For reading calls every error means "not known". For `create_instance` only `Refused` and `OfferUnavailable` prove that
nothing was rented; after any other error something may have been. For `destroy_instance` no error proves anything, and
neither does success: only listings prove that an instance is gone.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Protocol, overload, runtime_checkable

from attrs import field, frozen

from shopperd.model import Instance, Offer, Snapshot


class ProviderError(Exception):
    """Base of all that an adapter may raise. Its text names what was asked and what came, never a secret.

    Attributes:
        outcome: the label under which a request that ended so is counted.
    """

    outcome = "bad_answer"


class RateLimited(ProviderError):
    """Too many requests. `retry_after_seconds` is the provider's hint, None if it gave none; it never allows more speed."""

    outcome = "rate_limited"

    def __init__(self, message: str, retry_after_seconds: float | None = None, cause: str = "429") -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.cause = cause


class AuthFailed(ProviderError):
    """The credentials were refused or lack a right. Check the key; nothing is concluded about instances."""

    outcome = "auth"


class InstanceNotFound(ProviderError):
    """The provider's own words for "no such instance". Proof only together with absence from complete snapshots."""

    outcome = "not_found"


class OfferUnavailable(ProviderError):
    """The offer is gone or cannot be deployed now. Nothing was rented; another offer may work."""

    outcome = "refused"


class Refused(ProviderError):
    """A definite refusal that carries no instance id. `code` is the provider's word, such as ``insufficient_credit``."""

    outcome = "refused"

    def __init__(self, message: str, code: str = "refused") -> None:
        super().__init__(message)
        self.code = code


class Unclear(ProviderError):
    """Nobody knows whether the request had an effect. `outcome` is ``timeout``, ``connection`` or ``server``."""

    def __init__(self, message: str, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class BadAnswer(ProviderError):
    """An answer that the API is not known to give: wrong shape, wrong type, too large, a redirect, a retired route."""


URGENT: ContextVar[bool] = ContextVar("urgent", default=False)
"""Set around a read that stands between a destroy and its request: it goes with the destroy's priority."""


class Withheld(Exception):
    """A request was not sent after all: what it waited for its turn with has changed. Certainly without effect."""


GATE: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("gate", default=None)
"""Asked after a request's turn has come and right before it is sent; it may raise `Withheld`."""


class Feature(enum.StrEnum):
    """What a provider may be able to do beyond the contract's methods."""

    IDLE_DETECTION = "idle_detection"
    """Listings tell how busy the GPUs are."""
    INSTANCE_TAGS = "instance_tags"
    """Instances carry a tag beside their name."""
    SPOT_PRICING = "spot_pricing"
    """Interruptible offers can be listed and rented."""


@frozen
class OfferFilter:
    """What offers to list. None and the defaults mean "any". Every condition is checked again on our side.

    Attributes:
        gpu: a GPU's name in any usual spelling (see `providers.gpus.matches`).
        min_vram_gb: nominal memory of one GPU.
        max_price_per_hour: USD for the whole machine.
        location: a two-letter country code, or part of the location's text; case does not matter.
        min_reliability: 0 to 1; offers that do not tell theirs do not fit.
        interruptible: list spot offers instead of on-demand ones.
    """

    gpu: str | None = None
    gpu_count: int | None = None
    min_vram_gb: int | None = None
    max_price_per_hour: float | None = None
    location: str | None = None
    min_reliability: float | None = None
    verified: bool | None = None
    interruptible: bool = False


@frozen
class OfferList(Sequence[Offer]):
    """The offers of one search, cheapest first.

    Attributes:
        partial: the answer was cut off by the provider, so offers are missing.
        rejected: how many rows were dropped, by reason.
        unknown_gpus: raw names without a canonical name of ours (the offers are kept).
    """

    offers: tuple[Offer, ...]
    partial: bool = False
    rejected: Mapping[str, int] = field(factory=dict)
    unknown_gpus: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Offer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Offer, ...]: ...
    def __getitem__(self, index: int | slice) -> Offer | tuple[Offer, ...]:
        return self.offers[index]

    def __len__(self) -> int:
        return len(self.offers)


@frozen
class CreateRequest:
    """What to rent. `tag` is the instance's only lasting mark, unique to the session.

    Attributes:
        offer: the offer to rent, as `list_offers` gave it.
        image: the provider's word for an image; None for the adapter's default.
        disk_gb: None for the adapter's default.
        onstart: a shell script run at the first start.
        timeout_seconds: how long the request may take in all, waiting for the limiter excluded; None for the adapter's default.
    """

    tag: str
    offer: Offer
    image: str | None = None
    disk_gb: float | None = None
    env: Mapping[str, str] = field(factory=dict, repr=False)
    ssh_key: str | None = None
    onstart: str | None = field(default=None, repr=False)
    timeout_seconds: float | None = None


@frozen
class CreatedInstance:
    """A create that was accepted: the id binds, whatever becomes of the tag."""

    id: str
    price_per_hour: float | None = None


@runtime_checkable
class ChecksCreates(Protocol):
    """An adapter that can tell beforehand what its provider would refuse. Adapters may leave this out."""

    def check_create(self, request: CreateRequest) -> None:
        """Raise what `create_instance` would raise before it sends anything.

        Raises:
            Refused: and why.
        """


@runtime_checkable
class TellsBalance(Protocol):
    """An adapter whose provider tells how much money is left. Adapters may leave this out."""

    async def balance_usd(self) -> float | None:
        """The credit left; None if the answer does not tell it.

        Raises:
            AuthFailed: the credentials may be good for everything else and yet not for this.
        """


@frozen
class Rights:
    """What the provider calls the rights that credentials need, for those who have to give them."""

    list_instances: str
    list_offers: str
    change: str
    balance: str = ""


@runtime_checkable
class NamesRights(Protocol):
    """An adapter that knows what its provider calls the rights. Adapters may leave this out."""

    @property
    def rights(self) -> Rights:
        """What the rights are called."""


class Provider(Protocol):
    """One account at one marketplace.

    Every method may raise `RateLimited`, `AuthFailed`, `Unclear` and `BadAnswer`; further errors are named with it.
    No method repeats a request that may have had an effect.
    """

    @property
    def name(self) -> str:
        """The marketplace: ``vastai``, ``tensordock`` or a plug-in's name."""

    async def list_offers(self, filter: OfferFilter) -> OfferList:
        """The offers that fit now. A bad row is dropped and counted; a bad answer is an error, never "no offers"."""

    async def list_all_instances(self) -> Snapshot:
        """All instances of the account, foreign ones too.

        A failure after the first readable rows gives a snapshot that is not complete; one before that is raised. An answer
        that cannot be understood, or one row that cannot be identified, makes the snapshot incomplete.
        """

    async def create_instance(self, request: CreateRequest) -> CreatedInstance:
        """Rent a machine, with one request and no repeat.

        Raises:
            OfferUnavailable, Refused: nothing was rented.
        """

    async def destroy_instance(self, id: str) -> None:
        """Ask for an instance to be destroyed. Returning means that the provider said yes, not that it is gone.

        Raises:
            InstanceNotFound: already gone, by the provider's word.
            Refused: the provider will not, for now (a minimum rental period, a missing right).
        """

    async def get_instance_status(self, id: str) -> Instance:
        """One instance, read by itself; more fields may be known than a listing tells.

        Raises:
            InstanceNotFound: by the provider's word. At Vast.ai also the usual answer for an instance just created.
        """

    def supports_feature(self, feature: Feature) -> bool:
        """Whether this adapter can do it."""

    async def close(self) -> None:
        """Give back connections. Calls in flight end with an error."""

"""Which offers fit a wish. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shopperd.model import Offer, Spec
from shopperd.providers.contract import CreateRequest
from shopperd.providers.gpus import matches


def fits(offer: Offer, spec: Spec) -> bool:
    """Whether an offer is what the spec asks for. An unknown memory size fits no demand for one."""
    if spec.offer_id is not None:
        cheap_enough = spec.max_price_per_hour is None or offer.price_per_hour <= spec.max_price_per_hour
        return offer.id == spec.offer_id and cheap_enough
    if not offer.available or offer.interruptible is not spec.interruptible or offer.gpu_count != spec.gpu_count:
        return False
    if spec.gpu is not None and not matches(spec.gpu, offer.gpu, offer.vram_gb):
        return False
    if spec.min_vram_gb is not None and (offer.vram_gb is None or offer.vram_gb < spec.min_vram_gb):
        return False
    return spec.max_price_per_hour is None or offer.price_per_hour <= spec.max_price_per_hour


def request_for(tag: str, offer: Offer, spec: Spec) -> CreateRequest:
    """What a provider is asked for, to rent this offer for a session."""
    return CreateRequest(
        tag=tag,
        offer=offer,
        image=spec.image,
        disk_gb=spec.disk_gb,
        env=spec.env,
        ssh_key=spec.ssh_key,
        onstart=spec.onstart,
    )


def fitting(offers: Iterable[Offer], spec: Spec) -> Iterator[Offer]:
    """Those that fit, in the order given."""
    return (offer for offer in offers if fits(offer, spec))

"""Renting at Vast.ai: what a create is checked for, what it makes, and what it is answered with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shopperd.simulator.call import Call
from shopperd.simulator.exchange import Answer, BadBodyError, json_answer
from shopperd.simulator.filters import alike
from shopperd.simulator.market import VastOffer
from shopperd.simulator.vastai_answers import insufficient_credit, no_such_ask, refusal

PROVIDER = "vastai"
LABEL_MAX_AT_CREATE = 256
BID_MIN, BID_MAX = 0.001, 128.0
DISK_DEFAULT_GB = 8.0
IMAGE_MAX = 1024
ONSTART_MAX = 4048


def body_object(call: Call) -> Mapping[str, Any] | None:
    """The request's JSON object; None if it is none."""
    try:
        body = call.request.json()
    except BadBodyError:
        return None
    return body if isinstance(body, Mapping) else None


def rent(call: Call, offer_id: str, body: Mapping[str, Any]) -> Answer:
    """Rent one offer as the body asks, or say why not."""
    offer = call.truth.vast.offers.get(int(offer_id)) if offer_id.isdecimal() else None
    bad = bad_create(offer, body)
    if bad is not None:
        return bad
    if offer is None or not call.truth.vast.is_free(offer):
        return no_such_ask(offer_id)
    if call.truth.credit(PROVIDER) <= 0:
        return insufficient_credit()
    bid = None if body.get("price") is None else float(alike(body["price"], 0.0))
    disk = float(alike(body.get("disk") or DISK_DEFAULT_GB, 0.0))
    low = bid is not None and bid < offer.min_bid
    env = body.get("env")
    instance = call.truth.rent_vast(
        offer,
        tag=body.get("label"),
        disk_gb=disk,
        bid=bid,
        stopped=low or body.get("target_state") == "stopped",
        image=str(body.get("image") or f"template/{body.get('template_hash_id')}"),
        runtype=str(body.get("runtype") or ("args" if body.get("args") else "ssh")),
        args=[str(word) for word in body.get("args") or []],
        env=[(str(name), str(value)) for name, value in env.items()] if isinstance(env, Mapping) else [],
        onstart=body.get("onstart"),
    )
    call.did_create(instance)
    contract = int(instance.id)
    if low:
        # The contract exists, stopped, and its disk bills: an error answer can carry an id.
        msg = f"Bid price {bid:g} is below the minimum of {offer.min_bid:g}; the instance was created stopped."
        return refusal(400, "bid_too_low", msg, new_contract=contract, ask_id=offer.id)
    secret = f"{call.truth.rng.getrandbits(256):064x}"
    return json_answer(200, {"success": True, "new_contract": contract, "instance_api_key": secret})


def bad_create(offer: VastOffer | None, body: Mapping[str, Any]) -> Answer | None:
    """What is wrong with a create's fields, checked before the market is looked at."""

    def invalid(text: str, error: str = "invalid_args") -> Answer:
        return refusal(400, error, f"error 400/3467: Invalid args: {text}")

    image, label = body.get("image"), body.get("label")
    if not image and not body.get("template_hash_id"):
        return invalid("'image' or 'template_hash_id' is required")
    if image is not None and (not isinstance(image, str) or len(image) > IMAGE_MAX):
        return invalid(f"'image' must be a string of at most {IMAGE_MAX} characters")
    if label is not None and not isinstance(label, str):
        return invalid("'label' must be a string")
    if label is not None and len(label) > LABEL_MAX_AT_CREATE:
        return refusal(400, "label_too_long", f"Label must be at most {LABEL_MAX_AT_CREATE} characters")
    disk = alike(body.get("disk") or DISK_DEFAULT_GB, 0.0)
    if isinstance(disk, bool) or not isinstance(disk, int | float) or disk < DISK_DEFAULT_GB:
        return invalid(f"'disk' must be a number >= {DISK_DEFAULT_GB:g}")
    if offer is not None and disk > offer.disk_space:
        return invalid(f"'disk' {disk:g} is more than the {offer.disk_space:g} GB on offer")
    price = body.get("price")
    if price is not None:
        number = alike(price, 0.0)
        if isinstance(number, bool) or not isinstance(number, int | float):
            return invalid("'price' must be a number", "invalid_price")
        if number < BID_MIN:
            return refusal(400, "invalid_args", f"Please set a bid price >= {BID_MIN}.")
        if number > BID_MAX:
            return invalid(f"'price' must be <= {BID_MAX:g}", "invalid_price")
    onstart = body.get("onstart")
    if onstart is not None and (not isinstance(onstart, str) or len(onstart) > ONSTART_MAX):
        return invalid(f"'onstart' must be a string of at most {ONSTART_MAX} characters")
    return None

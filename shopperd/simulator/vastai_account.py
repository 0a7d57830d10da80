"""Vast.ai's routes about the account: the user, the money, the log, new keys."""

from __future__ import annotations

import json

from shopperd.simulator.call import Call
from shopperd.simulator.exchange import Answer, json_answer
from shopperd.simulator.vastai_create import PROVIDER, body_object


def user(call: Call) -> Answer:
    """The account. The real answer holds the key; this one holds a mask in its place."""
    return json_answer(
        200,
        {
            "id": 70001,
            "username": "simulated",
            "email": "simulated@example.org",
            "api_key": "masked",
            "balance": 0,
            "credit": round(call.truth.credit(PROVIDER), 6),
            "balance_threshold": 3.0,
            "balance_threshold_enabled": False,
            "ssh_key": "",
            "sid": "1",
            "key_id": 1,
            "host_agreement_accepted": False,
            "can_pay": True,
            "email_verified": True,
            "has_billing": True,
        },
    )


def charges(call: Call) -> Answer:
    """What each machine has cost; a range of days is required."""
    try:
        filters = json.loads(call.request.param("select_filters") or "{}")
        day = filters.get("day") or {}
        start, end = float(day["gte"]), float(day["lte"])
    except (ValueError, KeyError, TypeError, AttributeError):
        msg = "Must provide both 'day' gte and lte filters for instance charges"
        return json_answer(400, {"success": False, "msg": msg})
    rows = []
    for instance in call.truth.everything():
        ended = instance.destroyed_at if instance.destroyed_at is not None else call.now
        # The filter names whole days, so the day of `lte` counts to its end.
        if instance.provider != PROVIDER or instance.created_at >= end + 86_400 or ended < start:
            continue
        amount = instance.billed(call.now)
        rows.append(
            {
                "start": instance.created_at,
                "end": ended,
                "type": "instance",
                "source": f"instance-{instance.id}",
                "description": f"Instance {instance.id} Charges",
                "amount": round(amount, 6),
                "metadata": {"label": instance.tag, "template_id": None},
                "items": [],
            }
        )
    return json_answer(
        200, {"success": True, "count": len(rows), "total": len(rows), "next_token": None, "results": rows}
    )


def invoices(call: Call) -> Answer:
    """One top-up: the credit at the start."""
    row = {
        "start": call.now,
        "end": call.now,
        "type": "credit",
        "source": "stripe",
        "description": "Manual Billing",
        "amount": -call.truth.settings.credit,
        "metadata": {"invoice_id": 1, "service": "stripe_payments"},
        "items": [],
    }
    return json_answer(200, {"success": True, "count": 1, "total": 1, "next_token": None, "results": [row]})


def audit(_call: Call) -> Answer:
    """An empty log; its body is not documented."""
    return json_answer(200, [])


def create_api_key(call: Call) -> Answer:
    """A new key: every non-empty one is good here, so this is only an answer."""
    body = body_object(call) or {}
    secret = f"{call.truth.rng.getrandbits(256):064x}"
    return json_answer(200, {"id": 1, "key": secret, "permissions": body.get("permissions")})

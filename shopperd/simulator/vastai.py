"""The Vast.ai dialect: routes, keys, limits and answers over the world's truth.

Facts follow the provider's documentation, its official client and recorded answers; where they disagree the recorded answer is
the default and the other a fault. Routes end in a slash; a GET without it is redirected, a write without it is not found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shopperd.simulator import vastai_account
from shopperd.simulator.call import Call
from shopperd.simulator.exchange import (
    Answer,
    BadBodyError,
    Request,
    json_answer,
    loose_json_answer,
    text_answer,
)
from shopperd.simulator.filters import BadFilterError, alike
from shopperd.simulator.instances import Instance, Phase, VastInstance
from shopperd.simulator.keys import Verdict, bearer, judge
from shopperd.simulator.limits import VAST_SEARCHES_PER_MINUTE
from shopperd.simulator.routing import Match, find, route
from shopperd.simulator.vastai_answers import (
    V0_LIST_PATH,
    deprecated_list,
    invalid_key,
    no_such_instance,
    refusal,
    too_frequent,
)
from shopperd.simulator.vastai_create import BID_MAX, BID_MIN, PROVIDER, body_object, rent
from shopperd.simulator.vastai_list import BadTokenError, list_answer
from shopperd.simulator.vastai_rows import OfferEncoder, instance_row
from shopperd.simulator.vastai_search import search_answer

LABEL_MAX = 1024


class Vastai:
    """The dialect. The encoded rows are all that it remembers; everything else is in the truth."""

    name = "vastai"

    def __init__(self) -> None:
        self.encoder = OfferEncoder()
        v0, v1 = "/api/v0", "/api/v1"
        one = f"{v0}/instances/{{instance}}/"
        self.routes = (
            route("POST", f"{v0}/bundles/", "search", self.search, public=True),
            route("GET", f"{v0}/bundles/", "search", self.search_query, public=True),
            route("PUT", f"{v0}/search/asks/", "search", self.search_asks, public=True),
            route("POST", f"{v0}/asks/bulk/", "create", self.create_bulk, writes=True),
            route("PUT", f"{v0}/asks/{{offer}}/", "create", self.create, writes=True),
            route("GET", f"{v1}/instances/", "list", self.list),
            route("GET", V0_LIST_PATH, "list", self.list_v0),
            route("DELETE", V0_LIST_PATH, "destroy", self.destroy_bulk, writes=True),
            route("PUT", V0_LIST_PATH, "update", self.update_bulk, writes=True),
            route("GET", f"{v0}/instances/filters/", "filters", self.filters),
            route("GET", f"{v0}/instances/pending-price-increases/", "filters", self.price_increases),
            route("GET", one, "show", self.show),
            route("DELETE", one, "destroy", self.destroy, writes=True),
            route("PUT", one, "update", self.update, writes=True),
            route("PUT", f"{v0}/instances/reboot/{{instance}}/", "reboot", self.reboot, writes=True),
            route("PUT", f"{v0}/instances/recycle/{{instance}}/", "reboot", self.reboot, writes=True),
            route("PUT", f"{v0}/instances/bid_price/{{instance}}/", "bid", self.change_bid, writes=True),
            route("POST", f"{one}ssh/", "ssh", self.attach_key, writes=True),
            route("GET", f"{one}ssh/", "ssh", self.show_keys),
            route("GET", f"{v0}/users/current/", "user", vastai_account.user),
            route("GET", f"{v0}/users/current", "user", vastai_account.user),
            route("GET", f"{v0}/charges/", "charges", vastai_account.charges),
            route("GET", f"{v1}/invoices/", "charges", vastai_account.invoices),
            route("GET", f"{v0}/audit_logs/", "audit", vastai_account.audit),
            route("GET", f"{v1}/audit_logs/", "audit", vastai_account.audit),
            route("POST", f"{v0}/auth/apikeys/", "api_key", vastai_account.create_api_key, writes=True),
            route("GET", f"{v0}/gpu_names/unique/", "gpu_names", self.gpu_names, public=True),
        )

    # --- the way in -----------------------------------------------------------------------------------------

    def match(self, request: Request) -> Match | None:
        """The route of a request."""
        return find(self.routes, request)

    def lost(self, request: Request) -> Answer:
        """What has no route: a GET that lacks its slash is sent there, all else is not found."""
        slashed = f"{request.path}/"
        if request.method == "GET" and not request.path.endswith("/") and find(self.routes, request, slashed):
            return Answer(307, {"Location": slashed})
        return text_answer(404, "<html><body><h1>404 Not Found</h1></body></html>", "text/html")

    @staticmethod
    def key_of(request: Request) -> str:
        """The Bearer token, else the legacy query parameter."""
        return bearer(request.header("authorization")) or request.param("api_key") or ""

    @staticmethod
    def refused(call: Call, match: Match) -> Answer | None:
        """The answer to a request with a bad key, or one that comes too early."""
        verdict = judge(call.key, call.truth.settings.key)
        if verdict is Verdict.BAD:
            return invalid_key(call.operation)
        if verdict is Verdict.MISSING and not match.route.public:
            if call.operation == "charges":
                return refusal(403, "auth_error", "This action requires login.")
            return refusal(401, "auth_error", "This action requires login.")
        if verdict is Verdict.READ_ONLY and match.route.writes:
            return refusal(403, "auth_error", "This API key lacks the permission instance_write.")
        if call.operation == "search":
            left = call.truth.limits.window_left("vastai-search", VAST_SEARCHES_PER_MINUTE, call.now)
            return text_answer(429, "API requests too frequent") if left is None else None
        threshold = call.truth.limits.interval_refused(call.operation, call.key, call.now)
        return None if threshold is None else too_frequent(call.operation, threshold, call.truth.limits.scale)

    # --- market ---------------------------------------------------------------------------------------------

    def search(self, call: Call) -> Answer:
        """POST bundles: the filters are the body."""
        try:
            return search_answer(call, self.encoder, call.request.json())
        except BadBodyError:
            return refusal(400, "invalid_request", "Invalid json body")
        except BadFilterError as error:
            return refusal(400, "bad_request", str(error))

    def search_query(self, call: Call) -> Answer:
        """GET bundles: the filters are the query's `q`."""
        try:
            return search_answer(call, self.encoder, json.loads(call.request.param("q") or "{}"))
        except BadFilterError as error:
            return refusal(400, "bad_request", str(error))
        except ValueError:
            return refusal(400, "invalid_request", "Invalid json query")

    def search_asks(self, call: Call) -> Answer:
        """PUT search/asks: the filters are the body's `q`; no other key is let through."""
        try:
            body = call.request.json()
        except BadBodyError:
            return refusal(400, "invalid_request", "Invalid json body")
        if not isinstance(body, Mapping):
            return refusal(400, "bad_request", "Input should be a valid dictionary")
        extra = [name for name in body if name not in ("select_cols", "q")]
        if extra:
            return refusal(400, "bad_request", f"{extra[0]}: Extra inputs are not permitted")
        try:
            return search_answer(call, self.encoder, body.get("q") or {})
        except BadFilterError as error:
            return refusal(400, "bad_request", str(error))

    def gpu_names(self, call: Call) -> Answer:
        """The names that the official command completes with."""
        names = {offer.machine.model.name: None for offer in call.truth.vast.offers.values()}
        return json_answer(200, {"gpu_names": sorted(names)})

    # --- renting --------------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """Rent one offer."""
        body = body_object(call)
        if body is None:
            return refusal(400, "invalid_request", "Invalid json body")
        return rent(call, call.params["offer"], body)

    def create_bulk(self, call: Call) -> Answer:
        """Rent several offers with one body; the answer's shape is this simulator's choice."""
        body = body_object(call)
        if body is None or not isinstance(body.get("ids"), list):
            return refusal(400, "invalid_args", "error 400/3467: Invalid args: 'ids' is required")
        results = [rent(call, str(offer_id), body).json() for offer_id in body["ids"]]
        return json_answer(200, {"success": all(result.get("success") for result in results), "results": results})

    # --- looking --------------------------------------------------------------------------------------------

    @staticmethod
    def list(call: Call) -> Answer:
        """The v1 list, one page."""
        known = call.seen(call.truth.listed(PROVIDER))
        try:
            return list_answer(call, [row for row in known if isinstance(row, VastInstance)])
        except BadFilterError as error:
            return refusal(400, "invalid_request", str(error))
        except BadTokenError:
            return refusal(400, "invalid_token", "Invalid pagination token")

    @staticmethod
    def list_v0(call: Call) -> Answer:
        """The retired list; it never tells of any machine."""
        return deprecated_list(call.truth.settings.v0_list)

    @staticmethod
    def show(call: Call) -> Answer:
        """One machine, or null for what is not there."""
        instance = _listed(call)
        if instance is None:
            return json_answer(200, {"instances": None})
        return loose_json_answer(200, {"instances": call.row(instance, instance_row(instance, call.now))})

    @staticmethod
    def filters(call: Call) -> Answer:
        """The distinct values that the official command's table view asks for."""
        rows = [row for row in call.truth.listed(PROVIDER) if isinstance(row, VastInstance)]
        return json_answer(
            200,
            {
                "success": True,
                "labels": sorted({row.tag: None for row in rows if row.tag}),
                "gpu_names": sorted({row.gpu: None for row in rows}),
            },
        )

    @staticmethod
    def price_increases(_call: Call) -> Answer:
        """No host asks for more."""
        return json_answer(200, {"success": True, "pending_price_increases": []})

    # --- changing -------------------------------------------------------------------------------------------

    @staticmethod
    def destroy(call: Call) -> Answer:
        """End one machine."""
        instance_id = call.params["instance"]
        if not instance_id.isdecimal():
            return refusal(400, "invalid_args", "invalid instance_id")
        instance = call.truth.find(PROVIDER, instance_id)
        if instance is None:
            return no_such_instance(instance_id)
        call.did_destroy(instance)
        return json_answer(200, {"success": True})

    @staticmethod
    def destroy_bulk(call: Call) -> Answer:
        """End several machines; ids that do not exist are named in the answer, whose shape is this simulator's choice."""
        body = body_object(call)
        ids = body.get("instance_ids") if body is not None else None
        if not isinstance(ids, list):
            return refusal(400, "invalid_args", "invalid instance_ids")
        missing = []
        for instance_id in ids:
            instance = call.truth.find(PROVIDER, str(instance_id))
            if instance is None:
                missing.append(instance_id)
                continue
            call.did_destroy(instance)
        return json_answer(200, {"success": not missing, "missing": missing})

    def update(self, call: Call) -> Answer:
        """Start, stop or label one machine."""
        body = body_object(call)
        if body is None:
            return refusal(400, "invalid_request", "Invalid json body")
        instance = call.truth.find(PROVIDER, call.params["instance"])
        if instance is None:
            return no_such_instance(call.params["instance"])
        return self._update(call, instance, body)

    def update_bulk(self, call: Call) -> Answer:
        """Start or stop several machines."""
        body = body_object(call)
        ids = body.get("ids") if body is not None else None
        if body is None or not isinstance(ids, list):
            return refusal(400, "invalid_args", "invalid ids")
        for instance_id in ids:
            instance = call.truth.find(PROVIDER, str(instance_id))
            if instance is None:
                return no_such_instance(instance_id)
            answer = self._update(call, instance, body)
            if answer.status != 200:
                return answer
        return json_answer(200, {"success": True})

    @staticmethod
    def _update(call: Call, instance: Instance, body: Mapping[str, Any]) -> Answer:
        state, label = body.get("state"), body.get("label")
        if state is None and "label" not in body:
            return refusal(400, "invalid_args", "one of state, label is required")
        if "label" in body:
            if label is not None and not isinstance(label, str):
                return refusal(400, "invalid_args", "label must be a string")
            if label is not None and len(label) > LABEL_MAX:
                return refusal(400, "label_too_long", f"Label must be at most {LABEL_MAX} characters")
            instance.tag = label or None
            call.effects.append(f"labelled:{instance.id}")
        stopped = instance.at(call.now).wanted == "stopped"
        if state == "stopped":
            if not stopped:
                call.truth.stop(instance)
                call.effects.append(f"stopped:{instance.id}")
        elif state == "running":
            if stopped:
                call.truth.start(instance)
                call.effects.append(f"started:{instance.id}")
        elif state is not None:
            return refusal(400, "invalid_args", f"invalid state {str(state)[:40]}")
        return json_answer(200, {"success": True})

    @staticmethod
    def reboot(call: Call) -> Answer:
        """Restart the container."""
        instance = call.truth.find(PROVIDER, call.params["instance"])
        if instance is None:
            return refusal(400, "invalid_args", "invalid instance_id")
        if instance.at(call.now).phase is Phase.RUNNING:
            call.truth.reboot(instance)
            call.effects.append(f"rebooted:{instance.id}")
        return json_answer(200, {"success": True})

    @staticmethod
    def change_bid(call: Call) -> Answer:
        """Set the price of an interruptible machine."""
        instance = call.truth.find(PROVIDER, call.params["instance"])
        if not isinstance(instance, VastInstance):
            return no_such_instance(call.params["instance"])
        body = body_object(call) or {}
        price = alike(body.get("price"), 0.0)
        if not instance.is_bid or isinstance(price, bool) or not isinstance(price, int | float):
            return refusal(400, "invalid_args", "invalid price")
        if not BID_MIN <= price <= BID_MAX:
            return refusal(400, "invalid_args", f"Please set a bid price >= {BID_MIN}.")
        instance.bid = float(price)
        instance.rate_changes.append((call.now, instance.bid + instance.disk_rate))
        call.effects.append(f"bid:{instance.id}")
        return json_answer(200, {"success": True})

    @staticmethod
    def attach_key(call: Call) -> Answer:
        """Add an ssh key to one machine."""
        instance = call.truth.find(PROVIDER, call.params["instance"])
        if not isinstance(instance, VastInstance):
            return no_such_instance(call.params["instance"])
        key = (body_object(call) or {}).get("ssh_key")
        if not isinstance(key, str) or not key.startswith(("ssh-", "ecdsa-", "sk-")):
            return refusal(400, "invalid_args", "ssh_key is not a public key")
        instance.ssh_keys.append(key)
        call.effects.append(f"key:{instance.id}")
        return json_answer(200, {"success": True, "msg": "SSH key added to instance."})

    @staticmethod
    def show_keys(call: Call) -> Answer:
        """The ssh keys of one machine."""
        instance = call.truth.find(PROVIDER, call.params["instance"])
        if not isinstance(instance, VastInstance):
            return no_such_instance(call.params["instance"])
        keys = [{"id": number, "public_key": key} for number, key in enumerate(instance.ssh_keys, 1)]
        return json_answer(200, {"success": True, "ssh_keys": keys})


def _listed(call: Call) -> VastInstance | None:
    """The machine as a look at it finds it: faults decide what this request may know."""
    seen = call.seen(call.truth.shown(PROVIDER, call.params["instance"]))
    return next((row for row in seen if isinstance(row, VastInstance)), None)

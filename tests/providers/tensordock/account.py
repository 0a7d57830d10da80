"""A TensorDock account over a sender that plays recorded answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from shopperd.model import Offer
from shopperd.providers.contract import CreateRequest
from shopperd.providers.tensordock import TensorDock, open_tensordock
from shopperd.providers.transport import HttpRequest, Reply
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings, SecretSource
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.senders import Answer, ListSender

RECORDINGS = Path(__file__).parents[2] / "recordings" / "tensordock"
TOKEN = "tok5f8c1d0e9b"  # nobody's
AUTH_ID = "0d9f3b1c-aaaa-4bbb-8ccc-1234567890ab"
VM = "5f0c7d1e-3a52-4b8e-9a4d-0c6b2f9e7a11"
FOREIGN_VM = "b81f66c4-0d8e-4f57-8c1a-7e2d9f40c3aa"
TAG = "shopper-7a1d2c3e-4b5f-4678-8901-23456789abcd"
LOCATION = "3c9a2f10-6b7d-4e21-8f35-91d0a4c7be52"
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0 me@laptop"


def recording(name: str) -> Reply:
    return reply_of(json.loads((RECORDINGS / f"{name}.json").read_text()))


def recordings(api: str) -> Iterator[str]:
    return (path.stem for path in sorted(RECORDINGS.glob(f"{api}_*.json")))


def reply_of(recorded: dict[str, Any]) -> Reply:
    body = recorded["body_text"].encode() if "body_text" in recorded else json.dumps(recorded["body"]).encode()
    return Reply(recorded["status"] or 200, recorded["headers"], body)


def answer(body: object, status: int = 200) -> Reply:
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def account(api: str, *answers: Answer | str, deployment: str = "") -> tuple[TensorDock, ListSender]:
    """A provider that is answered in turn; a text names a recording."""
    sender = ListSender(*(recording(each) if isinstance(each, str) else each for each in answers))
    environ = {"TOKEN": TOKEN, "AUTH": AUTH_ID}
    provider = open_tensordock(
        AccountSettings("td", "tensordock", api=api),
        deployment=deployment,
        secrets={
            "api_token": Secret(SecretSource(env="TOKEN"), environ),
            "auth_id": Secret(SecretSource(env="AUTH"), environ),
        },
        clock=FakeClock(),
        metrics=Metrics(registry=CollectorRegistry()),
        sender=sender,
    )
    return provider, sender


def order(provider_id: str | None = None, **changes: Any) -> CreateRequest:
    """A create of one RTX 4090."""
    offer = Offer(
        id="tensordock-x",
        provider="tensordock",
        provider_id=provider_id or f"{LOCATION}:geforcertx4090-pcie-24gb:1:8:32:100:ip",
        account="td",
        gpu="RTX 4090",
        gpu_count=1,
        vram_gb=24,
        price_per_hour=0.5,
    )
    wishes: dict[str, Any] = {"tag": TAG, "offer": offer, "ssh_key": SSH_KEY, **changes}
    return CreateRequest(**wishes)


def attributes(request: HttpRequest) -> dict[str, Any]:
    """What a v2 create asked for."""
    sent: dict[str, Any] = json.loads(request.body or b"")
    found: dict[str, Any] = sent["data"]["attributes"]
    return found

"""Recorded answers, one a file, and an account that is answered with them."""

import json
from pathlib import Path
from typing import Any

import msgspec
from attrs import frozen

from shopperd.providers.transport import Reply, Sender
from shopperd.providers.vastai.adapter import VastAI, open_vastai
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings, LimitSettings, SecretSource
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.senders import Answer, ListSender

FOLDER = Path(__file__).parents[2] / "recordings" / "vastai"
KEY = "vast-key-0123456789"
UNLIMITED = LimitSettings(list=0.0, offers=0.0, show=0.0, create=0.0, destroy=0.0)


@frozen
class Recording:
    name: str
    operation: str
    reply: Reply


def read(path: Path) -> Recording:
    told = json.loads(path.read_text(encoding="utf-8"))
    body = told["body_text"].encode() if "body_text" in told else msgspec.json.encode(told["body"])
    return Recording(path.stem, told["operation"], Reply(told["status"] or 200, told["headers"], body))


def recorded(name: str) -> Reply:
    return read(FOLDER / f"{name}.json").reply


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def account(
    clock: FakeClock, metrics: Metrics, *answers: Answer, deployment: str = "", limits: LimitSettings = UNLIMITED
) -> tuple[VastAI, ListSender]:
    """An account that is given these answers in turn, the last one again and again; and what it asked for."""
    sender = ListSender(*answers)
    return opened(clock, metrics, sender, deployment, limits), sender


def opened(
    clock: FakeClock, metrics: Metrics, sender: Sender, deployment: str = "", limits: LimitSettings = UNLIMITED
) -> VastAI:
    return open_vastai(
        AccountSettings(name="main", provider="vastai", limits=limits),
        deployment=deployment,
        secrets={"api_key": Secret(SecretSource(env="VASTAI_API_KEY"), {"VASTAI_API_KEY": KEY})},
        clock=clock,
        metrics=metrics,
        sender=sender,
    )

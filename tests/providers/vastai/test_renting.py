"""What is sent to rent a machine, and what is refused before anything is sent."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from shopperd.model import Offer
from shopperd.providers.contract import CreateRequest, Refused
from shopperd.providers.vastai.renting import (
    DEFAULT_IMAGE,
    ENV_ENTRY_CHARS_MAX,
    ONSTART_CHARS_MAX,
    body_of,
    hidden_of,
)

TAG = "shopper-3f0c2b1e-9a4d-4f7c-8f11-5f6c0b7f2a10"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@it's here"
OFFER = Offer(
    id="vastai-45100011",
    provider="vastai",
    provider_id="45100011",
    account="main",
    gpu="RTX 4090",
    gpu_count=1,
    vram_gb=24,
    price_per_hour=0.3,
)
SPOT = evolve(OFFER, id="vastai-45100011-bid", interruptible=True)


def request(**fields: Any) -> CreateRequest:
    return CreateRequest(**{"tag": TAG, "offer": OFFER, **fields})


def test_the_least_request_is_filled_with_defaults() -> None:
    assert body_of(request()) == {
        "client_id": "me",
        "image": DEFAULT_IMAGE,
        "disk": 16.0,
        "label": TAG,
        "env": {"SHOPPERD_TAG": TAG},
        "runtype": "ssh_direc ssh_proxy",
        "target_state": "running",
        "cancel_unavail": True,
    }


def test_wishes_are_passed_on() -> None:
    body = body_of(request(image="ubuntu:22.04", disk_gb=40, env={"A": "1", "-p 8000:8000": "1"}, onstart="echo hi"))
    assert (body["image"], body["disk"], body["onstart"]) == ("ubuntu:22.04", 40, "echo hi")
    assert body["env"] == {"A": "1", "-p 8000:8000": "1", "SHOPPERD_TAG": TAG}


def test_the_environment_cannot_take_the_tags_place() -> None:
    assert body_of(request(env={"SHOPPERD_TAG": "other"}))["env"] == {"SHOPPERD_TAG": TAG}


def test_only_an_interruptible_offer_is_bid_for() -> None:
    assert "price" not in body_of(request())
    assert body_of(request(offer=SPOT))["price"] == 0.3


@pytest.mark.parametrize(
    "fields",
    [
        {"offer": evolve(OFFER, provider="tensordock")},
        {"offer": evolve(OFFER, provider_id="7/../8")},
        {"offer": evolve(SPOT, price_per_hour=0.0001)},
        {"offer": evolve(SPOT, price_per_hour=129.0)},
        {"offer": evolve(SPOT, price_per_hour=float("nan"))},
        {"tag": ""},
        {"tag": "x" * 129},
        {"image": "x" * 1025},
        {"image": "a\nb"},
        {"disk_gb": 7.9},
        {"disk_gb": float("nan")},
        {"env": {"": "x"}},
        {"env": {"A=B": "x"}},
        {"env": {"A\n": "x"}},
        {"env": {"A": "\x00"}},
        {"env": {"A": "\ud800"}},
        {"env": {"A": "x" * ENV_ENTRY_CHARS_MAX}},
        {"env": {f"A{number}": "x" * 200 for number in range(200)}},
        {"onstart": "x" * (ONSTART_CHARS_MAX + 1)},
        {"onstart": "x" * (ONSTART_CHARS_MAX - 100), "ssh_key": KEY},
        {"onstart": "\x00"},
        {"onstart": "#!/usr/bin/python3\nprint()", "ssh_key": KEY},
        {"ssh_key": "-----BEGIN OPENSSH PRIVATE KEY-----"},
        {"ssh_key": f"{KEY}\n{KEY}"},
        {"ssh_key": "ssh-ed25519 '; rm -rf /"},
    ],
)
def test_what_the_api_would_not_take_is_refused_unsent(fields: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"^not sent: ") as caught:
        body_of(request(**fields))
    assert caught.value.code == "invalid_request"


def test_values_of_the_environment_are_never_in_a_refusal() -> None:
    with pytest.raises(Refused) as caught:
        body_of(request(env={"TOKEN": "hunter2" * 60}))
    assert "hunter2" not in str(caught.value)
    assert hidden_of(request(env={"TOKEN": "hunter2"}, onstart="login hunter3")) == ("hunter2", "login hunter3")


@pytest.mark.parametrize("shebang", ["", "#!/bin/bash\n", "#!/usr/bin/env bash\n", "#! /bin/sh -e\n"])
def test_the_script_lets_the_key_in_once_and_then_does_what_it_did(tmp_path: Path, shebang: str) -> None:
    script = body_of(request(ssh_key=f" {KEY} \n", onstart=f'{shebang}echo "ran ${{SSH_KEY-clean}}"'))["onstart"]
    assert isinstance(script, str)
    assert script.startswith(shebang)
    for _ in range(2):
        done = subprocess.run(
            ["sh"],
            input=script,
            text=True,
            capture_output=True,
            check=True,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        assert done.stdout == "ran clean\n"
    keys = tmp_path / ".ssh" / "authorized_keys"
    assert keys.read_text() == f"{KEY}\n"
    assert keys.stat().st_mode & 0o777 == 0o600


def test_a_key_without_a_script_is_a_script() -> None:
    assert KEY.replace("'", "'\"'\"'") in str(body_of(request(ssh_key=KEY))["onstart"])
    assert "onstart" not in body_of(request())

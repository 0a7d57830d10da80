"""Every recorded answer beside the repository means something, and none crashes the adapter. Skipped where there are none."""

import json
from pathlib import Path

import pytest

from shopperd.providers.contract import BadAnswer, OfferFilter, OfferList, ProviderError, Unclear
from tests.providers.tensordock.account import account, order, reply_of

FOLDER = Path(__file__).parents[4] / "shared" / "fixtures" / "tensordock"
FILES = sorted(FOLDER.glob("*.json")) if FOLDER.is_dir() else []

pytestmark = pytest.mark.skipif(not FILES, reason="no recorded answers beside the repository")

ERRORS = {
    "v2_locations_empty_2026-07-13": "BadAnswer",
    "v0_hostnodes_404_2026": "BadAnswer",
    "v2_create_empty_id": "Unclear",
    "v2_create_200_no_nodes": "OfferUnavailable",
    "v2_create_200_hostnode_unavailable": "OfferUnavailable",
    "v2_create_no_public_ip": "OfferUnavailable",
    "v2_create_unexpected": "Unclear",
    "v2_create_400_bad_image": "Refused",
    "v2_create_400_ssh_port": "Refused",
    "v2_create_401_2026-01-31": "AuthFailed",
    "v2_hostnodes_401_2026-07-13": "AuthFailed",
    "v2_429": "RateLimited",
    "v2_502_html": "Unclear",
    "v2_show_404": "InstanceNotFound",
    "v0_delete_500_2025-04": "Unclear",
    "v0_start_500_running": "Refused",
    "v0_stop_500_disassociated": "Refused",
}
"""What each answer that is no success means; all others are read."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_every_recorded_answer_is_read_or_refused(file: Path) -> None:
    recorded = json.loads(file.read_text())
    api, operation, path = recorded["api"], recorded["operation"], recorded["request"]["path"]
    provider, sender = account(api, reply_of(recorded))
    if operation in ("auth", "users_current", "stop"):
        return  # routes that the adapter does not use
    if path.endswith(f"hostnodes/{path.rsplit('/', 1)[-1]}"):
        return  # one node by itself, which it does not ask for either
    outcome: object
    try:
        if operation == "search_offers" or path.endswith("hostnodes"):
            outcome = await provider.list_offers(OfferFilter())
        elif operation == "list_instances" or (
            path.endswith("/v2/instances") and recorded["request"]["method"] == "GET"
        ):
            outcome = await provider.list_all_instances()
        elif operation == "show_instance" or recorded["request"]["method"] == "GET":
            outcome = await provider.get_instance_status(_id_in(recorded))
        elif operation == "create" or path.endswith("/v2/instances"):
            outcome = await provider.create_instance(order())
        else:
            await provider.destroy_instance("x")
            outcome = None
    except ProviderError as error:
        outcome = error
    assert len(sender.requests) == 1
    if file.stem in ERRORS:
        assert type(outcome).__name__ == ERRORS[file.stem]
    else:
        assert not isinstance(outcome, ProviderError), outcome


def _id_in(recorded: dict[str, object]) -> str:
    body = recorded.get("body")
    inner = body.get("data", body) if isinstance(body, dict) else {}
    found = inner.get("id") if isinstance(inner, dict) else None
    return str(found or "x")


async def test_a_location_without_prices_is_counted_and_not_guessed() -> None:
    recorded = json.loads((FOLDER / "v2_locations_partial_2026-01.json").read_text())
    provider, _ = account("v2", reply_of(recorded))
    offers = await provider.list_offers(OfferFilter())
    assert isinstance(offers, OfferList)
    assert len(offers) == 0
    assert offers.rejected == {"unpriced": 3}


def test_the_table_names_files_that_exist() -> None:
    assert set(ERRORS) <= {file.stem for file in FILES}
    assert {BadAnswer.__name__, Unclear.__name__} <= set(ERRORS.values())

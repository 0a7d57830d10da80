"""The pages in docs/: what they take from the code is as the code has it, and what they name exists."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from scripts import reference
from shopperd.settings import AccountSettings, LimitSettings
from shopperd.settings_accounts import SECRETS_OF
from shopperd.settings_shape import leaves
from shopperd.telemetry import Metrics

DOCS = reference.ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
METRICS = (DOCS / "metrics.md").read_text(encoding="utf-8")


def named(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_is_made_from_the_code_is_as_the_code_has_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert reference.filled_in(text) == text, "run `make docs`"


def test_what_somebody_changed_by_hand_is_noticed() -> None:
    assert reference.filled_in(METRICS.replace("| gauge |", "| counter |", 1)) == METRICS


def test_what_was_written_by_hand_stays() -> None:
    assert reference.filled_in("# Own words\n\n<!-- no block -->\n") == "# Own words\n\n<!-- no block -->\n"


def test_the_readme_leads_to_every_page() -> None:
    readme = (reference.ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"](docs/{page.name})" not in readme] == []


def test_the_page_on_providers_quotes_the_whole_class() -> None:
    quoted = (DOCS / "providers.md").read_text(encoding="utf-8")
    source = (reference.ROOT / "tests/providers/pebble/plug_in.py").read_text(encoding="utf-8")
    assert source[source.index("class Pebble:") :] in quoted


def test_a_definition_that_is_gone_is_an_error_and_not_an_empty_quote() -> None:
    with pytest.raises(KeyError, match="nobody"):
        reference.filled_in("<!-- made: code tests/providers/pebble/plug_in.py nobody -->\n<!-- made: end -->\n")


def test_every_setting_is_on_the_page_with_its_variable() -> None:
    accounts = [f"accounts.NAME.{each.name}" for each in attrs.fields(AccountSettings)]
    keys = [".".join(path) for path in leaves()]
    keys += [key for key in accounts if not key.endswith((".name", ".secrets", ".limits", ".options"))]
    keys += [f"accounts.NAME.limits.{each.name}" for each in attrs.fields(LimitSettings)]
    for key in keys:
        assert f"`{key}`<br>`SHOPPERD_{key.replace('.', '__').upper()}`" in CONFIGURATION, key


def test_every_secret_is_on_the_page() -> None:
    for secrets in SECRETS_OF.values():
        for name, variable in secrets.items():
            assert f"| `{name}_env`, `{name}_file` | `{variable}` |" in CONFIGURATION, name


def test_every_metric_is_on_the_page(metrics: Metrics) -> None:
    for family in metrics.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"| `{name}` | {family.type} |" in METRICS, name

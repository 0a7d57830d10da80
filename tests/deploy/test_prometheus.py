"""The rules and alerts: they read what is there, say what to do, and fire when they should and only then."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from deploy.prometheus.rules import RULES, Rule, RulesError, alerts, read
from shopperd.cli.group import shopperd
from shopperd.model import HoldReason
from tests.deploy.promql import faults

ROOT = Path(__file__).parents[2]
FOLDER = RULES.parent
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
CASES = sorted((FOLDER / "tests").glob("*.yaml"))
ALERTS = tuple(alerts().values())

NEED_NOBODY = {
    *(HoldReason.SIGHTINGS, HoldReason.GRACE, HoldReason.OBSERVING, HoldReason.OPEN_CREATE),
    *(HoldReason.LIVE_SESSION, HoldReason.LAST_LOOK, HoldReason.EXEMPT, HoldReason.REPORT_MODE, HoldReason.FROZEN),
}
"""Holds that pass by themselves, or that somebody wanted."""

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def anchors(text: str) -> set[str]:
    """Where a link into a page of Markdown can lead."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> list[list[str]]:
    """Every call of shopperd that a page tells to make, in words."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()] + inline
    return [shlex.split(line)[1:] for line in lines if line.startswith("shopperd ")]


def cases_of(alert: str) -> list[bool]:
    """For each time that a case looks at an alert, whether it is to fire."""
    found = []
    for path in CASES:
        looks = re.split(r"\n      - eval_time: ", path.read_text())[1:]
        found += ["exp_alerts: []" not in look for look in looks if f"alertname: {alert}\n" in look]
    return found


@pytest.mark.parametrize("rule", read().values(), ids=lambda rule: rule.name)
class TestEveryRule:
    def test_it_reads_metrics_labels_and_values_that_shopperd_has(self, rule: Rule) -> None:
        assert faults(rule.expr) == []

    def test_it_is_named_in_the_way_of_its_kind(self, rule: Rule) -> None:
        assert re.fullmatch(r"Shopperd([A-Z][a-z]*)+" if rule.alerts else r"\w+:shopperd_\w+:\w+", rule.name)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: rule.name)
class TestEveryAlert:
    def test_it_says_how_bad_it_is_what_is_wrong_and_where_to_read_on(self, alert: Rule) -> None:
        assert alert.severity in ("critical", "warning")
        assert 10 < len(alert.fields["summary"]) < 150
        assert alert.fields["description"].endswith(".")
        # Where nothing is scraped there is no value to tell.
        assert "$value" in alert.fields["description"] or alert.name == "ShopperdGone"

    def test_the_runbook_has_a_section_for_it_that_says_how_bad_it_is(self, alert: Rule) -> None:
        page, _, anchor = alert.runbook_url.partition("#")
        assert page.endswith("docs/runbook.md")
        assert anchor == alert.name.lower()
        assert anchor in anchors(RUNBOOK)
        section = RUNBOOK.partition(f"\n## {alert.name}\n")[2].partition("\n## ")[0]
        assert section.strip().startswith(f"**{alert.severity}")
        assert "- See: " in section or "- First " in section or "See: " in section
        assert "\nOver " in section or " Over " in section

    def test_there_are_cases_in_which_it_fires_and_in_which_it_does_not(self, alert: Rule) -> None:
        assert {*cases_of(alert.name)} == {True, False}

    def test_its_threshold_can_be_taken_from_it(self, alert: Rule) -> None:
        assert alert.threshold >= 0


class TestRunbook:
    def test_every_section_about_an_alert_is_about_one_that_exists(self) -> None:
        assert set(re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)) == {alert.name for alert in ALERTS} | {
            "The first minute"
        }

    def test_every_link_leads_somewhere(self) -> None:
        for target in re.findall(r"\]\(([^)]+)\)", RUNBOOK):
            page, _, anchor = target.partition("#")
            assert not page or (ROOT / "docs" / page).exists(), target
            assert not anchor or anchor in anchors(RUNBOOK), target

    def test_every_command_in_it_exists_with_its_arguments_and_options(self) -> None:
        found = commands(RUNBOOK)
        assert len(found) > 30
        for words in found:
            command: click.Command = shopperd
            context = click.Context(shopperd)
            while isinstance(command, click.Group) and words and not words[0].startswith("-"):
                name, words = words[0], words[1:]
                inner = command.get_command(context, name)
                assert inner is not None, name
                command = inner
            # A group, or a command, that is spoken of with none of its arguments is no call.
            if words:
                command.make_context(command.name, [word.replace("...", "why") for word in words])

    def test_every_metric_in_it_exists(self) -> None:
        for name in re.findall(r"`(shopperd_\w+)`", RUNBOOK):
            assert faults(name) == []

    def test_every_event_and_setting_in_it_exists(self) -> None:
        source = "".join(path.read_text() for path in (ROOT / "shopperd").rglob("*.py"))
        settings = set(re.findall(r"^#?([a-z_]+) =", (ROOT / "config.example.toml").read_text(), re.MULTILINE))
        jobs = {f"jobs.{job}.interval" for job in ("offers", "status", "sweep")}
        names = set(re.findall(r"`([a-z]+(?:\.[a-z_]+)+)`", RUNBOOK))
        assert len(names) > 15
        for name in names - jobs:
            assert f'"{name}"' in source or name.rpartition(".")[2] in settings, name

    @pytest.mark.parametrize("reason", HoldReason)
    def test_every_hold_is_either_told_with_what_to_do_or_needs_nobody(self, reason: HoldReason) -> None:
        told = re.search(r'reason=~"([^"]+)"', alerts()["ShopperdHoldNeedsPerson"].expr)
        assert told is not None
        assert (reason in told[1].split("|")) is (reason not in NEED_NOBODY)
        section = RUNBOOK.partition("## ShopperdHoldNeedsPerson")[2].partition("\n## ")[0]
        assert f"`{reason}`" in section


class TestReading:
    def test_what_is_not_of_the_form_is_an_error_with_its_line(self, tmp_path: Path) -> None:
        file = tmp_path / "rules.yaml"
        file.write_text(RULES.read_text() + "  - name: {a: b}\n")
        with pytest.raises(RulesError, match=rf"rules.yaml:{len(RULES.read_text().splitlines()) + 1}: not of the form"):
            read(file)

    def test_a_name_that_stands_twice_is_an_error(self, tmp_path: Path) -> None:
        file = tmp_path / "rules.yaml"
        text = RULES.read_text()
        file.write_text(text + text[text.index("groups:") :])
        with pytest.raises(RulesError, match="stands twice"):
            read(file)

    def test_an_alert_without_a_comparison_has_no_threshold(self) -> None:
        with pytest.raises(RulesError, match="compares with no number"):
            _ = Rule("ShopperdX", True, {"expr": "absent(up)"}).threshold


class TestKubernetes:
    def test_the_prometheusrule_is_what_the_rules_make(self) -> None:
        made = subprocess.run(
            [sys.executable, "scripts/prometheus-rule", "-"], cwd=ROOT, capture_output=True, text=True
        )
        committed = ROOT / "deploy/k8s/components/monitoring/prometheusrule.yaml"
        assert committed.read_text() == made.stdout, "run scripts/prometheus-rule"

    def test_it_has_the_rules_letter_by_letter(self) -> None:
        wrapped = (ROOT / "deploy/k8s/components/monitoring/prometheusrule.yaml").read_text()
        body = "\n".join(line.removeprefix("  ") for line in wrapped.partition("\nspec:\n")[2].splitlines())
        assert RULES.read_text().endswith(body + "\n")


def test_without_prometheus_make_observe_says_where_to_get_it() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/observe"], cwd=ROOT, env={"PATH": "/nowhere"}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "apt-get install" in done.stderr
    assert done.stdout == ""


@needs_promtool
class TestPromtool:
    def promtool(self, *words: object) -> str:
        done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def test_it_takes_the_rules_without_a_word(self) -> None:
        said = self.promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
        assert f"{len(read())} rules found" in said

    def test_it_takes_the_configuration(self) -> None:
        assert "1 rule files found" in self.promtool("check", "config", FOLDER / "prometheus.yaml")

    @pytest.mark.system
    @pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
    def test_alerts_fire_when_they_should_and_only_then(self, cases: Path) -> None:
        assert "SUCCESS" in self.promtool("test", "rules", cases)

"""The manifests: every cluster from 1.29 on takes them, they keep the rules, and they fit the daemon that they run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import shopperd
from shopperd.process import CLOSE_SECONDS
from shopperd.settings import Settings
from shopperd.settings_file import load
from shopperd.store.databases import CONNECT_SECONDS
from shopperd.web.health import STORE_SECONDS_MAX
from tests.deploy.tools import ROOT, documents, said, tool

FOLDER = ROOT / "deploy/k8s"
README = (FOLDER / "README.md").read_text()
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
OPERATORS = {"ServiceMonitor", "PrometheusRule"}
"""Kinds that come with the Prometheus operator, whose schemas are not Kubernetes' own."""


def kustomize(folder: Path) -> str:
    return said(tool("manifests", "kubectl"), "kustomize", folder)


def switched_on(overlay: str, folder: Path) -> Path:
    """A copy of an overlay with everything on that its comments offer."""
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    switch = folder / "deploy/k8s/overlays" / overlay / "kustomization.yaml"
    switch.write_text(re.sub(r"^# (components: )", r"\1", switch.read_text(), flags=re.MULTILINE))
    return switch.parent


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plain(overlay: str) -> list[dict[str, Any]]:
    """An overlay as it is."""
    return documents(kustomize(FOLDER / "overlays" / overlay))


@pytest.fixture(scope="module")
def file(overlay: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay with everything that can be switched on, rendered."""
    folder = tmp_path_factory.mktemp(overlay)
    rendered = folder / "rendered.yaml"
    rendered.write_text(kustomize(switched_on(overlay, folder)))
    return rendered


@pytest.fixture(scope="module")
def whole(file: Path) -> list[dict[str, Any]]:
    return documents(file.read_text())


def one(found: list[dict[str, Any]], kind: str, name: str = "shopperd") -> dict[str, Any]:
    (document,) = [each for each in found if each["kind"] == kind and each["metadata"]["name"] == name]
    return document


def pod(found: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = one(found, "Deployment")["spec"]["template"]["spec"]
    return spec


class TestTools:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_every_cluster_takes_it(self, file: Path, whole: list[dict[str, Any]], version: str) -> None:
        told = said(tool("manifests", "kubernetes-validate"), "--strict", "-k", version, file).splitlines()
        passed = [line for line in told if " passed for resource " in line and line.endswith(f"version {version}")]
        assert len(passed) == len([each for each in whole if each["kind"] not in OPERATORS])

    @pytest.mark.parametrize("wrong", ["replicas: three", "replica: 1"])
    def test_a_mistake_would_be_seen(self, file: Path, wrong: str, tmp_path: Path) -> None:
        broken = tmp_path / "broken.yaml"
        broken.write_text(file.read_text().replace("replicas: 1", wrong))
        with pytest.raises(AssertionError, match="deployment"):
            said(tool("manifests", "kubernetes-validate"), "--strict", "-k", VERSIONS[-1], broken)


@pytest.mark.system
def test_all_keep_the_rules_and_every_exception_has_its_reason(tmp_path: Path) -> None:
    for overlay in OVERLAYS:
        (tmp_path / f"{overlay}.yaml").write_text(kustomize(switched_on(overlay, tmp_path / overlay)))
    files = [word for path in tmp_path.glob("*.yaml") for word in ("-f", path)]
    words = ("--framework", "kubernetes", "--compact", "--quiet", "--skip-download")
    told = said(tool("checkov", "checkov"), *files, *words)
    assert "Failed checks: 0" in told
    reasons = re.findall(r"checkov\.io/skip\d+: (\w+)=(.+)", (FOLDER / "base/deployment.yaml").read_text())
    assert all(len(reason) > 30 for _, reason in reasons)
    assert f"Skipped checks: {len(reasons) * len(OVERLAYS)}" in told


class TestTogether:
    def test_without_the_operator_nothing_of_it_is_there(self, plain: list[dict[str, Any]]) -> None:
        assert {each["kind"] for each in plain} & OPERATORS == set()

    def test_with_it_there_are_a_monitor_the_alerts_and_the_dashboards(self, whole: list[dict[str, Any]]) -> None:
        assert {each["kind"] for each in whole} > OPERATORS
        boards = [each for each in whole if each["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
        assert len(boards) == len([*(ROOT / "deploy/grafana").glob("*.json")])

    def test_all_is_in_one_namespace(self, whole: list[dict[str, Any]]) -> None:
        homes = {each["metadata"].get("namespace") for each in whole if each["kind"] != "Namespace"}
        assert homes == {"shopperd"}

    def test_whatever_selects_selects_the_pod(self, whole: list[dict[str, Any]]) -> None:
        labels = one(whole, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
        selectors = [
            one(whole, "Service")["spec"]["selector"],
            one(whole, "Deployment")["spec"]["selector"]["matchLabels"],
            one(whole, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            *(each["spec"]["podSelector"]["matchLabels"] for each in whole if each["kind"] == "NetworkPolicy"),
        ]
        assert all(selector and selector.items() <= labels for selector in selectors)

    def test_the_monitor_finds_the_service_and_names_the_job_as_the_rules_do(self, whole: list[dict[str, Any]]) -> None:
        monitor, service = one(whole, "ServiceMonitor")["spec"], one(whole, "Service")
        labels = service["metadata"]["labels"]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        assert {each["port"] for each in monitor["endpoints"]} <= {each["name"] for each in service["spec"]["ports"]}
        assert labels[monitor["jobLabel"]] == "shopperd"

    def test_the_image_is_this_version(self, plain: list[dict[str, Any]]) -> None:
        (container,) = pod(plain)["containers"]
        assert container["image"].endswith(f"/shopperd:{shopperd.__version__}")


class TestDaemon:
    def test_one_replica_that_ends_before_its_successor_begins(self, plain: list[dict[str, Any]]) -> None:
        spec = one(plain, "Deployment")["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})

    def test_a_stop_has_the_time_that_a_drain_takes(self, plain: list[dict[str, Any]]) -> None:
        assert pod(plain)["terminationGracePeriodSeconds"] > Settings().drain_seconds + CLOSE_SECONDS

    def test_probes_ask_what_they_are_for_and_wait_for_the_answer(self, plain: list[dict[str, Any]]) -> None:
        (container,) = pod(plain)["containers"]
        asked = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
        assert asked == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
        assert container["readinessProbe"]["timeoutSeconds"] > STORE_SECONDS_MAX >= CONNECT_SECONDS
        startup = container["startupProbe"]
        assert startup["failureThreshold"] * startup["periodSeconds"] >= 300

    def test_secrets_are_files_and_no_token_of_the_cluster_is_there(self, plain: list[dict[str, Any]]) -> None:
        (container,) = pod(plain)["containers"]
        assert [each for each in container["env"] if "valueFrom" in each] == []
        assert "envFrom" not in container
        assert pod(plain)["automountServiceAccountToken"] is False
        assert one(plain, "ServiceAccount")["automountServiceAccountToken"] is False
        assert [each for each in plain if each["kind"] == "Secret"] == [], "they are not in a repository"

    def test_its_configuration_is_accepted_and_destroys_nothing(
        self, plain: list[dict[str, Any]], tmp_path: Path, overlay: str
    ) -> None:
        (text,) = [each["data"]["config.toml"] for each in plain if each["kind"] == "ConfigMap"]
        config = tmp_path / "config.toml"
        config.write_text(text)
        keys = {*re.findall(r"--from-literal=([\w-]+)=", README)} | ({"postgres"} if overlay == "postgres" else set())
        credentials = tmp_path / "credentials"
        credentials.mkdir()
        for key in keys:
            (credentials / key).write_text("a-secret\n")
        settings = load(config, {"CREDENTIALS_DIRECTORY": str(credentials)})
        assert settings.orphans.mode == "report"
        assert (settings.store.url or "sqlite").startswith(overlay)


class TestReadme:
    def test_it_is_five_commands_from_nothing_to_running(self) -> None:
        assert len(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[0].splitlines()) == 5

    def test_every_path_in_it_exists(self) -> None:
        for path in re.findall(r"deploy/k8s/[\w/]+", README):
            assert (ROOT / path).exists(), path
        for path in re.findall(r"`(overlays/\w+)`", README):
            assert (FOLDER / path).exists(), path

"""The image: small, no rights, nothing in it that built it; and the Deployment runs it, under podman."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import shopperd
from shopperd.simulator import SimulatorServer
from tests.daemon.house import simulated, until
from tests.deploy.image import CONTAINERFILE, NAME, Images, built, need
from tests.deploy.test_kubernetes import FOLDER, kustomize, one, pod
from tests.deploy.tools import ROOT, documents, said, tool

BUILD_SECONDS = 600
"""Where something hangs. It takes a minute where nothing else runs."""
KEY = "a-canary-that-no-log-may-show"
OWN_BYTES_MAX = 100_000_000
WHOLE_BYTES_MAX = 150_000_000


class TestContainerfile:
    def test_hadolint_has_nothing_to_say(self) -> None:
        assert said(tool("manifests", "hadolint"), CONTAINERFILE) == ""

    @pytest.mark.system
    def test_checkov_has_nothing_to_say(self, tmp_path: Path) -> None:
        shutil.copy(CONTAINERFILE, tmp_path / "Dockerfile")  # it goes by the name
        words = ("--framework", "dockerfile", "--compact", "--quiet", "--skip-download")
        told = said(tool("checkov", "checkov"), "-f", tmp_path / "Dockerfile", *words)
        assert "Failed checks: 0" in told
        assert f"Skipped checks: {CONTAINERFILE.read_text().count('checkov:skip=')}" in told

    def test_it_is_this_version(self) -> None:
        assert f"ARG VERSION={shopperd.__version__}\n" in CONTAINERFILE.read_text()
        assert set(re.findall(r"localhost/shopperd:([\d.]+)", CONTAINERFILE.read_text())) == {shopperd.__version__}

    def test_no_test_and_no_environment_is_sent_to_the_builder(self) -> None:
        first, *rest = [
            line for line in (ROOT / ".containerignore").read_text().splitlines() if not line.startswith("#")
        ]
        assert first == "*"
        wanted = {line.removeprefix("!") for line in rest if line.startswith("!")}
        copied = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE.read_text(), re.MULTILINE)
        paths = [path for line in copied for path in line.split()]
        assert all(any(path == each or path.startswith(f"{each}/") for each in wanted) for path in paths)
        assert all(any(path == each or path.startswith(f"{each}/") for path in paths) for each in wanted)


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    # A short path of its own: podman bears 50 characters.
    folder = Path(tempfile.mkdtemp(prefix="img"))
    try:
        yield built(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.system
@pytest.mark.timeout(BUILD_SECONDS)
class TestImage:
    def test_it_runs_as_nobody_in_particular_and_says_what_it_is(self, images: Images) -> None:
        config = images.described()["Docker"]["config"]
        assert config["User"] == "10001:10001"
        assert config["Labels"]["org.opencontainers.image.version"] == shopperd.__version__
        assert config["Entrypoint"] == ["/opt/shopperd/bin/shopperd"]
        assert config["Healthcheck"]["Test"][0] == "CMD", "no shell is needed"
        assert config["StopSignal"] == "SIGTERM"

    def test_nothing_that_built_it_is_in_it(self, images: Images) -> None:
        with images.files() as files:
            programs = {
                path.name
                for folder in ("bin", "usr/bin", "usr/local/bin", "opt/shopperd/bin")
                for path in (files / folder).glob("*")
            }
            assert {"shopperd", "python"} <= programs
            assert not {"sh", "bash", "gcc", "cc", "make", "pip", "pip3", "dpkg", "perl"} & programs
            assert not (files / "build").exists()
            assert not [*(files / "opt/shopperd").rglob("tests/daemon")]
            state = (files / "var/lib/shopperd").stat()
            assert (state.st_uid, state.st_mode & 0o777) == (10001, 0o700)
            others = [path for path in files.rglob("*") if path.lstat().st_uid and path.name != "shopperd"]
            assert others == [], "what it runs is not its own to change"

    def test_it_is_small(self, images: Images) -> None:
        with images.files() as files:
            own = sum(path.lstat().st_size for path in (files / "opt/shopperd").rglob("*") if path.is_file())
        assert own < OWN_BYTES_MAX
        listed = json.loads(images.buildah("images", "--json", NAME))
        size, unit = listed[0]["size"].split()
        assert unit == "MB"
        assert float(size) * 1e6 < WHOLE_BYTES_MAX


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def playable(simulator: SimulatorServer, port: int) -> str:
    """The overlay's own Deployment and what it needs, with as little changed as podman and this machine ask for."""
    found = documents(kustomize(FOLDER / "overlays/sqlite"))
    spec = pod(found)
    spec["hostNetwork"] = True  # there is no network for pods here; then podman wants no ports
    (container,) = spec["containers"]
    del container["ports"]
    for probe in ("startup", "liveness", "readiness"):
        del container[f"{probe}Probe"]  # podman would ask with a curl inside of the image; the test asks instead
    container["env"] += [
        {"name": "SHOPPERD_WEB__LISTEN", "value": f"127.0.0.1:{port}"},
        {"name": "SHOPPERD_ACCOUNTS__VASTAI__BASE_URL", "value": simulator.vastai_url},
    ]
    secret = next(volume["secret"] for volume in spec["volumes"] if "secret" in volume)
    secret["optional"] = False  # podman 4.3 falls over its absence
    keys = {"vastai": KEY, "web-token": "a-token-for-changes"}
    data = {name: base64.b64encode(value.encode()).decode() for name, value in keys.items()}
    wanted: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret["secretName"]}, "data": data},
        *(each for each in found if each["kind"] in ("ConfigMap", "PersistentVolumeClaim")),
        one(found, "Deployment"),
    ]
    return "\n---\n".join(map(json.dumps, wanted))


class Played:
    """The manifest, played by podman."""

    def __init__(self, images: Images, folder: Path, manifest: str) -> None:
        self._place = images.place
        self._file = folder / "play.yaml"
        self._file.write_text(manifest)
        self._config = folder / "containers.conf"
        self._config.write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )

    def podman(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """In a mount namespace of its own, as podman cannot bear control groups of both versions at once."""
        command = shlex.join(["podman", *self._place, *map(str, words)])
        script = f"umount /sys/fs/cgroup/unified 2>/dev/null; CONTAINERS_CONF={self._config} {command}"
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script], capture_output=True, text=True
        )

    def up(self) -> None:
        done = self.podman("kube", "play", self._file)
        if done.returncode and "shopperd" not in done.stdout:
            self.down()
            pytest.skip(f"podman cannot play manifests here: {done.stderr.strip().splitlines()[-1:]}")

    def down(self) -> None:
        self.podman("kube", "down", self._file)
        self.podman("volume", "rm", "--all", "--force")
        self.podman("rmi", "--all", "--force")

    def inside(self, code: str) -> subprocess.CompletedProcess[str]:
        return self.podman("exec", "shopperd-pod-0-shopperd", "/opt/shopperd/bin/python", "-c", code)


@pytest.fixture
async def simulator() -> AsyncIterator[SimulatorServer]:
    async with simulated() as server:
        yield server


@pytest.mark.system
@pytest.mark.timeout(BUILD_SECONDS)
async def test_the_deployment_runs_the_image(images: Images, simulator: SimulatorServer, tmp_path: Path) -> None:
    need("podman", "unshare")
    port = free_port()
    played = Played(images, tmp_path, playable(simulator, port))
    played.up()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def ready() -> bool:
                try:
                    async with session.get("/readyz") as reply:
                        return reply.status == 200
                except aiohttp.ClientError:
                    return False

            await until(ready, "the account is seen whole, which takes the key", seconds=60)
        told = played.inside("import os; print(os.getuid(), os.listdir('/var/lib/shopperd'))")
        assert told.stdout.startswith("10001 ")
        assert "shopperd.db" in told.stdout
        for path in ("/opt/shopperd/x", "/etc/shopperd/x", "/run/credentials/shopperd/x"):
            assert "Error" in played.inside(f"open('{path}', 'w')").stderr, f"{path} can be written"
        health = re.findall(r'CMD (\["/opt.*\])', CONTAINERFILE.read_text())[0]
        assert played.inside(json.loads(health)[2].replace("9877", str(port))).returncode == 0
        logs = played.podman("logs", "shopperd-pod-0-shopperd").stdout
        assert '"ready"' in logs
        assert KEY not in logs
    finally:
        played.down()

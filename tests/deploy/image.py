"""The image, built by buildah on a Debian that mmdebstrap made, as no registry of images is reached from here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import shopperd
from tests.deploy.tools import ROOT, said

KEPT = ROOT / "build/deploy"
"""What is the same the next time: the base and the wheels."""

SUITE, PYTHON = "bookworm", "3.11"
"""The Debian that the base is, and the Python that it has."""

CONTAINERFILE = ROOT / "deploy/container/Containerfile"
NAME = f"localhost/shopperd:{shopperd.__version__}"
_BASE = "localhost/shopperd-base"


def need(*programs: str) -> None:
    """Skip where something is missing, and name it."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if os.geteuid():
        pytest.skip(f"{programs[0]} needs root here")


@frozen
class Images:
    """A store of images of its own, of which nothing is left at the end."""

    folder: Path

    @property
    def place(self) -> tuple[str, ...]:
        """How buildah and podman are told of it; both must hear the same."""
        return ("--root", f"{self.folder}/store", "--runroot", f"{self.folder}/run", "--storage-driver", "overlay")

    def buildah(self, *words: str | Path) -> str:
        return said("buildah", *self.place, *words)

    def described(self) -> Any:
        """What the built image says of itself."""
        return json.loads(self.buildah("inspect", "--type", "image", NAME))

    @contextmanager
    def files(self) -> Iterator[Path]:
        """The files of the built image."""
        container = self.buildah("from", NAME).strip()
        try:
            yield Path(self.buildah("mount", container).strip())
        finally:
            self.buildah("umount", container)
            self.buildah("rm", container)


def built(folder: Path) -> Images:
    """Build it; skip where that cannot be."""
    need("buildah", "mmdebstrap")
    images = Images(folder)
    base, wheels = _parts()
    context = folder / "context"
    context.mkdir()
    (context / "Containerfile").write_text("FROM scratch\nADD base.tar /\n")
    os.link(base, context / "base.tar")
    chroot = ("bud", "--isolation", "chroot", "--quiet")
    images.buildah(*chroot, "-t", _BASE, context)
    (folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    images.buildah(
        *(*chroot, "--format", "docker", "--build-arg", f"BASE={_BASE}", "-t", NAME, "-f", CONTAINERFILE),
        *("--volume", f"{wheels}:/wheels:ro", "--volume", f"{folder}/pip.conf:/etc/pip.conf:ro", ROOT),
    )
    return images


def _parts() -> tuple[Path, Path]:
    """A minimal Debian with Python as an archive, and the locked packages for it. They take most of a minute, and are kept."""
    base, draft = KEPT / "base.tar", KEPT / "draft.tar"
    KEPT.mkdir(parents=True, exist_ok=True)
    words = ["--variant=minbase", "--quiet", "--include=ca-certificates,python3,python3-venv"]
    words += [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "man", "locale")]
    with subprocess.Popen(
        ["true"] if base.exists() else ["mmdebstrap", *words, SUITE, str(draft)], stderr=subprocess.PIPE, text=True
    ) as making:
        wheels = _wheels()  # the one waits for the network, the other for the processor
        _, complaint = making.communicate()
    if making.returncode:
        draft.unlink(missing_ok=True)
        pytest.skip(f"mmdebstrap cannot make a base here: {complaint.strip().splitlines()[-1:]}")
    return (base if base.exists() else draft.rename(base)), wheels


def _wheels() -> Path:
    """Fetched as pip is told to on this machine."""
    wheels = KEPT / "wheels"
    for lock in ("image", "build"):
        words = ("download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:")
        requirements = ("--python-version", PYTHON, "--dest", wheels, "-r", ROOT / f"requirements/{lock}.txt")
        said(sys.executable, "-m", "pip", "--disable-pip-version-check", *words, *requirements)
    return wheels

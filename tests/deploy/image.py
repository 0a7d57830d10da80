"""The image, built by buildah on a Debian that mmdebstrap made, as no registry of images is reached from here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
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
    base = _base()
    wheels = _wheels(base)
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


def _base() -> Path:
    """A minimal Debian with Python, as an archive. It takes most of a minute, and so is kept."""
    base = KEPT / "base.tar"
    if base.exists():
        return base
    KEPT.mkdir(parents=True, exist_ok=True)
    draft = base.with_name("draft.tar")
    words = ["--variant=minbase", "--quiet", "--include=ca-certificates,python3,python3-venv"]
    words += [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "man", "locale")]
    done = subprocess.run(["mmdebstrap", *words, "bookworm", str(draft)], capture_output=True, text=True)
    if done.returncode:
        draft.unlink(missing_ok=True)
        pytest.skip(f"mmdebstrap cannot make a base here: {done.stderr.strip().splitlines()[-1:]}")
    return draft.rename(base)


def _wheels(base: Path) -> Path:
    """The locked packages for the base's Python, fetched as pip is told to on this machine."""
    with tarfile.open(base) as archive:
        found = (re.fullmatch(r"\./usr/bin/python(3\.\d+)", name) for name in archive.getnames())
        (version,) = {match[1] for match in found if match}
    wheels = KEPT / "wheels"
    for lock in ("image", "build"):
        words = ("download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:")
        requirements = ("--python-version", version, "--dest", wheels, "-r", ROOT / f"requirements/{lock}.txt")
        said(sys.executable, "-m", "pip", "--disable-pip-version-check", *words, *requirements)
    return wheels

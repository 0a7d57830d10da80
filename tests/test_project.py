"""The project's own files: they agree with each other, and they keep what they promise a newcomer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import entry_points, version
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import shopperd
from shopperd.settings_file import load

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCES = sorted(ROOT.glob("tests/*/requirements/*.in"))
LOCKS = sorted([*ROOT.glob("requirements/*.txt"), *ROOT.glob("tests/*/requirements/*.txt")])

# Written so that the patterns do not find themselves.
REGISTRY = re.compile(r"(?:pypi|pythonhosted|npmjs|debian)\.(?:org|com|net)\b", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work/(?:main|shared)|root/\.)")
LOCKED = re.compile(r"^([a-z0-9-]+)==([^ ;]+)(?: ;[^\\]*)? \\$", re.MULTILINE)


def tracked() -> list[Path]:
    """The files that are in the repository, or would be after the next commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def locked(path: Path) -> dict[str, Version]:
    return {name: Version(number) for name, number in LOCKED.findall(path.read_text(encoding="utf-8"))}


def group(name: str) -> list[Requirement]:
    """The requirements of a dependency group, with those of the groups that it includes."""
    found: list[Requirement] = []
    for entry in PYPROJECT["dependency-groups"][name]:
        found += [Requirement(entry)] if isinstance(entry, str) else group(entry["include-group"])
    return found


def assert_satisfied(requirements: list[Requirement], lock: dict[str, Version]) -> None:
    for requirement in requirements:
        name = requirement.name.lower()
        assert name in lock, f"{requirement} is not locked; run `make lock`"
        assert requirement.specifier.contains(lock[name]), f"{name} is locked at {lock[name]}, not {requirement}"


class TestVersion:
    def test_the_package_its_metadata_and_the_project_file_tell_the_same_version(self) -> None:
        assert shopperd.__version__ == PYPROJECT["project"]["version"] == version("shopperd")

    def test_the_changelog_has_an_entry_for_it(self) -> None:
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        assert re.search(rf"^## \[{re.escape(shopperd.__version__)}\]", changelog, re.MULTILINE)


class TestLicence:
    def test_the_licence_is_the_one_that_the_project_names(self) -> None:
        text = (ROOT / "LICENSE").read_text(encoding="utf-8")
        assert PYPROJECT["project"]["license"] == "Apache-2.0"
        assert "Apache License" in text
        assert "END OF TERMS AND CONDITIONS" in text
        assert "Copyright 2026 The shopperd developers" in text


class TestLocks:
    @pytest.mark.parametrize("path", LOCKS, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
    def test_every_locked_package_has_its_hashes_and_nothing_is_unlocked(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        blocks = re.split(r"\n(?=\S)", text.strip())
        assert len(blocks) == len(LOCKED.findall(text)) > 0
        assert all("--hash=sha256:" in block for block in blocks)

    def test_what_runs_is_locked_as_the_project_asks(self) -> None:
        wanted = [Requirement(line) for line in PYPROJECT["project"]["dependencies"]]
        assert_satisfied(wanted, locked(ROOT / "requirements/run.txt"))

    def test_what_tests_and_checks_is_locked_as_the_project_asks(self) -> None:
        extras = PYPROJECT["project"]["optional-dependencies"].values()
        wanted = [Requirement(line) for extra in extras for line in extra] + group("dev")
        assert_satisfied(wanted, locked(ROOT / "requirements/dev.txt"))

    def test_what_builds_is_locked_as_the_project_asks(self) -> None:
        wanted = [Requirement(line) for line in PYPROJECT["build-system"]["requires"]] + group("build")
        assert_satisfied(wanted, locked(ROOT / "requirements/build.txt"))

    @pytest.mark.parametrize("part", ["run", "build", "image"])
    def test_the_tests_use_the_same_versions(self, part: str) -> None:
        everything = locked(ROOT / "requirements/dev.txt")
        chosen = locked(ROOT / f"requirements/{part}.txt")
        assert {name: everything.get(name) for name in chosen} == chosen

    def test_every_client_and_tool_is_locked_at_the_version_that_is_asked_for(self) -> None:
        locks = sorted(ROOT.glob("tests/*/requirements/*.txt"))
        assert [source.with_suffix(".txt") for source in SOURCES] == locks
        for source in SOURCES:
            lines = [line for line in source.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
            assert_satisfied([Requirement(line) for line in lines], locked(source.with_suffix(".txt")))


class TestReadme:
    def test_every_make_target_that_it_names_exists(self) -> None:
        named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", README, re.MULTILINE))
        targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
        assert {"demo", "test"} <= named <= targets

    def test_its_settings_are_accepted(self, tmp_path: Path) -> None:
        blocks = re.findall(r"^ *```toml\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)
        blocks = [block for block in blocks if "[accounts." in block]
        assert blocks
        for block in blocks:
            path = tmp_path / "config.toml"
            path.write_text(block, encoding="utf-8")
            load(path, {"VASTAI_API_KEY": "a-key", "TENSORDOCK_API_TOKEN": "a-token"})

    def test_every_command_that_it_names_exists(self) -> None:
        [script] = entry_points(group="console_scripts", name="shopperd")
        command = script.load()
        for words in re.findall(r"shopperd ((?:[a-z]+ ?)+)", "\n".join(re.findall(r"`(shopperd [^`]*)`", README))):
            known: click.Command = command
            for word in words.split():
                if not isinstance(known, click.Group):
                    break
                assert word in known.commands, f"shopperd {words}"
                known = known.commands[word]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a link can lead to inside of a page, as it is shown on the web: of two headings that are alike, the second has a number."""
    found: Counter[str] = Counter()
    made = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        made.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return made


class TestPages:
    def test_every_link_leads_to_a_file_and_a_heading_that_exist(self) -> None:
        pages = [path for path in tracked() if path.suffix == ".md"]
        links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)\s]+)\)", prose(page))]
        links = [(page, link) for page, link in links if "://" not in link]
        assert len(links) > 50
        broken = []
        for page, link in links:
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
        assert broken == []

    def test_every_picture_is_shown_and_small(self) -> None:
        pictures = set((ROOT / "docs/pictures").iterdir())
        pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        shown = {
            (page.parent / link).resolve()
            for page in pages
            for link in re.findall(r"\]\(([^)\s]+\.png)\)", prose(page))
        }
        assert pictures == shown
        assert [path.name for path in pictures if path.stat().st_size > 300_000] == []

    def test_a_heading_s_anchor_is_what_the_web_makes_of_it(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("# A `b_c`, d!\n```\n# no heading\n```\n## Twice\n## Twice\n")
        assert anchors(page) == {"a-b_c-d", "twice", "twice-1"}


class TestMakefile:
    def test_help_is_the_default_and_tells_every_target(self) -> None:
        asked = subprocess.run(("make", "--no-print-directory"), cwd=ROOT, capture_output=True, check=True, text=True)
        told = re.findall(r"^  make ([a-z-]+) ", asked.stdout, re.MULTILINE)
        phony = re.findall(r"^\.PHONY: ([a-z-]+)$", MAKEFILE, re.MULTILINE)
        assert told == phony
        assert {"demo", "test", "lint"} <= {*told}

    @pytest.mark.parametrize("name", [".ci/run", "scripts/environment", "scripts/lock"])
    def test_its_scripts_can_be_run(self, name: str) -> None:
        assert os.access(ROOT / name, os.X_OK)
        subprocess.run(("bash", "-n", name), cwd=ROOT, check=True)


class TestEveryFile:
    def test_none_names_a_package_registry_or_a_path_of_one_machine(self) -> None:
        found = []
        for path in tracked():
            text = path.read_bytes().decode("utf-8", errors="replace")
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in REGISTRY.finditer(text)]
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
        assert found == []

    def test_none_is_larger_than_a_reader_expects(self) -> None:
        large = [path.relative_to(ROOT) for path in tracked() if path.stat().st_size > 1_000_000]
        assert large == []


class TestPackage:
    def test_it_says_that_it_is_typed(self) -> None:
        assert Path(shopperd.__file__).with_name("py.typed").is_file()

    def test_it_runs_as_a_module_and_tells_its_version(self) -> None:
        asked = (sys.executable, "-m", "shopperd", "--version")
        said = subprocess.run(asked, capture_output=True, check=True, text=True).stdout
        assert shopperd.__version__ in said


def test_one_function_alone_may_ask_for_a_destroy() -> None:
    calls = re.compile(r"\.destroy_instance\(")
    found = [path for path in sorted((ROOT / "shopperd").rglob("*.py")) if calls.search(path.read_text("utf-8"))]
    assert found == [ROOT / "shopperd/jobs/destroys.py"]

# SPDX-License-Identifier: Apache-2.0
"""The collection as others get it: built from a clean copy, installed into an empty path, used from there."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from sanity import copy_tree

from .lab import ROOT

BIN = Path(sys.executable).parent
MAX_BYTES = 3_000_000
NEEDED = (
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "docs/architecture.md",
    "docs/latency.md",
    "inventory/lab/hosts.yml",
    "lab/data/real_trades.csv",
    "lab/k2lab/__init__.py",
    "lab/kafka/pom.xml",
    "meta/runtime.yml",
    "playbooks/audit.yml",
    "playbooks/step1_latency.yml",
    "plugins/callback/k2_progress.py",
    "plugins/module_utils/catalogue/alerts.yml",
    "plugins/module_utils/catalogue/dashboards/k2-overview.yml",
    "plugins/modules/k2_stack_info.py",
    "requirements/run.txt",
    "roles/lab/meta/argument_specs.yml",
    "roles/latency_benchmark/meta/argument_specs.yml",
    "roles/preflight/meta/argument_specs.yml",
    "roles/runbooks/templates/runbook.md.j2",
    "roles/tier_audit/meta/argument_specs.yml",
)
FOREIGN = (
    ".lab",
    ".venv",
    ".cache",
    ".git/",
    "artifacts",
    "build/",
    "collections/",
    "tests/output",
    ".ansible/",
    "__pycache__",
)
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))


def run(*command: str, cwd: Path, collections: Path | None = None) -> str:
    """Run a program of the project's environment and return what it said; asserts that it ended well."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"LC_ALL": "C.UTF-8", "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(cwd)}
    if collections is not None:
        environment["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("build")
    source = scratch / "source"
    source.mkdir()
    copy_tree(source, leave_out=("collections/",))
    # What a used checkout holds must not get in, even where git does not say so to ansible-galaxy.
    for name in (".lab/run/secret", ".venv/bin/python", "artifacts/latest/results.json", ".cache/x", "build/x"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("not for others")
    (source / "collections" / "ansible_collections" / "k2").mkdir(parents=True)
    (source / "collections" / "ansible_collections" / "k2" / "hardening").symlink_to("../../..")
    run("ansible-galaxy", "collection", "build", "--output-path", str(scratch), cwd=source)
    (built,) = scratch.glob("k2-hardening-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("installed")
    run("ansible-galaxy", "collection", "install", str(tarball), "-p", str(path), "--offline", cwd=path)
    return path


def test_the_tarball_holds_what_is_needed_and_nothing_else(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
    assert not [name for name in NEEDED if name not in names]
    assert not [name for name in names if name.startswith(FOREIGN) or "/__pycache__" in name]
    assert tarball.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_each_playbook_is_found_by_its_full_name(installed: Path, playbook: str) -> None:
    inventory = installed / "ansible_collections" / "k2" / "hardening" / "inventory" / "lab"
    said = run(
        "ansible-playbook",
        f"k2.hardening.{playbook}",
        "--syntax-check",
        "-i",
        str(inventory),
        cwd=installed,
        collections=installed,
    )
    assert f"playbook: k2.hardening.{playbook}" in said or str(installed) in said


def test_modules_are_documented_where_they_are_installed(installed: Path) -> None:
    said = run("ansible-doc", "-t", "module", "k2.hardening.k2_stack_info", cwd=installed, collections=installed)
    assert "k2_stack_info" in said


def test_a_module_brings_its_engine_along(installed: Path) -> None:
    """A module that runs has found everything it imports; an empty profile is refused by name."""
    command = [
        str(BIN / "ansible"),
        "localhost",
        "-c",
        "local",
        "-i",
        "localhost,",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        "-m",
        "k2.hardening.k2_stack_info",
        "-a",
        '{"profile": {}}',
    ]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(installed),
        "LC_ALL": "C.UTF-8",
        "HOME": str(installed),
    }
    environment.pop("ANSIBLE_CONFIG", None)
    done = subprocess.run(
        command, cwd=installed, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "k2_platform" in done.stdout + done.stderr, done.stdout + done.stderr

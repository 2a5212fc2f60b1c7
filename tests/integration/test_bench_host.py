# SPDX-License-Identifier: Apache-2.0
"""Role bench_host where something is in its way: it says what it expected, saw and wants, and leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .lab import ROOT

LIKE_PYTHON = """#!/bin/sh
case "$2" in
{cases}
esac
exec {python} "$@"
"""


def prepare(venv: Path, *arguments: str, code: int = 2, **variables: object) -> str:
    """Run the playbook on this machine, without SSH; returns what was printed, on one line."""
    inventory = venv.parent / "hosts.yml"
    inventory.write_text("platform: {hosts: {bench: {ansible_connection: local}}}\n", encoding="utf-8")
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory)]
    wanted = {"k2_bench_host_venv": str(venv)} | variables
    command += [str(ROOT / "playbooks" / "bench_host.yml"), "-e", json.dumps(wanted), *arguments]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    return " ".join(said.split())


def like_python(path: Path, *cases: str) -> Path:
    """A Python that answers some questions otherwise; a case is a pattern of what it is asked, and an answer."""
    path.write_text(LIKE_PYTHON.format(cases="\n".join(cases), python=sys.executable), encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "theirs").touch()
    for state in ("present", "absent"):
        said = prepare(tmp_path / "venv", k2_bench_host_state=state)
        assert f"expected no {tmp_path / 'venv'}, an empty one, or one that this role has made" in said
        assert "What to do: set k2_bench_host_venv" in said
    assert (tmp_path / "venv" / "theirs").exists()


@pytest.mark.parametrize(
    ("cases", "seen", "remedy"),
    [
        ((), "seen none on PATH", "install one, or set k2_bench_host_python"),
        (('*"[:3]"*) echo 3.7.2; exit 0 ;;', "*sys.exit*) exit 1 ;;"), "is 3.7.2", "install one, or set"),
        (("*ensurepip*) exit 1 ;;",), "has no module venv or ensurepip", "apt install python3."),
    ],
    ids=["none", "too old", "no venv"],
)
def test_a_python_that_does_not_do_is_told_apart(
    tmp_path: Path, cases: tuple[str, ...], seen: str, remedy: str
) -> None:
    python = tmp_path / "python-there"
    if cases:
        like_python(python, *cases)
    said = prepare(tmp_path / "venv", k2_bench_host_python=str(python))
    assert "3.9 or later, with the modules venv and ensurepip" in said
    assert seen in said
    assert remedy in said
    assert not (tmp_path / "venv").exists()


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    said = prepare(tmp_path / "venv", __bench_host_needs_mb=10**9)
    assert "expected 1000000000 MB of free disk; seen" in said
    assert not (tmp_path / "venv").exists()


def test_no_package_index_leaves_nothing(tmp_path: Path) -> None:
    said = prepare(tmp_path / "venv", k2_bench_host_pip_arguments=["--no-index", "--find-links", str(tmp_path)])
    assert 'could not be prepared, at "Install it"' in said
    assert "No matching distribution found for confluent-kafka" in said
    assert "see that a Python package index is within reach of that host" in said
    assert not (tmp_path / "venv").exists()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("su") is None, reason="becoming somebody else takes root and su")
def test_a_user_who_may_not_write_there_is_told_to_become_root(tmp_path: Path) -> None:
    somebody = {"ansible_become": True, "ansible_become_user": "nobody", "ansible_become_method": "su"}
    said = prepare(tmp_path / "venv", **somebody, ansible_become_flags="-s /bin/sh")
    assert "expected a place where user nobody may create" in said
    assert "run with --become" in said


def test_a_user_without_sudo_is_told_what_to_try(tmp_path: Path) -> None:
    nobody = {"ansible_become_user": "nobody", "ansible_become_exe": str(tmp_path / "no-sudo")}
    said = prepare(tmp_path / "venv", "--become", **nobody)
    assert "where become is set (--become), sudo for that user; seen" in said
    assert "no-sudo: not found" in said
    assert "leave out --become and set k2_bench_host_venv" in said
    assert not (tmp_path / "venv").exists()


def test_a_check_of_a_host_without_one_changes_nothing(tmp_path: Path) -> None:
    said = prepare(tmp_path / "venv", "--check", code=0)
    assert "there is none, so it would be made with" in said
    assert "changed=1" in said
    assert not (tmp_path / "venv").exists()
    assert "changed=0" in prepare(tmp_path / "venv", code=0, k2_bench_host_state="absent")

# SPDX-License-Identifier: Apache-2.0
"""Both versions of cgroup files, laid out as kernels do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import UnsupportedOperation
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime import cgroup
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import NotRunning

# The folder of a container as a kernel of the 6 series keeps it under version 2, with systemd as cgroup driver.
RECORDED = Path(__file__).parent / "cgroup2"


def test_version_2(tmp_path: Path) -> None:
    group = tmp_path / "system.slice" / "docker-abc.scope"
    group.mkdir(parents=True)
    (group / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (group / "memory.current").write_text("5000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 1200\n")
    (group / "memory.events").write_text("low 0\noom_kill 2\n")
    reading = cgroup.read(cgroup.locate("0::/system.slice/docker-abc.scope\n", tmp_path))
    assert (reading.cpu_seconds, reading.memory_bytes, reading.oom_kills) == (1.5, 3800, 2)


def test_a_container_of_version_2_is_read_from_all_that_its_files_hold(tmp_path: Path) -> None:
    membership = (RECORDED / "membership").read_text()
    shutil.copytree(RECORDED / "group", tmp_path / membership.strip().removeprefix("0::/"))
    reading = cgroup.read(cgroup.locate(membership, tmp_path))
    # Of the page cache only what nobody used lately is left out: what is active is part of the working set.
    assert (reading.cpu_seconds, reading.memory_bytes) == (0.140117, 301256704 - 52428800)
    assert (reading.memory_kind, reading.oom_kills) == ("working_set", 3)


def test_a_hybrid_host_is_read_by_version_1_where_the_controllers_are(tmp_path: Path) -> None:
    for controller in ("cpuacct", "memory", "unified"):
        (tmp_path / controller / "docker" / "abc").mkdir(parents=True)
    text = "5:memory:/docker/abc\n3:cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/docker/abc\n"
    assert cgroup.locate(text, tmp_path).version == 1


@pytest.mark.parametrize("mount", ["cpuacct", "cpu,cpuacct"])
def test_version_1(tmp_path: Path, mount: str) -> None:
    for controller in (mount, "memory"):
        (tmp_path / controller / "docker" / "abc").mkdir(parents=True)
    (tmp_path / mount / "docker/abc/cpuacct.usage").write_text("2500000000\n")
    memory = tmp_path / "memory/docker/abc"
    (memory / "memory.usage_in_bytes").write_text("900\n")
    (memory / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 1000\n")
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    text = "11:cpu,cpuacct:/docker/abc\n5:memory:/docker/abc\n0::/docker/abc\n"
    reading = cgroup.read(cgroup.locate(text, tmp_path))
    assert (reading.cpu_seconds, reading.memory_bytes, reading.oom_kills) == (2.5, 0, 1)


def test_group_that_is_not_visible_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperation, match="mounted"):
        cgroup.locate("0::/elsewhere\n", tmp_path)


def test_group_that_went_away(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        cgroup.read(cgroup.CgroupPaths(2, tmp_path, tmp_path))

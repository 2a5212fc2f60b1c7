# SPDX-License-Identifier: Apache-2.0
"""Plans without secrets, the files that are installed, and traffic that nobody can tell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from resource_samples import profile

from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.context import runs_of, traffic_of
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.disks import DiskWatch, directory_bytes
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.install import closure, install
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.plan import Plan, plan_of


def test_a_plan_survives_its_file() -> None:
    plan = plan_of(profile(), 60, 5)
    assert Plan.from_plain(json.loads(json.dumps(plan.to_plain()))) == plan


def test_a_plan_holds_no_secret() -> None:
    clickhouse = {"host": "h", "port": 1, "username": "u", "password": "hush", "database": "d"}
    known = profile(k2_clickhouse=clickhouse)
    assert "hush" not in json.dumps(plan_of(known, 60, 5).to_plain())


def test_what_is_not_available_is_not_looked_at() -> None:
    services = {"a": {"kind": "service"}, "b": {"kind": "service", "not_available": "no package"}}
    assert [target.service for target in plan_of(profile(k2_services=services), 60, 5).targets] == ["a"]


def test_all_that_the_sampler_imports_is_installed_and_runs_alone(tmp_path: Path) -> None:
    """Without this project on the path, and beside an installed collection of the same name."""
    main = install(tmp_path)
    assert install(tmp_path) == main
    (tmp_path / "window").mkdir()
    done = subprocess.run(
        [sys.executable, "-I", main, tmp_path / "window"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "nothing was ever started here" in done.stderr
    assert not [name for name in closure() if ".verdict" in name or ".report" in name]


def test_traffic_without_a_tier_says_why() -> None:
    found = traffic_of(profile(), 0, 10_000_000)
    assert (found.records, found.per_stretch) == (0, ())
    assert "no tier" in found.error
    assert runs_of(profile(), 0) == ((), "")


def test_hard_links_count_once_and_what_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 2**20)
    before = directory_bytes(str(tmp_path))
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert before >= 2**20
    assert directory_bytes(str(tmp_path)) == before
    (row,) = DiskWatch({"gone": str(tmp_path / "none")}).look(0, "t")
    assert row.used_bytes is None
    assert "none" in row.why
    with pytest.raises(OSError, match="none"):
        directory_bytes(str(tmp_path / "none"))


def test_a_directory_is_measured_once_a_minute_at_most(tmp_path: Path) -> None:
    watch = DiskWatch({"data": str(tmp_path)})
    assert len(watch.look(0, "t")) == 1
    assert watch.look(1, "t") == []

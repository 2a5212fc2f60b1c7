# SPDX-License-Identifier: Apache-2.0
"""The machine's own programs: taken in the right version only, never waited for long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from k2lab.provision import path_programs
from k2lab.provision.path_programs import ACCEPTED, find_on_path

Program = Callable[[str, str], Path]

SAYS = {
    "minio": "minio version RELEASE.{} (commit-id=abc)",
    "alertmanager": "alertmanager, version {} (branch: HEAD, revision: abc)",
    "amtool": "amtool, version {} (branch: HEAD, revision: abc)",
    "process-exporter": "process-exporter, version {} (branch: , revision: unknown)",
    "grafana": "grafana version {}",
    "prometheus": "prometheus, version {}+ds (branch: debian/sid, revision: {})",
    "promtool": "promtool, version {}+ds (branch: debian/sid, revision: {})",
    "postgres": "postgres (PostgreSQL) {} (Debian {}-0+deb12u1)",
    "iptables": "iptables v{} (nf_tables)",
    "dockerd": "Docker version {}+dfsg1, build 363e9a8",
    "docker-compose": "docker-compose version {}, build unknown",
    "chromium": "Chromium {} built on Debian GNU/Linux 12 (bookworm)",
}


@pytest.mark.parametrize(
    ("name", "version", "accepted"),
    [
        ("minio", "2024-01-01", True),
        ("minio", "2023-12-31", False),
        ("alertmanager", "0.28.1", True),
        ("alertmanager", "0.27.9", False),
        ("amtool", "1.0.0", False),
        ("process-exporter", "0.8.7", True),
        ("process-exporter", "0.7.10", False),
        ("prometheus", "2.42.0", True),
        ("prometheus", "2.41.9", False),
        ("promtool", "3.2.1", True),
        ("promtool", "4.0.0", False),
        ("postgres", "15.20", True),
        ("postgres", "14.19", False),
        ("iptables", "1.8.9", True),
        ("iptables", "1.4.7", False),
        ("dockerd", "20.10.24", True),
        ("dockerd", "19.3.15", False),
        ("docker-compose", "1.29.2", True),
        ("docker-compose", "1.28.6", False),
        ("chromium", "156.0", True),
        ("chromium", "111.9", False),
        ("grafana", "10.0.0", True),
        ("grafana", "9.5.2", False),
        ("grafana", "11.5.0", False),
    ],
)
def test_the_right_version_is_taken_another_is_told(
    name: str, version: str, accepted: bool, program: Program, tmp_path: Path
) -> None:
    path = program(name, f"echo '{SAYS[name].format(version, version)}'")
    for beside in ACCEPTED[name].beside:
        program(beside, "")
    for file in ACCEPTED[name].home_files:
        (tmp_path / "grafana-home" / file).parent.mkdir(parents=True)
        (tmp_path / "grafana-home" / file).touch()
    found = find_on_path(name)
    if accepted:
        assert (found.path, found.version, found.refused) == (path, version, "")
    else:
        assert found.path is None
        assert version in found.refused
        assert ACCEPTED[name].text in found.refused


def test_every_accepted_program_is_tried_here() -> None:
    assert set(SAYS) == set(ACCEPTED)


def test_a_version_on_the_error_output_counts(program: Program) -> None:
    program("prometheus", "echo 'prometheus, version 2.42.0+ds' >&2")
    assert find_on_path("prometheus").version == "2.42.0"


def test_a_program_that_hangs_is_not_waited_for(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_programs, "PROBE_TIMEOUT_S", 0.2)
    program("minio", "exec sleep 600")
    assert "does not tell its version" in find_on_path("minio").refused


@pytest.mark.parametrize("script", ["exit 1", "echo 'minio version DEVELOPMENT.GOGET'"])
def test_a_program_without_a_version_is_refused(script: str, program: Program) -> None:
    path = program("minio", script)
    assert find_on_path("minio").refused == f"{path} does not tell its version"


def test_a_server_without_its_companions_is_refused(program: Program) -> None:
    program("postgres", "echo 'postgres (PostgreSQL) 15.20'")
    program("initdb", "")
    assert "has no pg_ctl beside it" in find_on_path("postgres").refused


def test_grafana_without_its_home_is_refused(program: Program) -> None:
    program("grafana", "echo 'grafana version 10.2.3'")
    assert "has no conf/defaults.ini in" in find_on_path("grafana").refused


def test_beyond_path_the_newest_is_taken_when_that_on_path_is_too_old(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path_programs, "BEYOND_PATH", {"postgres": (f"{tmp_path}/lib/*/bin",)})
    program("postgres", "echo 'postgres (PostgreSQL) 13.1'")
    for version in ("9", "15", "16"):
        directory = tmp_path / "lib" / version / "bin"
        directory.mkdir(parents=True)
        for name in ("postgres", *ACCEPTED["postgres"].beside):
            (directory / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}.3'\n")
            (directory / name).chmod(0o755)
    assert find_on_path("postgres").path == tmp_path / "lib" / "16" / "bin" / "postgres"


def test_a_program_that_tells_nothing_of_which_it_is_is_never_taken(program: Program) -> None:
    program("kafka_exporter", "echo 'kafka_exporter, version 1.7.0'")
    assert find_on_path("kafka_exporter").path is None

# SPDX-License-Identifier: Apache-2.0
"""A cluster is there whole or not at all, and belongs to the server that is to run it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from k2lab.common.errors import LabError
from k2lab.postgres import privilege
from k2lab.postgres.cluster import Cluster

INITDB = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --pgdata ] && directory="$2"; shift; done
echo 15 > "$directory/PG_VERSION"
[ -e {root}/fail ] && { echo "no space left" >&2; exit 1; }
exit 0
"""


@pytest.fixture(autouse=True)
def ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    programs, root = tmp_path / "bin", tmp_path / "postgres"
    programs.mkdir()
    root.mkdir()
    install(programs / "postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)'\n")
    install(programs / "initdb", INITDB.replace("{root}", str(root)))
    return Cluster(programs / "postgres", root)


def install(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_it_is_made_once(cluster: Cluster, tmp_path: Path) -> None:
    assert cluster.ensure(tmp_path / "password") is True
    assert (cluster.directory / "PG_VERSION").read_text() == "15\n"
    assert cluster.directory.stat().st_mode & 0o777 == 0o700, "the server refuses a directory others may enter"
    assert cluster.ensure(tmp_path / "password") is False


def test_what_a_failed_initdb_left_is_no_cluster(cluster: Cluster, tmp_path: Path) -> None:
    (cluster.root / "fail").touch()
    with pytest.raises(LabError, match="no space left"):
        cluster.ensure(tmp_path / "password")
    assert not cluster.directory.exists()
    with pytest.raises(LabError, match="make lab-up"):
        cluster.serve_command(tmp_path / "postgresql.conf")
    (cluster.root / "fail").unlink()
    assert cluster.ensure(tmp_path / "password") is True


def test_a_cluster_of_another_version_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    cluster.ensure(tmp_path / "password")
    install(cluster.server, "#!/bin/sh\necho 'postgres (PostgreSQL) 16.1'\n")
    with pytest.raises(LabError, match="is of PostgreSQL 15"):
        cluster.ensure(tmp_path / "password")


def test_a_server_without_the_reading_role_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    install(cluster.server, "#!/bin/sh\necho 'postgres (PostgreSQL) 13.14'\n")
    with pytest.raises(LabError, match="PostgreSQL 14 or newer"):
        cluster.ensure(tmp_path / "password")


def test_root_does_not_run_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(privilege, "_server_user", lambda: None)
    monkeypatch.setattr(privilege.shutil, "which", lambda name: f"/usr/bin/{name}")
    command = privilege.as_server(["/opt/postgres", "-D", "x"])
    assert command[:3] == ["/usr/bin/setpriv", "--reuid", "postgres"]
    assert command[-4:] == ["--", "/opt/postgres", "-D", "x"]

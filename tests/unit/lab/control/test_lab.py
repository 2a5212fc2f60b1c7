# SPDX-License-Identifier: Apache-2.0
"""A lab's identity, its places, its processes and ports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from k2lab.common.errors import LabError
from k2lab.control import processes
from k2lab.control.down import purge
from k2lab.control.lab import MARKER, Lab
from k2lab.control.prepare import prepare


def test_the_id_follows_the_directory_not_its_spelling(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "lab")
    assert Lab.at(tmp_path / "link").lab_id == Lab.at(tmp_path / "x" / ".." / "lab").lab_id
    assert Lab.at(tmp_path / "lab").lab_id != Lab.at(tmp_path / "lab2").lab_id


def test_a_long_directory_gets_a_short_socket() -> None:
    short, long = Lab(Path("/srv/lab")), Lab(Path("/" + "x" * 90))
    assert short.socket == short.socket_link
    assert len(str(long.socket)) < 100 < len(str(long.socket_link))
    assert long.lab_id in str(long.socket)


def test_only_marked_processes_belong_to_a_lab(tmp_path: Path) -> None:
    lab = Lab.at(tmp_path)
    sleeping = [sys.executable, "-c", "input()"]
    with (
        subprocess.Popen(sleeping, stdin=subprocess.PIPE, env={**os.environ, MARKER: lab.lab_id}) as own,
        subprocess.Popen(sleeping, stdin=subprocess.PIPE, env={**os.environ, MARKER: "another"}) as other,
    ):
        assert [process.pid for process in processes.of_lab(lab)] == [own.pid]
        processes.end(processes.of_lab(lab), grace_s=5)
        assert processes.of_lab(lab) == []
        assert other.poll() is None
        other.terminate()


def test_a_taken_port_is_told_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert f"pid {os.getpid()} " in processes.taken_ports([port], own=set())[port]
        assert processes.taken_ports([port], own={os.getpid()}) == {}
    assert processes.taken_ports([port], own=set()) == {}


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    lab = Lab.at(tmp_path / "lab")
    first = prepare(lab, ["data/kafka"], ["clickhouse_default", "grafana_admin"])
    again = prepare(lab, ["data/kafka"], ["clickhouse_default", "grafana_admin"])
    assert (first.changed, again.changed) == (True, False)
    assert first.secrets == again.secrets
    assert first.secrets["clickhouse_default"] != first.secrets["grafana_admin"]
    assert (lab.data / "kafka").is_dir()
    assert (lab.secrets / "clickhouse_default").stat().st_mode & 0o777 == 0o600
    assert len(first.cluster_id) == 22


def test_purge_touches_labs_only(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(LabError, match="to be a lab"):
        purge(Lab.at(tmp_path))
    assert (tmp_path / "data").exists()
    lab = Lab.at(tmp_path / "lab")
    prepare(lab, ["data/kafka"], [])
    assert purge(lab) is True
    assert purge(lab) is False

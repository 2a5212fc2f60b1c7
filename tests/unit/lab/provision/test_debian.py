# SPDX-License-Identifier: Apache-2.0
"""Debian's packages: programs are taken from them, no server of theirs is left running."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from k2lab.provision import debian
from k2lab.provision.debian import (
    ensure_chromium,
    ensure_compose,
    ensure_engine,
    ensure_iptables,
    ensure_postgres,
    ensure_prometheus,
    prometheus_entry,
)
from k2lab.provision.errors import SetupError
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner
from k2lab.provision.tools import find_tool

Program = Callable[[str, str], Path]

DOWNLOAD = 'echo "$*" >>{calls}; [ "$1" = download ] && touch prometheus_2.deb'
UNPACK = (
    'mkdir -p "$3/usr/bin"; for name in prometheus promtool; do'
    ' printf "#!/bin/sh\\necho $name, version {version}+ds\\n" >"$3/usr/bin/$name"; chmod +x "$3/usr/bin/$name"; done'
)


def ignore(_: str) -> None:
    return


@pytest.fixture(autouse=True)
def _as(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "CLUSTER_SETTINGS", tmp_path / "createcluster.d")
    monkeypatch.setattr(debian, "START_POLICY", tmp_path / "policy-rc.d")


def test_prometheus_is_unpacked_not_installed(paths: Paths, runner: Runner, program: Program, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    program("apt-get", DOWNLOAD.format(calls=calls))
    program("dpkg-deb", UNPACK.format(version="2.42.0"))
    assert ensure_prometheus(paths, runner, ignore)[1] is True
    assert ensure_prometheus(paths, runner, ignore)[1] is False
    assert calls.read_text() == "download -q prometheus\n"
    assert {path.name for path in prometheus_entry(paths).iterdir()} == {"prometheus", "promtool"}
    assert find_tool(paths, "promtool").version == "2.42.0"


def test_old_package_lists_are_refreshed_once(paths: Paths, runner: Runner, program: Program, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    program(
        "apt-get",
        f'echo "$*" >>{calls}; case $1 in update) touch {tmp_path}/fresh;;'
        f" download) [ -e {tmp_path}/fresh ] || exit 100; touch prometheus_2.deb;; esac",
    )
    program("dpkg-deb", UNPACK.format(version="2.53.0"))
    ensure_prometheus(paths, runner, ignore)
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["download", "update", "download"]


def test_a_package_that_is_too_old_leaves_nothing(
    paths: Paths, runner: Runner, program: Program, tmp_path: Path
) -> None:
    program("apt-get", DOWNLOAD.format(calls=tmp_path / "calls"))
    program("dpkg-deb", UNPACK.format(version="2.15.2"))
    with pytest.raises(SetupError, match="has a prometheus that does not do") as refused:
        ensure_prometheus(paths, runner, ignore)
    assert refused.value.seen == "2.15.2"
    assert [path.suffix for path in paths.cache.iterdir()] == [".lock"]


def test_a_machine_without_apt_is_told_what_to_put_on_path(paths: Paths, runner: Runner, program: Program) -> None:
    with pytest.raises(SetupError, match="no apt-get") as refused:
        ensure_prometheus(paths, runner, ignore)
    assert "2.42.0 or later" in refused.value.line


INSTALL = """
cat {settings}/* >{seen}
for name in initdb pg_ctl pg_isready; do touch {bin}/$name; done
printf '#!/bin/sh\\necho postgres \\(PostgreSQL\\) {version}\\n' >{bin}/postgres
chmod +x {bin}/postgres
"""


@pytest.mark.parametrize("version", ["15.20", "13.4"])
def test_postgres_is_installed_without_a_cluster_of_its_own(
    version: str, runner: Runner, program: Program, tmp_path: Path
) -> None:
    script = INSTALL.format(
        settings=debian.CLUSTER_SETTINGS, seen=tmp_path / "seen", bin=tmp_path / "bin", version=version
    )
    program("apt-get", script)
    if version == "15.20":
        assert ensure_postgres(runner, ignore) == (f"15.20 in {tmp_path / 'bin'}", True)
    else:
        with pytest.raises(SetupError, match="has no server that does"):
            ensure_postgres(runner, ignore)
    assert (tmp_path / "seen").read_text() == "create_main_cluster = false\n"
    assert list(debian.CLUSTER_SETTINGS.iterdir()) == []


def test_a_failed_installation_leaves_no_setting_behind(runner: Runner, program: Program) -> None:
    program("apt-get", "exit 100")
    with pytest.raises(SetupError):
        ensure_postgres(runner, ignore)
    assert list(debian.CLUSTER_SETTINGS.iterdir()) == []


@pytest.mark.parametrize(
    ("ensure", "package"),
    [
        (ensure_postgres, "postgresql"),
        (ensure_iptables, "iptables"),
        (ensure_compose, "docker-compose"),
        (ensure_chromium, "chromium fonts-dejavu-core"),
    ],
)
def test_without_root_it_is_told_what_to_install(
    runner: Runner,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    ensure: Callable[[Runner, Callable[[str], None]], tuple[str, bool]],
    package: str,
) -> None:
    program("apt-get", "exit 0")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError) as refused:
        ensure(runner, ignore)
    assert f"apt install {package}" in refused.value.line
    assert not debian.CLUSTER_SETTINGS.exists()


def test_iptables_is_found_under_its_own_name(runner: Runner, program: Program, tmp_path: Path) -> None:
    """One program stands behind several links, and is the one whose name it was called by."""
    program("multi", "case $0 in */iptables) echo 'iptables v1.8.9 (nf_tables)';; *) exit 1;; esac")
    program("apt-get", f"cp -s {tmp_path}/bin/multi {tmp_path}/bin/iptables")
    assert ensure_iptables(runner, ignore) == (f"1.8.9 in {tmp_path / 'bin'}", True)


ENGINE = "echo Docker version 20.10.24+dfsg1, build 5d6db84"


def test_an_engine_is_installed_and_not_started_now_or_at_boot(
    runner: Runner, program: Program, tmp_path: Path
) -> None:
    calls, dockerd = tmp_path / "calls", tmp_path / "bin" / "dockerd"
    program("unshare", "exit 0")
    program("systemctl", f"echo systemctl $* >>{calls}")
    program(
        "apt-get",
        f"{tmp_path}/policy-rc.d; echo policy $? $* >>{calls};"
        f" printf '#!/bin/sh\\n{ENGINE}\\n' >{dockerd}; chmod +x {dockerd}",
    )
    assert ensure_engine(runner, ignore) == (f"20.10.24 in {tmp_path / 'bin'}", True)
    installed, disabled = calls.read_text().splitlines()
    assert installed.startswith("policy 101 install ")
    assert installed.endswith("docker.io iptables iproute2 curl")
    assert disabled == "systemctl disable docker.socket docker.service containerd.service"
    assert not (tmp_path / "policy-rc.d").exists()


def test_a_policy_of_the_machine_stands(runner: Runner, program: Program, tmp_path: Path) -> None:
    (tmp_path / "policy-rc.d").write_text("own")
    program("unshare", "exit 0")
    program("systemctl", "exit 0")
    program("apt-get", "exit 0")
    program("dockerd", ENGINE)
    assert ensure_engine(runner, ignore)[1]
    assert (tmp_path / "policy-rc.d").read_text() == "own"


def test_no_engine_is_installed_where_none_could_run(runner: Runner, program: Program, tmp_path: Path) -> None:
    program("unshare", "echo 'unshare failed: Operation not permitted' >&2; exit 1")
    program("apt-get", f"touch {tmp_path}/installed")
    with pytest.raises(SetupError) as refused:
        ensure_engine(runner, ignore)
    assert "no engine can run here" in str(refused.value)
    assert "Operation not permitted" in str(refused.value)
    assert not (tmp_path / "installed").exists()


def test_without_root_the_packages_of_an_engine_are_named(
    runner: Runner, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("apt-get", "exit 0")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError) as refused:
        ensure_engine(runner, ignore)
    assert "apt install docker.io iptables iproute2 curl" in refused.value.line

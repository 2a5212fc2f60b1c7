# SPDX-License-Identifier: Apache-2.0
"""The broker's jars: trusted only when they match the manifest, never half built."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from k2lab.provision.errors import CancelledError, SetupError
from k2lab.provision.kafka import differences, ensure_kafka, kafka_home, read_manifest, sha256
from k2lab.provision.paths import Paths, shared_cache
from k2lab.provision.process import Runner

JARS = {"a.jar": "first", "b.jar": "second"}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    sources = tmp_path / "clone" / "lab" / "kafka"
    sources.mkdir(parents=True)
    (sources / "pom.xml").write_text("<project/>")
    lines = []
    for name, content in JARS.items():
        (tmp_path / name).write_text(content)
        lines.append(f"{sha256(tmp_path / name)}  {name}\n")
    (sources / "jars.sha256").write_text("".join(lines))
    return Paths(root=tmp_path / "clone", cache=tmp_path / "cache")


@pytest.fixture
def runner(paths: Paths) -> Runner:
    return Runner(paths.work / "setup")


def maven(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Put an mvn on PATH that runs script with the output directory in $out; each call leaves a line in calls."""
    directory.mkdir(exist_ok=True)
    program = directory / "mvn"
    program.write_text(
        "#!/bin/sh\n"
        "for a; do case $a in -DoutputDirectory=*) out=${a#*=};; esac; done\n"
        f"echo x >>{directory}/calls\n{script}\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return directory / "calls"


GOOD = "printf first >$out/a.jar; printf second >$out/b.jar"


def ignore(_: str) -> None:
    return


def test_built_once_then_reused(paths: Paths, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = maven(tmp_path / "bin", monkeypatch, GOOD)
    assert ensure_kafka(paths, runner, ignore)[1] is True
    assert ensure_kafka(paths, runner, ignore)[1] is False
    assert calls.read_text().count("x") == 1
    assert differences(kafka_home(paths), read_manifest(paths.kafka_sources / "jars.sha256")) == []


@pytest.mark.parametrize("damage", ["missing", "changed", "extra"])
def test_a_damaged_cache_is_rebuilt(
    damage: str, paths: Paths, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven(tmp_path / "bin", monkeypatch, GOOD)
    ensure_kafka(paths, runner, ignore)
    home = kafka_home(paths)
    if damage == "missing":
        (home / "a.jar").unlink()
    else:
        (home / ("a.jar" if damage == "changed" else "c.jar")).write_text("other")
    assert ensure_kafka(paths, runner, ignore)[1] is True
    assert {path.name for path in home.iterdir()} == JARS.keys()


def test_jars_that_differ_from_the_manifest_are_refused(
    paths: Paths, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven(tmp_path / "bin", monkeypatch, "printf first >$out/a.jar; printf forged >$out/b.jar")
    with pytest.raises(SetupError, match="not those of") as refused:
        ensure_kafka(paths, runner, ignore)
    assert "checksum differs: b.jar" in str(refused.value)
    assert not kafka_home(paths).exists()


def test_a_failing_maven_is_told_with_its_words_and_leaves_nothing(
    paths: Paths, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven(tmp_path / "bin", monkeypatch, "printf first >$out/a.jar; echo no route to mirror; exit 1")
    with pytest.raises(SetupError) as failed:
        ensure_kafka(paths, runner, ignore)
    assert "no route to mirror" in str(failed.value)
    assert [path.name for path in paths.cache.iterdir()] == [kafka_home(paths).name + ".lock"]


def test_cancel_ends_the_child_and_leaves_nothing(
    paths: Paths, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = maven(tmp_path / "bin", monkeypatch, f"echo $$ >{tmp_path}/pid; exec sleep 600")

    def cancel_when_it_runs() -> None:
        deadline = time.monotonic() + 10
        while not calls.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        runner.cancel()

    watcher = threading.Thread(target=cancel_when_it_runs)
    watcher.start()
    with pytest.raises(CancelledError):
        ensure_kafka(paths, runner, ignore)
    watcher.join()
    assert not kafka_home(paths).exists()
    pid = tmp_path / "pid"
    assert not pid.exists() or not Path("/proc", pid.read_text().strip()).exists()


def test_a_changed_pom_or_manifest_has_a_home_of_its_own(paths: Paths) -> None:
    before = kafka_home(paths)
    (paths.kafka_sources / "pom.xml").write_text("<project>2</project>")
    assert kafka_home(paths) != before


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"K2_CACHE_DIR": "/x"}, "/x"),
        ({"XDG_CACHE_HOME": "/y"}, "/y/k2-hardening"),
        ({"K2_CACHE_DIR": "", "XDG_CACHE_HOME": ""}, str(Path.home() / ".cache/k2-hardening")),
    ],
)
def test_where_the_shared_cache_is(environ: dict[str, str], expected: str) -> None:
    assert str(shared_cache(environ)) == expected

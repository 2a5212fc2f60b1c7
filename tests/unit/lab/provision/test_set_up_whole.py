# SPDX-License-Identifier: Apache-2.0
"""A whole set-up: parts the lab cannot do without, parts it can, and what is told of both."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k2lab.provision import cli, environment, kafka
from k2lab.provision.cli import main
from k2lab.provision.errors import SetupError
from k2lab.provision.golang import workshop
from k2lab.provision.golang.programs import GRAFANA, go_entry
from k2lab.provision.paths import Paths
from k2lab.provision.tools import find_tool

Program = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def _clone(paths: Paths, program: Program, go_calls: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything but the parts of interest is there already."""
    monkeypatch.setattr(Paths, "discover", classmethod(lambda _: paths))
    monkeypatch.setattr(environment, "ensure_environment", lambda *_: ("there", False))
    monkeypatch.setattr(environment, "is_current", lambda *_: True)
    monkeypatch.setattr(kafka, "ensure_kafka", lambda *_: ("there", False))
    monkeypatch.setattr(kafka, "kafka_home", lambda _: paths.root)
    program("postgres", "echo 'postgres (PostgreSQL) 15.20'")
    program("iptables", "echo 'iptables v1.8.9 (nf_tables)'")
    program("dockerd", "echo 'Docker version 20.10.24+dfsg1, build 5d6db84'")
    for name in ("prometheus", "promtool"):
        program(name, f"echo '{name}, version 2.42.0'")
    for name in ("initdb", "pg_ctl", "pg_isready"):
        program(name, "")
    before = {number: signal.getsignal(number) for number in cli.INTERRUPTS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def records(paths: Paths, which: str = "last") -> dict[str, str]:
    document = json.loads((paths.work / "setup.json").read_text())
    return {part["name"]: part["outcome"] for part in document[which]["parts"]}


def test_an_engine_is_for_tests_only(paths: Paths) -> None:
    assert main([]) == 0
    assert "docker" not in records(paths)
    assert main(["--for", "dev"]) == 0
    assert records(paths)["docker"] == "reused"


def test_all_is_built_then_found(paths: Paths, capsys: pytest.CaptureFixture[str], go_calls: Path) -> None:
    assert main([]) == 0
    assert records(paths)["minio"] == records(paths)["grafana"] == "built"
    assert records(paths)["postgres"] == records(paths)["prometheus"] == "reused"
    calls = go_calls.read_text()
    capsys.readouterr()
    assert main([]) == 0
    assert set(records(paths).values()) == {"reused"}
    assert go_calls.read_text() == calls
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert said[0].startswith("set-up for run is complete after")


def test_another_platform_needs_none_of_the_labs_programs(paths: Paths, go_calls: Path) -> None:
    assert main(["--no-lab"]) == 0
    assert records(paths) == {"environment": "reused"}
    assert not go_calls.exists() or go_calls.read_text() == ""


def test_what_cannot_be_had_is_told_and_the_rest_goes_on(
    paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_FAILS", "minio")
    monkeypatch.setenv("GO_SAYS", "dial tcp: lookup mirror: no such host")
    assert main([]) == 0
    assert records(paths)["minio"] == "unavailable"
    assert records(paths)["grafana"] == "built"
    said = capsys.readouterr().out
    assert "not available: modules cannot be fetched (dial tcp: lookup mirror: no such host)" in said
    assert said.splitlines()[-1].endswith(", without minio")
    tool = find_tool(paths, "minio")
    assert tool.path is None
    assert tool.reason.startswith("modules cannot be fetched")


def test_another_attempt_is_made_at_once_only_when_asked_for(
    paths: Paths, go_calls: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2lab.provision.failures.WAIT_FACTOR", 1e6)
    monkeypatch.setenv("GO_FAILS", "minio")
    assert main([]) == 0
    calls = go_calls.read_text()
    monkeypatch.setenv("GO_FAILS", "")
    capsys.readouterr()
    assert main([]) == 0
    assert go_calls.read_text() == calls
    assert records(paths)["minio"] == "waits"
    assert records(paths, "last_build")["minio"] == "unavailable"
    assert "again with: make setup" in capsys.readouterr().out
    assert main(["--retry"]) == 0
    assert records(paths)["minio"] == "built"
    assert find_tool(paths, "minio").reason == ""
    assert list(paths.cache.glob("*.failed.json")) == []


def test_a_program_that_appears_on_path_ends_the_waiting(
    paths: Paths, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2lab.provision.failures.WAIT_FACTOR", 1e6)
    monkeypatch.setenv("GO_FAILS", "minio")
    assert main([]) == 0
    own = program("minio", "echo minio version RELEASE.2025-09-07T16-13-09Z")
    assert main([]) == 0
    assert records(paths)["minio"] == "reused"
    assert find_tool(paths, "minio").path == own


def test_no_room_for_the_builds_fails_only_them(
    paths: Paths, go_calls: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2lab.provision.parts.GO_DISK_BYTES", 10**18)
    assert main([]) == 0
    assert records(paths)["grafana"] == "unavailable"
    assert "not enough disk" in capsys.readouterr().out
    assert not go_calls.exists()


def test_without_what_the_lab_needs_nothing_goes_on(
    paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> tuple[str, bool]:
        raise SetupError("no Java 17 or newer", remedy="install one")

    monkeypatch.setattr(kafka, "ensure_kafka", fails)
    monkeypatch.setenv("GO_FAILS", "kafka_exporter")
    monkeypatch.setenv("GO_SAYS", "hang")
    assert main([]) == 1
    assert "do:   install one" in capsys.readouterr().err
    assert records(paths)["kafka"] == "failed"
    assert not go_entry(paths, GRAFANA).exists()
    assert list(paths.cache.glob("*.failed.json")) == []


def test_an_interrupt_ends_all_and_is_not_taken_for_a_failure(
    paths: Paths, go_calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_FAILS", "minio")
    monkeypatch.setenv("GO_SAYS", "hang")
    real = workshop.Workshop.build

    def build(self: workshop.Workshop, part: workshop.GoPart, directory: Path) -> None:
        if part.name == "minio":
            main_thread = threading.main_thread().ident
            assert main_thread is not None
            signal.pthread_kill(main_thread, signal.SIGTERM)
        real(self, part, directory)

    monkeypatch.setattr(workshop.Workshop, "build", build)
    assert main([]) == cli.EXIT_INTERRUPTED
    assert records(paths)["minio"] == "cancelled"
    assert {path.suffix for path in paths.cache.iterdir() if "minio" in path.name} == {".lock"}
    assert not (paths.cache / "go-scratch").exists()
    assert list(paths.cache.glob("*.failed.json")) == []

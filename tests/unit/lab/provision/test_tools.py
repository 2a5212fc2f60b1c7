# SPDX-License-Identifier: Apache-2.0
"""Where a program is, or why there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from k2lab.provision.failures import Failure, read_failure, record_failure
from k2lab.provision.golang.programs import ALERTMANAGER, GO_PARTS, GRAFANA, go_entry
from k2lab.provision.paths import Paths
from k2lab.provision.tools import NOT_SET_UP, TOOL_NAMES, find_tool

Program = Callable[[str, str], Path]


def put(directory: Path, *names: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_text("#!/bin/sh\necho prometheus, version 2.53.1\n")
        (directory / name).chmod(0o755)


def test_what_set_up_built_comes_before_what_the_machine_has(paths: Paths, program: Program) -> None:
    own = program("alertmanager", "echo alertmanager, version 0.28.2")
    assert find_tool(paths, "alertmanager").path == own
    entry = go_entry(paths, ALERTMANAGER)
    put(entry, "alertmanager", "amtool")
    tool = find_tool(paths, "alertmanager")
    assert (tool.path, tool.version, tool.reason) == (entry / "alertmanager", "0.28.1", "")


def test_half_an_entry_is_none(paths: Paths, program: Program) -> None:
    put(go_entry(paths, ALERTMANAGER), "alertmanager")
    assert find_tool(paths, "alertmanager").path is None


def test_grafana_comes_with_its_home(paths: Paths, program: Program) -> None:
    entry = go_entry(paths, GRAFANA)
    put(entry, "grafana")
    (entry / "home").mkdir()
    assert find_tool(paths, "grafana").home == entry / "home"


@pytest.mark.parametrize("name", TOOL_NAMES)
def test_without_set_up_it_says_what_to_do(name: str, paths: Paths, program: Program) -> None:
    tool = find_tool(paths, name)
    assert (tool.path, tool.reason) == (None, NOT_SET_UP)


def test_the_reason_is_that_of_the_last_attempt_and_of_the_program_that_was_refused(
    paths: Paths, program: Program
) -> None:
    own = program("minio", "echo minio version RELEASE.2021-01-01T00-00-00Z")
    minio = next(part for part in GO_PARTS if part.name == "minio")
    record_failure(paths.cache, go_entry(paths, minio).name, "the disk\nis full", 2.0)
    reason = find_tool(paths, "minio").reason
    assert reason.startswith("the disk is full (")
    assert str(own) in reason
    assert "2021-01-01" in reason


def test_an_unknown_name_is_an_error(paths: Paths) -> None:
    with pytest.raises(KeyError, match="grafanna"):
        find_tool(paths, "grafanna")


def test_a_changed_pin_has_an_entry_and_a_failure_of_its_own(paths: Paths) -> None:
    before = go_entry(paths, GRAFANA)
    record_failure(paths.cache, before.name, "no route", 1.0)
    pins = paths.go_sources / "wire" / "go.sum"
    pins.write_text(pins.read_text() + "\n")
    after = go_entry(paths, GRAFANA)
    assert after != before
    assert read_failure(paths.cache, after.name) is None


def test_a_damaged_record_of_a_failure_is_none(paths: Paths) -> None:
    record_failure(paths.cache, "key", "reason", 1.0)
    (paths.cache / "key.failed.json").write_text('{"reason": "half')
    assert read_failure(paths.cache, "key") is None


@pytest.mark.parametrize(
    ("took", "later", "due"),
    [(1.0, 19.0, False), (1.0, 20.0, True), (200.0, 3999.0, False), (200.0, 4000.0, True), (0.0, 0.0, True)],
)
def test_what_failed_quickly_is_tried_again_soon(took: float, later: float, due: bool) -> None:
    assert Failure("reason", at=1000.0, seconds=took).is_due(1000.0 + later) is due


def test_a_clock_that_was_set_back_delays_nothing() -> None:
    assert Failure("reason", at=1000.0, seconds=100.0).is_due(500.0)

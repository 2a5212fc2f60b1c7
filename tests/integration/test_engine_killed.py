# SPDX-License-Identifier: Apache-2.0
"""The Docker Engine is killed with -9 while a fault is held: once it runs again, the platform is as it was.

On an engine of its own, apart from any other on the machine: nobody else's containers notice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure import experiment
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.experiment import break_and_measure
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.request import FailureRequest
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import State
from ansible_collections.k2.hardening.plugins.module_utils.verdict.failure import decide_failure
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Scale, Verdict

from .boxes import PORT, Boxes, boxes
from .runtimes import Engine, eventually, own_engine
from .scripted import answers
from .test_failure_measured import TOOL

MODE = {"max_recovery_s": 20, "recovery_from": "heal", "affects": ["careful", "other"]}


@pytest.fixture(scope="module")
def killable() -> Iterator[Engine]:
    with own_engine() as engine:
        yield engine


def restored(site: Boxes) -> None:
    """All services run, are reached where they were, and go by their names."""
    eventually(
        lambda: {site.runtime.status(unit).state for unit in site.units.values()}, lambda seen: seen == {State.RUNNING}
    )
    site.listening()
    for name, unit in site.units.items():
        (attachment,) = site.runtime.attachments(unit)
        assert (attachment.ipv4, name in attachment.aliases) == (site.addresses[name], True)


def test_an_engine_that_died_starts_few_of_its_containers_again(killable: Engine) -> None:
    """Why to have all of them running is part of every undo."""
    kinds = ("unless-stopped", "always", "no")
    with (
        killable.container("--restart", kinds[0]) as unless_stopped,
        killable.container("--restart", kinds[1]) as always,
        killable.container("--restart", kinds[2]) as never,
    ):
        killable.kill()
        assert killable.begin() == ""
        runtime = killable.runtime()
        eventually(lambda: runtime.status(always).state, lambda state: state is State.RUNNING)
        assert {runtime.status(each).state for each in (unless_stopped, never)} == {State.EXITED}


@pytest.mark.parametrize("action", ["pause", "disconnect"])
def test_the_tool_puts_all_back_when_the_engine_is_there_again(
    killable: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr(experiment, "LEAST_WATCH_S", 1.0)
    monkeypatch.setattr(experiment, "RESTORED_S", 1.0)
    mode = MODE | {"action": action, "duration_s": 3}
    journal = Journal(tmp_path / "state" / "scripted" / "undo")
    with boxes(killable, tmp_path) as site, ThreadPoolExecutor(1) as pool:

        def measure() -> dict[str, Any]:
            asked = FailureRequest("it", run_id="run-1", steady_s=1, settle_s=1, watch_s=5)
            with killable.network():  # a thread that was there before is where it was
                return dict(break_and_measure(site.profile(it=mode), asked, tmp_path / "state").to_plain())

        running = pool.submit(measure)
        (entry,) = eventually(journal.open_entries, bool)
        eventually(lambda: site.runtime.status(site.units["front"]).state is State.PAUSED or cut_off(site), bool)
        killable.kill()
        assert killable.begin() == ""
        found = running.result(120)
        assert (found["undone_by"], found["steady_after"]) == ("tool", True), found["restored"]
        assert (journal.open_entries(), journal.closed_by(entry.id)) == ([], "tool")
        restored(site)
        # What was seen of it proves nothing about the service, and its listener tells that it was cut short.
        facts = {"mode": "it", "failures": [found], "loads": [], "audit": None}
        gates = {one.result.spec.id: one.result for one in decide_failure(site.profile(it=mode), facts, Scale.LAB)}
        assert gates["S3.it.recovery"].verdict is not Verdict.PASS
        assert "event stream broke" in found["events"]["why"]


def test_the_watchdog_does_so_when_the_tool_is_gone_too(killable: Engine, tmp_path: Path) -> None:
    mode = MODE | {"action": "disconnect", "duration_s": 600}
    journal = Journal(tmp_path / "state" / "scripted" / "undo")
    with boxes(killable, tmp_path) as site:
        tool = subprocess.Popen(
            [sys.executable, "-c", TOOL, json.dumps(site.data(it=mode)), str(tmp_path / "state"), os.devnull],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
        try:
            (entry,) = eventually(journal.open_entries, bool, 60)
            eventually(lambda: cut_off(site), bool)
            killable.kill()
        finally:
            os.killpg(tool.pid, signal.SIGKILL)
            tool.wait(20)
        assert [one.id for one in journal.open_entries()] == [entry.id]
        assert killable.begin() == ""
        eventually(journal.open_entries, lambda entries: not entries, 60)
        assert journal.closed_by(entry.id) == "watchdog"
        restored(site)
        assert answers(site.addresses["front"], PORT)


def cut_off(site: Boxes) -> bool:
    return site.runtime.attachments(site.units["front"]) == ()

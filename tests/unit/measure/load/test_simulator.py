# SPDX-License-Identifier: Apache-2.0
"""What a simulator answers, or does not, is told for what it is; a load is watched to its end and no further."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import utc_us
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.measure.load import simulator
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.request import Request, Source
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.run import run_load
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.simulator import (
    SimulatedLoad,
    SimulatorClient,
    follow,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.sketch import Sketch
from ansible_collections.k2.hardening.plugins.module_utils.platform.simulator import SimulatorError
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from ...platform.server import Script, serve  # noqa: TID252 - tests are no package that has a name


def status(**changed: Any) -> dict[str, Any]:
    now = utc_us()
    described = {
        "id": "one", "state": "quiet", "start_us": now - 2_000_000, "end_us": now - 1_000_000,
        "ended_us": now - 999_000,
        "exchanges": {"a": {"scheduled": 5, "sent": 4, "unsent": 1, "heard": 3}},
        "lateness": Sketch().to_plain(), "cpu_s": 0.25, "interrupted": None, "by": "test", "seed": 1,
    }  # fmt: skip
    return {**described, **changed}


def answers(document: object, code: int = 200) -> Script:
    return Script(status=code, body=json.dumps(document).encode())


def client(script: Script) -> SimulatorClient:
    return SimulatorClient(f"http://127.0.0.1:{script.port}/")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (answers({"error": "no"}, 404), "too old to run loads"),
        (answers({"error": "load 1 is running, begun by ann"}, 409), "busy.*begun by ann.*/load/end"),
        (answers({"error": "seconds: expected"}, 400), "refused the load.*seconds: expected"),
        (Script(status=500, body=b"oops"), "refused the load.*oops"),
        (Script(body=b"<html>"), "cannot be understood"),
        (Script(body=b"[]"), "cannot be understood"),
        (answers({"state": "running"}), "cannot be understood.*KeyError"),
    ],
)
def test_what_it_says_instead_of_a_load_is_told(script: Script, says: str) -> None:
    with serve(script), pytest.raises(SimulatorError, match=f"(?s){says}"):
        client(script).look()


def test_a_simulator_that_is_not_there_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(SimulatorError, match=rf"did not answer.*127\.0\.0\.1:{port}"):
        SimulatorClient(f"http://127.0.0.1:{port}").look()


def test_none_so_far_is_no_error() -> None:
    with serve(answers({"state": "none"})) as script:
        assert client(script).look() is None


def test_it_ends_the_load_of_that_name_and_where_another_runs_it_is_over() -> None:
    with serve(answers({"error": "load one is not running: load two, begun by ann, is"}, 409)) as script:
        client(script).end("one")
    with serve(answers({"error": "oops"}, 500)) as script, pytest.raises(SimulatorError, match="oops"):
        client(script).end("one")


class Scripted(SimulatorClient):
    """Answers one after the other; an exception is raised. The last answer stays."""

    def __init__(self, *looks: SimulatedLoad | SimulatorError | None) -> None:
        super().__init__("http://127.0.0.1:1")
        self.looks = list(looks)
        self.ended: list[str] = []

    def look(self) -> SimulatedLoad | None:
        seen = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(seen, SimulatorError):
            raise seen
        return seen

    def end(self, load_id: str) -> None:
        self.ended.append(load_id)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> SimulatedLoad:
    monkeypatch.setattr(simulator, "POLL_INTERVAL_S", 0.001)
    with serve(answers(status(state="running", ended_us=None))) as script:
        seen = client(script).look()
    assert seen is not None
    return replace(seen, end_us=utc_us() + 60_000_000)


def watch(scripted: Scripted, begun: SimulatedLoad, *, stopped: bool = False) -> SimulatedLoad:
    stop = threading.Event()
    if stopped:
        stop.set()
    return follow(scripted, begun, stop, lambda _: None)


def test_it_is_watched_until_it_sends_no_more(begun: SimulatedLoad) -> None:
    quiet = replace(begun, state="quiet")
    scripted = Scripted(begun, SimulatorError("away"), begun, quiet)
    assert watch(scripted, begun) is quiet
    assert not scripted.ended


def test_told_to_stop_it_ends_the_load(begun: SimulatedLoad) -> None:
    scripted = Scripted(replace(begun, state="ended early"))
    seen = watch(scripted, begun, stopped=True)
    assert (scripted.ended, seen.state, seen.interrupted) == (
        ["one"],
        "ended early",
        "ended before its time: told to stop",
    )


@pytest.mark.parametrize("other", [None, "two"])
def test_a_restart_interrupts_and_keeps_what_was_known(begun: SimulatedLoad, other: str | None) -> None:
    seen = watch(Scripted(None if other is None else replace(begun, id=other, exchanges={})), begun)
    assert "restarted" in str(seen.interrupted)
    assert seen.sent == 4


def test_silence_ends_with_the_deadline(begun: SimulatedLoad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "GRACE_S", 0.05)
    begun = replace(begun, end_us=utc_us())
    seen = watch(Scripted(SimulatorError("no answer")), begun)
    assert "no answer" in str(seen.interrupted)
    assert "ends by itself" in str(seen.interrupted)


# -- the journal -------------------------------------------------------------------------------------------------------


def load_with(port: int, tmp_path: Path) -> None:
    profile = parse_profile(
        {
            "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
            "k2_services": {"db": {"kind": "database"}},
            "k2_load": {"rates": {"1x": 5}, "control_url": f"http://127.0.0.1:{port}"},
        }
    )
    run_load(profile, Request("1x", 1.0, Source.SIMULATOR), tmp_path, None, threading.Event())


def test_a_refused_load_leaves_nothing_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "p" / "undo")
    with serve(answers({"error": "busy"}, 409)) as script:
        script.by_path["/load"] = (200, b'{"state": "none"}')
        with pytest.raises(K2Error):
            load_with(script.port, tmp_path)
        # The order itself cannot be understood: whether the load runs is unknown, so the entry stays.
        assert [entry.undo.split(" by itself")[0] for entry in journal.open_entries()] == [
            "the simulator returns to its base rate"
        ]
    with serve(answers({"error": "busy"}, 409)) as script, pytest.raises(K2Error, match="busy"):
        load_with(script.port, tmp_path / "other")
    assert Journal(tmp_path / "other" / "p" / "undo").open_entries() == []

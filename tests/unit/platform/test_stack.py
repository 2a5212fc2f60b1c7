# SPDX-License-Identifier: Apache-2.0
"""The state of a stack, with a runtime whose units are scripted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error, UnsupportedOperation
from ansible_collections.k2.hardening.plugins.module_utils.platform import stack
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import (
    NotRunning,
    ResourceReading,
    RuntimeFailure,
    State,
    Status,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

RUNNING = Status(State.RUNNING, pid=7, uptime_s=3.0, restarts=0)


class Scripted:
    """Answers ``status`` from a table; CPU grows by half a core, or falls back where ``reborn``."""

    def __init__(self, statuses: Mapping[str, Callable[[], Status]], reborn: bool = False) -> None:
        self.statuses, self.reborn, self.readings = statuses, reborn, 0

    def of(self, service: Any) -> Scripted:
        return self

    def status(self, unit: str) -> Status:
        return self.statuses[unit]()

    def resources(self, unit: str) -> ResourceReading:
        if self.statuses[unit]().detail == "gone":
            raise NotRunning("ended while it was measured")
        self.readings += 1
        now = time.monotonic_ns()
        return ResourceReading(now, -now / 1e9 if self.reborn else now / 2e9, 4096, "pss")

    def start_command(self, unit: str) -> str:
        return f"start {unit}"


def profile(**services: dict[str, Any]) -> Profile:
    runtimes = {"supervisor": {"socket": "/x", "start_command": "make up"}}
    platform = {"name": "p", "scale": "lab", "runtime": "supervisor", "runtimes": runtimes}
    return parse_profile({"k2_platform": platform, "k2_services": services})


def inspect(monkeypatch: pytest.MonkeyPatch, runtime: Scripted, described: Profile, **options: Any) -> stack.StackInfo:
    monkeypatch.setattr(stack, "Runtimes", lambda _: runtime)
    return stack.inspect_stack(described, **{"sample_s": 0.05, **options})


def fail(error: K2Error) -> Callable[[], Status]:
    def raiser() -> Status:
        raise error

    return raiser


def test_running_service_is_ready_with_cpu_over_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = inspect(monkeypatch, Scripted({"a": lambda: RUNNING}), profile(a={"kind": "service"}))
    (info,) = seen.services
    assert seen.all_ready
    assert info.cpu_cores == pytest.approx(0.5)
    assert (info.pid, info.memory_bytes, info.memory_kind, info.problem) == (7, 4096, "pss", "")
    assert seen.clock_end.monotonic_ns - seen.clock_start.monotonic_ns >= 50_000_000


def test_service_reborn_within_the_window_has_no_cpu_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    (info,) = inspect(
        monkeypatch, Scripted({"a": lambda: RUNNING}, reborn=True), profile(a={"kind": "service"})
    ).services
    assert info.cpu_cores is None
    assert "restarted" in info.problem


def test_failing_probe_makes_a_running_service_unready(monkeypatch: pytest.MonkeyPatch) -> None:
    described = profile(a={"kind": "service", "probe": {"command": {"argv": ["/bin/false"]}}})
    seen = inspect(monkeypatch, Scripted({"a": lambda: RUNNING}), described)
    assert seen.as_dict()["not_ready"] == ["a"]
    assert seen.services[0].state == "running"


@pytest.mark.parametrize(("code", "ready"), [(0, True), (1, False), (None, False)])
def test_one_shot_is_ready_when_it_exited_with_0(
    monkeypatch: pytest.MonkeyPatch, code: int | None, ready: bool
) -> None:
    described = profile(a={"kind": "service", "lifecycle": "one-shot"})
    seen = inspect(monkeypatch, Scripted({"a": lambda: Status(State.EXITED, exit_code=code)}), described)
    assert seen.all_ready is ready


def test_stopped_service_tells_what_would_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    down = Scripted({"a": lambda: Status(State.STOPPED, detail="Not started")})
    (info,) = inspect(monkeypatch, down, profile(a={"kind": "service"})).services
    assert (info.ready, info.start_command, info.problem) == (False, "start a", "Not started")


def test_runtime_that_does_not_answer_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    down = Scripted({"a": fail(RuntimeFailure("no answer"))})
    (info,) = inspect(monkeypatch, down, profile(a={"kind": "service"})).services
    assert (info.state, info.start_command, info.problem) == ("unknown", "make up", "no answer")


def test_one_hanging_service_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang() -> Status:
        time.sleep(1.0)
        return RUNNING

    seen = inspect(
        monkeypatch,
        Scripted({"a": hang, "b": lambda: RUNNING}),
        profile(a={"kind": "service"}, b={"kind": "service"}),
        timeout_s=0.3,
    )
    assert [info.ready for info in seen.services] == [False, True]
    assert "0.3 s" in seen.services[0].problem


def test_waiting_ends_when_all_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    born = time.monotonic() + 0.7
    late = Scripted({"a": lambda: RUNNING if time.monotonic() > born else Status(State.STARTING)})
    rounds: list[int] = []
    seen = inspect(
        monkeypatch, late, profile(a={"kind": "service"}), wait_for_ready_s=20, on_wait=lambda s: rounds.append(len(s))
    )
    assert seen.all_ready
    assert 1 < seen.attempts < 10
    assert rounds


def test_what_cannot_be_had_is_listed_but_neither_asked_nor_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fail(AssertionError("nobody may ask"))  # type: ignore[arg-type]
    described = profile(
        a={"kind": "service"},
        b={"kind": "dashboard", "not_available": "no build", "probe": {"command": {"argv": ["/bin/true"]}}},
    )
    seen = inspect(monkeypatch, Scripted({"a": lambda: RUNNING, "b": asked}), described, wait_for_ready_s=60)
    absent = seen.services[1]
    assert (absent.state, absent.ready, absent.probe, absent.start_command) == ("not available", False, None, "")
    assert absent.problem == "not available: no build"
    assert not seen.all_ready
    answer = seen.as_dict()
    assert (answer["not_ready"], answer["not_available"]) == ([], {"b": "no build"})
    assert seen.attempts == 2


def test_waiting_in_vain_returns_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.monotonic()
    never = Scripted({"a": fail(UnsupportedOperation("no client"))})
    seen = inspect(monkeypatch, never, profile(a={"kind": "service"}), wait_for_ready_s=0.6)
    assert not seen.all_ready
    assert 0.6 <= time.monotonic() - started < 5

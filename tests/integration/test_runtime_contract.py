# SPDX-License-Identifier: Apache-2.0
"""What every runtime promises, tried on a real supervisord and a real Docker Engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import (
    EventKind,
    NotRunning,
    State,
    UnitMissing,
)

from .runtimes import Bench, Engine, events_until, eventually, supervisord


@pytest.fixture(scope="module", params=["supervisor", "docker"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "supervisor":
        with supervisord() as made:
            yield made
        return
    engine: Engine = request.getfixturevalue("engine")
    with engine.container("--restart", "unless-stopped") as name:
        yield Bench(engine.runtime(), name)


@pytest.fixture(autouse=True)
def running(bench: Bench) -> None:
    bench.runtime.resume(bench.unit)
    bench.runtime.start(bench.unit, 20)


class TestEveryRuntime:
    def test_tells_state_pid_and_uptime(self, bench: Bench) -> None:
        status = bench.runtime.status(bench.unit)
        assert status.state is State.RUNNING
        assert status.pid is not None
        assert status.pid == bench.runtime.pid(bench.unit)
        assert status.uptime_s is not None
        assert 0 <= status.uptime_s < 600

    def test_missing_unit_is_a_state_and_acting_on_it_an_error(self, bench: Bench) -> None:
        assert bench.runtime.status("no-such-unit").state is State.MISSING
        for act in (bench.runtime.kill, bench.runtime.pause, bench.runtime.resume, bench.runtime.resources):
            with pytest.raises(UnitMissing, match="no-such-unit"):
                act("no-such-unit")
        with pytest.raises(UnitMissing):
            bench.runtime.start("no-such-unit", 5)

    def test_killed_unit_is_restarted_by_its_supervisor_and_seen_in_events(self, bench: Bench) -> None:
        restarts = bench.runtime.status(bench.unit).restarts
        assert restarts is not None
        with bench.runtime.events((bench.unit,)) as stream:
            killed = bench.runtime.kill(bench.unit)
            after = eventually(
                lambda: bench.runtime.status(bench.unit),
                lambda s: s.state is State.RUNNING and s.pid not in (None, killed),
            )
            seen = events_until(stream, EventKind.STARTED)
        assert after.restarts == restarts + 1
        kinds = [event.kind for event in seen]
        assert kinds.index(EventKind.EXITED) < kinds.index(EventKind.STARTED)
        assert {event.unit for event in seen} == {bench.unit}
        assert [e.time_us for e in seen] == sorted(e.time_us for e in seen)

    def test_paused_unit_stands_still_and_goes_on(self, bench: Bench) -> None:
        bench.runtime.pause(bench.unit)
        assert bench.runtime.status(bench.unit).state is State.PAUSED
        before = bench.runtime.resources(bench.unit).cpu_seconds
        lines = bench.runtime.logs(bench.unit, 1)
        with bench.runtime.events((bench.unit,)) as quiet:
            quiet.poll(0.5)
        assert bench.runtime.logs(bench.unit, 1) == lines
        assert bench.runtime.resources(bench.unit).cpu_seconds == pytest.approx(before, abs=0.02)
        bench.runtime.resume(bench.unit)
        assert bench.runtime.status(bench.unit).state is State.RUNNING
        eventually(lambda: bench.runtime.logs(bench.unit, 1), lambda now: now != lines)

    def test_pausing_twice_and_resuming_twice_change_nothing(self, bench: Bench) -> None:
        pid = bench.runtime.pid(bench.unit)
        for act in (bench.runtime.pause, bench.runtime.pause, bench.runtime.resume, bench.runtime.resume):
            act(bench.unit)
        assert bench.runtime.pid(bench.unit) == pid
        assert bench.runtime.status(bench.unit).state is State.RUNNING

    def test_cpu_counter_grows_and_memory_is_plausible(self, bench: Bench) -> None:
        first = bench.runtime.resources(bench.unit)
        later = eventually(
            lambda: bench.runtime.resources(bench.unit), lambda r: r.cpu_seconds > first.cpu_seconds, seconds=30
        )
        assert later.monotonic_ns > first.monotonic_ns
        assert 50_000 < later.memory_bytes < 200_000_000

    def test_logs_are_the_last_lines_oldest_first(self, bench: Bench) -> None:
        lines = eventually(lambda: bench.runtime.logs(bench.unit, 3), lambda found: len(found) == 3)
        numbers = [int(line.removeprefix("tick ")) for line in lines]
        assert numbers == list(range(numbers[0], numbers[0] + 3))

    def test_stopped_unit_stays_down_until_started(self, bench: Bench) -> None:
        pid = bench.runtime.pid(bench.unit)
        bench.runtime.stop(bench.unit, 20)
        assert bench.runtime.status(bench.unit).state in (State.STOPPED, State.EXITED)
        with pytest.raises(NotRunning) as refusal:
            bench.runtime.kill(bench.unit)
        assert bench.runtime.start_command(bench.unit) in str(refusal.value)
        bench.runtime.stop(bench.unit, 20)
        bench.runtime.start(bench.unit, 20)
        bench.runtime.start(bench.unit, 20)
        assert bench.runtime.pid(bench.unit) != pid

    def test_paused_unit_can_be_stopped(self, bench: Bench) -> None:
        bench.runtime.pause(bench.unit)
        bench.runtime.stop(bench.unit, 20)
        assert bench.runtime.status(bench.unit).pid is None

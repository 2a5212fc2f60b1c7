# SPDX-License-Identifier: Apache-2.0
"""What a fault did to the cold tier, told from an orchestrator and watermarks that follow a script."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline, monotonic_ns
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import DeadlineExceeded, K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.cold import (
    ColdOptions,
    ColdWatch,
    RowCounts,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.cold_marks import Marks
from ansible_collections.k2.hardening.plugins.module_utils.measure.watermarks import Reading
from ansible_collections.k2.hardening.plugins.module_utils.platform.prefect import Deployment, PrefectUnreachable
from ansible_collections.k2.hardening.plugins.module_utils.platform.prefect_runs import FlowRun
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

PROFILE = {
    "k2_platform": {
        "name": "p",
        "scale": "lab",
        "runtime": "systemd",
        "runtimes": {"systemd": {"socket": "/run/x", "timeout_s": 1}},
        "clock": {"host": "localhost", "max_skew_ms": 5},
    },
    "k2_services": {"warehouse": {"runtime": "systemd", "unit": "w", "kind": "database"}},
    "k2_orchestrator": {
        "url": "http://127.0.0.1:1/api",
        "deployments": [{"name": "flow/offload", "interval_s": 60}],
    },
    "k2_watermarks": {
        "host": "127.0.0.1",
        "port": 1,
        "database": "d",
        "username": "u",
        "password": "",
        "table": "t",
        "name_column": "n",
        "time_column": "w",
        "max_age_s": 60,
        "sources": ["a", "b"],
    },
}


def now_us() -> int:
    return time.time_ns() // 1000


@dataclass
class Platform:
    """Runs and watermarks; ``then`` is called before each list of runs, with how many there have been."""

    marks: dict[str, float] = field(default_factory=lambda: {"a": 100.0, "b": 100.0})
    known: dict[str, FlowRun] = field(default_factory=dict)
    then: Callable[[int], None] = lambda _: None
    lists: int = 0
    down: bool = False
    made: int = 0

    def deployment(self, name: str) -> Deployment:
        return Deployment(name, False, 1)

    def under_way(self, deployment_id: str) -> tuple[FlowRun, ...]:
        return tuple(run for run in self.since(deployment_id, 0) if not run.ended)

    def since(self, deployment_id: str, since_us: int) -> tuple[FlowRun, ...]:
        assert deployment_id == "flow/offload"
        self.then(self.lists)
        self.lists += 1
        if self.down:
            raise PrefectUnreachable("down")
        return tuple(r for r in self.known.values() if r.state != "SCHEDULED" and (r.started_us or 0) >= since_us)

    def ask_for_run(self, deployment_id: str) -> FlowRun:
        self.made += 1
        run = FlowRun(f"asked{self.made}", "asked", "SCHEDULED")
        self.known[run.id] = run
        return run

    def read(self) -> Reading:
        if self.down:
            raise K2Error("down")
        return Reading(dict(self.marks), 0.0)

    def begin(self, run_id: str) -> None:
        self.known[run_id] = FlowRun(run_id, run_id, "RUNNING", started_us=now_us())

    def end(self, run_id: str, state: str) -> None:
        self.known[run_id] = replace(self.known[run_id], state=state, ended_us=now_us())

    def watch(
        self, options: ColdOptions | None = None, compare: Callable[[Marks, Marks], RowCounts] | None = None
    ) -> ColdWatch:
        watch = ColdWatch(
            parse_profile(PROFILE), options or ColdOptions(poll_s=0.01), runs=self, read=self.read, compare=compare
        )
        watch.before()
        return watch


def clean(before: Marks, after: Marks) -> RowCounts:
    return RowCounts(0, 0, "")


def soon() -> Deadline:
    return Deadline.after(1.0)


def test_a_killed_run_and_the_next_one_that_puts_it_right() -> None:
    platform = Platform()
    platform.begin("hit")
    watch = platform.watch(compare=clean)
    killed = monotonic_ns()

    def script(number: int) -> None:
        if number == 4:
            platform.end("hit", "CRASHED")
            platform.begin("next")
        if number == 6:
            platform.marks = {"a": 160.0, "b": 160.0}
            platform.end("next", "COMPLETED")

    platform.then = script
    seen = watch.observe(soon(), killed)
    assert seen.plain["failed_run"]["id"] == "hit"
    assert seen.plain["next_run"]["id"] == "next"
    assert seen.plain["watermark_held"] is True
    assert seen.plain["partial_commit"] is False
    assert (seen.plain["missing"], seen.plain["duplicates"]) == (0, 0)
    assert seen.plain["asked_for"] == []
    assert seen.caught_up is not None
    low, high = seen.caught_up
    ended_ns = monotonic_ns() - (now_us() - platform.known["next"].ended_us) * 1000  # type: ignore[operator]
    assert killed <= low <= ended_ns <= high


def test_a_run_that_had_committed_some_tables_is_a_partial_commit() -> None:
    platform = Platform()
    platform.begin("hit")
    watch = platform.watch(compare=clean)
    platform.marks["a"] = 130.0
    platform.end("hit", "CRASHED")
    seen = watch.observe(Deadline.after(0.05), monotonic_ns())
    assert seen.plain["partial_commit"] is True
    assert seen.plain["next_run"] is None
    assert seen.caught_up is None
    assert "no run that began after the fault completed" in seen.plain["why"]
    # Whether what moved had been committed cannot be told without the rows.
    assert seen.plain["watermark_held"] is None


def test_a_run_that_began_before_the_fault_is_not_the_next_one() -> None:
    platform = Platform()
    platform.begin("old")
    watch = platform.watch(compare=clean)
    platform.marks = {"a": 160.0, "b": 160.0}
    time.sleep(0.001)
    at = monotonic_ns()
    platform.end("old", "COMPLETED")
    assert watch.observe(Deadline.after(0.05), at).plain["next_run"] is None


def test_a_watermark_that_stays_behind_is_named_and_is_not_caught_up() -> None:
    platform = Platform()
    watch = platform.watch(compare=clean)

    def script(number: int) -> None:
        if number == 2:
            platform.begin("next")
        if number == 3:
            platform.marks["a"] = 160.0
            platform.end("next", "COMPLETED")

    platform.then = script
    seen = watch.observe(Deadline.after(0.2), monotonic_ns())
    assert seen.plain["next_run"]["id"] == "next"
    assert seen.caught_up is None
    assert "did not move on: b" in seen.plain["why"]


def test_a_watermark_that_moves_back_was_not_held() -> None:
    platform = Platform()
    watch = platform.watch(compare=clean)
    platform.marks["b"] = 99.0
    seen = watch.observe(Deadline.after(0.05), monotonic_ns())
    assert seen.plain["watermark_held"] is False
    assert "moved back: b" in seen.plain["why"]


def test_a_watermark_that_moves_while_nothing_can_be_committed_was_not_held() -> None:
    platform = Platform()
    watch = platform.watch(ColdOptions(poll_s=0.01, nothing_commits=True), clean)
    watch.during()
    platform.marks["a"] = 130.0
    watch.during()
    seen = watch.observe(Deadline.after(0.05), monotonic_ns())
    assert seen.plain["watermark_held"] is False
    assert "while nothing could be committed: a" in seen.plain["why"]


def test_watermarks_that_cannot_be_read_while_it_is_held_are_told() -> None:
    platform = Platform()
    watch = platform.watch(ColdOptions(poll_s=0.01, nothing_commits=True), clean)
    platform.down = True
    watch.during()
    platform.down = False
    seen = watch.observe(Deadline.after(0.05), monotonic_ns())
    assert "could not be read while it was held: down" in seen.plain["why"]


def completing(platform: Platform) -> Callable[[int], None]:
    def script(number: int) -> None:
        if number == 2:
            platform.begin("next")
        if number == 3:
            platform.marks = {"a": 160.0, "b": 160.0}
            platform.end("next", "COMPLETED")

    return script


def test_rows_that_are_missing_up_to_the_watermark_mean_that_it_went_too_far() -> None:
    platform = Platform()
    watch = platform.watch(compare=lambda *_: RowCounts(17, 0, ""))
    platform.then = completing(platform)
    seen = watch.observe(soon(), monotonic_ns())
    assert (seen.plain["missing"], seen.plain["watermark_held"]) == (17, False)


def test_rows_that_cannot_be_compared_are_unknown_not_none() -> None:
    def broken(before: Marks, after: Marks) -> RowCounts:
        raise K2Error("ClickHouse may not read the object store")

    platform = Platform()
    watch = platform.watch(compare=broken)
    platform.then = completing(platform)
    seen = watch.observe(soon(), monotonic_ns())
    assert (seen.plain["missing"], seen.plain["duplicates"]) == (None, None)
    assert "may not read the object store" in seen.plain["why"]
    assert seen.caught_up is not None


def test_a_look_that_fails_leaves_the_bracket_as_wide_as_it_was() -> None:
    platform = Platform()
    watch = platform.watch(compare=clean)
    platform.lists = 0
    ended: list[int] = []

    def script(number: int) -> None:
        platform.down = number in (3, 4)
        if number == 2:
            platform.begin("next")
        if number == 3:
            platform.marks = {"a": 160.0, "b": 160.0}
            platform.end("next", "COMPLETED")
            ended.append(monotonic_ns())

    platform.then = script
    seen = watch.observe(soon(), monotonic_ns())
    assert seen.caught_up is not None
    low, high = seen.caught_up
    assert low <= ended[0] <= high


def test_a_run_is_asked_for_once_and_told() -> None:
    platform = Platform()
    watch = platform.watch(ColdOptions(poll_s=0.01, ask_for_run=True), clean)

    def script(number: int) -> None:
        if number == 6:
            platform.begin("asked1")
        if number == 8:
            platform.marks = {"a": 160.0, "b": 160.0}
            platform.end("asked1", "COMPLETED")

    platform.then = script
    seen = watch.observe(soon(), monotonic_ns())
    assert seen.plain["asked_for"] == ["asked1"]
    assert seen.plain["next_run"]["id"] == "asked1"
    assert platform.made == 1


def test_another_run_is_asked_for_when_the_first_failed() -> None:
    platform = Platform()
    watch = platform.watch(ColdOptions(poll_s=0.01, ask_for_run=True), clean)

    def script(number: int) -> None:
        if number == 4:
            platform.begin("asked1")
        if number == 5:
            platform.end("asked1", "FAILED")

    platform.then = script
    seen = watch.observe(Deadline.after(0.2), monotonic_ns())
    assert seen.plain["asked_for"] == ["asked1", "asked2"]
    assert seen.plain["failed_run"]["id"] == "asked1"


def test_without_being_told_to_no_run_is_asked_for() -> None:
    platform = Platform()
    platform.watch(compare=clean).observe(Deadline.after(0.05), monotonic_ns())
    assert platform.made == 0


def test_a_run_at_work_is_returned_at_once() -> None:
    platform = Platform()
    platform.begin("hit")
    assert platform.watch().await_running(soon()).id == "hit"


def test_the_wait_for_a_run_ends_at_its_deadline() -> None:
    with pytest.raises(DeadlineExceeded, match="no run of the offload began in time"):
        Platform().watch().await_running(Deadline.after(0.05))


def test_an_orchestrator_that_never_answers_is_told_as_such() -> None:
    platform = Platform()
    watch = platform.watch()
    platform.down = True
    with pytest.raises(PrefectUnreachable):
        watch.await_running(Deadline.after(0.05))


def test_a_platform_without_cold_tier_is_refused() -> None:
    profile = parse_profile({key: value for key, value in PROFILE.items() if key != "k2_watermarks"})
    with pytest.raises(K2Error, match="no cold tier"):
        ColdWatch(profile)

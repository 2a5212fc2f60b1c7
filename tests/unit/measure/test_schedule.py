# SPDX-License-Identifier: Apache-2.0
"""Watching a schedule: what is on time, what is late, and that errors are answers."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.measure import schedule
from ansible_collections.k2.hardening.plugins.module_utils.measure.schedule import (
    RECENT,
    SLACK_S,
    DeploymentSight,
    unseen,
    watch_schedule,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.prefect import (
    Deployment,
    NoSuchDeployment,
    PrefectUnreachable,
    Run,
    Runs,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Deployment as Expected
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Orchestrator

NOW_US = 1_700_000_000_000_000
INTERVAL_S = 900.0
MAX_AGE_S = 2 * INTERVAL_S + SLACK_S
ACTIVE = Deployment("d", False, 1)


class FakePrefect:
    """Knows deployments by name, each as what it is at one look after the other: an error, or itself with its runs."""

    def __init__(self, server_us: int | None = NOW_US, **answers: Any) -> None:
        self.server_us = server_us
        self.answers = {name: list(each) for name, each in answers.items()}
        self.current: dict[str, Any] = {}
        self.asked: list[str] = []

    def deployment(self, name: str) -> Deployment:
        self.asked.append(name)
        answers = self.answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        deployment, runs = answer
        self.current[name] = runs
        return Deployment(name, deployment.paused, deployment.active_schedules)

    def latest_runs(self, deployment_id: str, states: tuple[str, ...], limit: int) -> Runs:
        runs = [run for run in self.current[deployment_id] if run.state in states]
        return Runs(tuple(runs[:limit]), self.server_us)


def watch(server: FakePrefect, seconds: float = 0.0) -> dict[str, DeploymentSight]:
    section = Orchestrator("http://p/api", tuple(Expected(name, INTERVAL_S) for name in server.answers), ())
    sights = watch_schedule(section, 0.005, server, Deadline.after(seconds))  # type: ignore[arg-type]
    return {sight.name: sight for sight in sights}


def ended(age_s: float, state: str = "COMPLETED") -> Run:
    return Run(state, NOW_US - round(age_s * 1e6))


@pytest.mark.parametrize(
    ("deployment", "runs", "on_time"),
    [
        (ACTIVE, [ended(0)], True),
        (ACTIVE, [ended(MAX_AGE_S)], True),
        (ACTIVE, [ended(MAX_AGE_S + 0.001)], False),
        (ACTIVE, [ended(-1.0)], True),
        (ACTIVE, [ended(-1.1)], False),
        (ACTIVE, [], False),
        (ACTIVE, [ended(5, "FAILED"), ended(9, "CRASHED")], False),
        (ACTIVE, [ended(5, "FAILED"), ended(99)], True),
        (Deployment("d", True, 1), [ended(0)], False),
        (Deployment("d", False, 0), [ended(0)], False),
    ],
)
def test_on_time(deployment: Deployment, runs: list[Run], on_time: bool) -> None:
    sight = watch(FakePrefect(a=[(deployment, runs)]))["a"]
    assert sight.on_time is on_time
    assert sight.error is None
    json.dumps(asdict(sight), allow_nan=False)


def test_a_sight_holds_what_the_reason_needs() -> None:
    runs = [ended(5, "FAILED"), ended(9, "CRASHED"), *(ended(20 + n) for n in range(20))]
    sight = watch(FakePrefect(a=[(ACTIVE, runs)]))["a"]
    assert sight.age_s == 20.0
    assert (sight.completed, sight.clock) == ("2023-11-14T22:13:00.000000Z", "orchestrator")
    assert sight.recent == {"FAILED": 1, "CRASHED": 1, "COMPLETED": RECENT - 2}


def test_the_targets_clock_serves_where_the_servers_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "utc_us", lambda: NOW_US + 7_000_000)
    sight = watch(FakePrefect(server_us=None, a=[(ACTIVE, [ended(0)])]))["a"]
    assert (sight.age_s, sight.clock) == (7.0, "target")


def test_missing_and_unreachable_are_answers_of_their_own() -> None:
    seen = watch(FakePrefect(a=[NoSuchDeployment("no a")], b=[PrefectUnreachable("down")], c=[(ACTIVE, [ended(0)])]))
    assert (seen["a"].missing, seen["a"].error) == ("no a", None)
    assert (seen["b"].missing, seen["b"].error) == (None, "down")
    assert [sight.on_time for sight in seen.values()] == [False, False, True]


def test_what_becomes_on_time_while_watched_is_on_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "POLL_INTERVAL_S", 0.01)
    looks = [NoSuchDeployment("not yet"), PrefectUnreachable("down"), (ACTIVE, []), (ACTIVE, [ended(1)])]
    server = FakePrefect(a=looks, b=[(ACTIVE, [ended(1)])])
    seen = watch(server, seconds=60)
    assert all(sight.on_time for sight in seen.values())
    assert server.asked == ["a", "b", "a", "a", "a"], "what is on time is not asked again"


def test_unseen_deployments_carry_the_reason_and_the_limits() -> None:
    section = Orchestrator("http://p/api", (Expected("a", 60.0),), ())
    (sight,) = unseen(section, 0.005, "no Prefect here")
    assert (sight.error, sight.max_age_s, sight.max_ahead_s, sight.on_time) == ("no Prefect here", 180.0, 1.005, False)

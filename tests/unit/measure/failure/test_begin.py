# SPDX-License-Identifier: Apache-2.0
"""A run that is to be hit: the next one where one was over sooner, and an end to the waiting."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.base import (
    Fault,
    FaultNotPossible,
    FaultPlan,
    Mechanism,
    Moment,
    RunOver,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.begin import hit_a_run
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.guard import FaultGuard
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.cold import ColdWatch
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import RuntimeFailure

HIT = Moment(1, 2)


class Runs:
    """A fault, its guard and its watch in one; ``story`` says what becomes of each run, the last of all others."""

    plan = FaultPlan("kill it", "log", "the run", "none", False, Mechanism.HEALED_ITSELF)

    def __init__(self, *story: str) -> None:
        self.story = list(story)
        self.waited = 0

    def await_running(self, deadline: Deadline) -> None:
        self.waited += 1
        self.now = self.story.pop(0) if len(self.story) > 1 else self.story[0]

    def check(self) -> None:
        if self.now == "gone":
            raise FaultNotPossible("there is no run", expected="one", seen="none")

    def guarded(self) -> FaultGuard:
        return cast(FaultGuard, self)

    def inject(self, what: str) -> Moment:
        if self.now == "hit":
            return HIT
        cause: Any = RunOver("it ended", expected="RUNNING", seen="COMPLETED") if self.now == "over" else OSError("no")
        raise RuntimeFailure(what, expected="a run", seen=str(cause)) from cause

    def hit(self, within_s: float) -> Moment:
        deadline = Deadline.after(within_s)
        guard, moment = hit_a_run(cast(Fault, self), self.guarded, "x", str, cast(ColdWatch, self), deadline)
        assert guard is cast(FaultGuard, self)
        return moment


def test_the_next_run_is_hit_where_one_is_gone_or_over() -> None:
    runs = Runs("gone", "over", "hit")
    assert (runs.hit(60), runs.waited) == (HIT, 3)


@pytest.mark.parametrize(("each", "error"), [("gone", FaultNotPossible), ("over", RuntimeFailure)])
def test_there_is_an_end_to_it(each: str, error: type[Exception]) -> None:
    runs = Runs(each)
    with pytest.raises(error):
        runs.hit(0)
    assert runs.waited == 1


def test_another_trouble_is_told_at_once() -> None:
    runs = Runs("broken", "hit")
    with pytest.raises(RuntimeFailure):
        runs.hit(60)
    assert runs.waited == 1

"""T3: what the topics held at T2 is committed by every group, and rows are as fresh as usual."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery import drain as drain_module
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.drain import (
    Drained,
    DrainWatch,
    fresh_again,
    t3,
    wait_drained,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.flow import FlowBound, Reading
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.model import Span
from ansible_collections.k2.hardening.plugins.module_utils.platform.broker import Batch, Extent, Partition
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import ConsumerGroup

from .simulated import At, S

P = Partition("t", 0)
GROUP = ConsumerGroup("g", "sink", ("t",))


class FakeBroker:
    """Each look takes the next (end, commit); None is a broker that does not answer."""

    def __init__(self, script, records=()):
        self._script = iter(script)
        self._now = None
        self._records = records

    def partitions(self, topics):
        return (P,)

    def extents(self, partitions):
        self._now = next(self._script)
        if self._now is None:
            raise K2Error("the broker did not tell its offsets")
        return {P: Extent(5, self._now[0])}

    def committed(self, group, partitions):
        return {P: self._now[1]}

    def read(self, partition, extent, deadline):
        found = [offset for offset in self._records if extent.low <= offset < extent.high]
        if found:
            yield Batch(found, None, None)


@pytest.fixture
def clock(monkeypatch):
    """Looks of one second each: 0..1, 2..3, 4..5 and so on."""
    ticks = itertools.count()
    monkeypatch.setattr(drain_module, "monotonic_ns", lambda: next(ticks) * S)


def watched(script, records=()) -> DrainWatch:
    watch = DrainWatch([GROUP], FakeBroker(script, records))
    for _ in script:
        watch.look()
    return watch


ZERO = At(1 * S, 1 * S)
T2 = (3 * S, 4 * S)


def test_the_target_is_what_the_topics_held_at_t2_and_not_later(clock):
    """Looks begin at 0, 2, 4...: the one at 4 sets the target, 30; that of 8 is the first that finds it committed."""
    watch = watched([(10, 10), (20, 10), (30, 12), (40, 29), (50, 30), (60, 60)])
    drained = watch.drained(T2)
    assert drained.reached
    assert drained.between_ns == (6 * S, 9 * S)
    assert drained.to_plain() == {"target": {"t": {"0": 30}}, "reached": True, "why": ""}


def test_a_backlog_that_was_never_there_is_drained_from_t2_on(clock):
    assert watched([(10, 10), (20, 20), (30, 30)]).drained(T2).between_ns == (3 * S, 5 * S)


def test_a_look_without_an_answer_counts_for_nothing(clock):
    drained = watched([(10, 10), None, None, (40, 10), None, (50, 45)]).drained(T2)
    assert drained.target == {P: Extent(5, 40)}
    assert drained.between_ns == (6 * S, 11 * S)


def test_a_group_that_never_committed_has_everything_before_it(clock):
    drained = watched([(10, None), (20, None), (60, None), (60, None)], records=range(60)).drained(T2)
    assert not drained.reached
    assert drained.why == "55 offsets from before T2 are not committed yet by g"


def test_offsets_without_a_record_are_nothing_to_wait_for(clock):
    """A transaction's mark is the last offset; no consumer ever commits beyond it while nothing follows."""
    assert watched([(10, 9), (10, 9), (10, 9), (10, 9)], records=range(9)).drained(T2).reached
    assert not watched([(10, 9), (10, 9), (10, 9), (10, 9)], records=range(10)).drained(T2).reached


def test_a_broker_that_never_came_back_leaves_no_target(clock):
    drained = watched([(10, 10), None, None, None]).drained(T2)
    assert (drained.target, drained.reached) == (None, False)
    assert "did not tell its offsets" in drained.why


def test_without_a_group_nothing_is_claimed(clock):
    assert not DrainWatch([], FakeBroker([])).drained(T2).reached


def reading(at_s, **ages):
    return Reading(int(at_s * S), int((at_s + 0.1) * S), ages)


BOUNDS = {"a": FlowBound(1.0, 3.0), "b": FlowBound(None, 60.0)}


def test_the_flow_is_back_when_the_last_exchange_was_as_fresh_as_usual():
    readings = [reading(2, a=0.1, b=1), reading(5, a=9, b=1), reading(6, a=2, b=1), reading(7, a=0.5, b=1)]
    found = fresh_again(readings, BOUNDS, T2)
    assert found == (6 * S, int(7.1 * S))
    assert fresh_again(readings[:3], BOUNDS, T2) is None
    assert fresh_again([reading(5, a=0.1)], BOUNDS, T2) is None


def test_t3_is_the_later_of_both_and_needs_both():
    drained = Drained({}, (5 * S, 8 * S), "")
    assert t3(drained, (6 * S, 7 * S), ZERO) == Span(5.0, 7.0)
    assert t3(drained, None, ZERO) is None
    assert t3(Drained({}, None, "late"), (6 * S, 7 * S), ZERO) is None


def test_waiting_ends_with_t3_or_with_the_deadline(clock):
    readings = [reading(5, a=0.5, b=1)]
    watch = watched([(10, 10), (20, 20), (30, 30)])
    drained, span = wait_drained(watch, lambda: (readings, BOUNDS), T2, ZERO, Deadline.after(5))
    assert drained.reached
    assert span == Span(2.0, pytest.approx(4.1))  # type: ignore[arg-type]
    drained, span = wait_drained(watch, lambda: ([], BOUNDS), T2, ZERO, Deadline.after(0.01))
    assert drained.reached
    assert span is None

"""Sampling: a fixed cadence, lanes that do not wait for one another, and bounds around a real service's downtime."""

from __future__ import annotations

import threading
import time

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.model import Lane, LaneKind
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.sampler import Sampler, judged
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.samplers import NotSteady, Samplers
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.timeline import outage_of
from ansible_collections.k2.hardening.plugins.module_utils.platform.probe import run_probe
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import HttpProbe

from .scripted import scripted_service
from .simulated import At, S


def lane(name="a", interval_s=0.05, timeout_s=0.5):
    return Lane(name, LaneKind.SERVICE, name, None, interval_s, timeout_s)


def well():
    return True, ""


def eventually(holds, seconds=10.0):
    deadline = Deadline.after(seconds)
    while not holds():
        assert not deadline.passed
        time.sleep(0.01)


def by_name(samplers):
    return {each.name: each.samples for each in samplers.lanes()}


def test_looks_keep_their_moments_however_long_each_takes():
    """Each takes most of the interval: a sampler that waited between looks would drift by that every time."""
    sampler = Sampler(lane(), lambda: (time.sleep(0.03), (True, ""))[1])
    began = time.monotonic_ns()
    sampler.start()
    eventually(lambda: len(sampler.lanes[0].samples) >= 20)
    sampler.stop()
    looks = sampler.lanes[0]
    due = len(looks.samples) - 1 + looks.skipped
    assert (looks.samples[-1].start_ns - began) / S == pytest.approx(due * 0.05, abs=0.1)


def test_a_look_that_takes_longer_leaves_out_those_due_meanwhile_and_counts_them():
    under_way = []
    most = []

    def slow():
        under_way.append(1)
        most.append(len(under_way))
        time.sleep(0.12)
        under_way.pop()
        return True, ""

    sampler = Sampler(lane(), slow)
    sampler.start()
    eventually(lambda: len(sampler.lanes[0].samples) >= 4)
    sampler.stop()
    assert max(most) == 1
    assert sampler.lanes[0].skipped >= 2 * 3


def test_a_lane_that_hangs_blocks_no_other_and_not_the_end():
    hang = threading.Event()
    with Samplers(
        [Sampler(lane("hangs"), lambda: (hang.wait(20), (False, ""))[1]), Sampler(lane("well"), well)]
    ) as all_:
        eventually(lambda: len(by_name(all_)["well"]) >= 5)
        assert not by_name(all_)["hangs"]
        began = time.monotonic()
    assert time.monotonic() - began < 1.0
    hang.set()


@pytest.mark.parametrize(
    ("ok", "took_s", "expected"),
    [
        (True, 0.1, (True, True)),
        (True, 0.6, (False, False)),  # too late to be a success, and no failure either
        (False, 0.1, (False, True)),
        (False, 0.6, (False, True)),
        (None, 0.1, (False, False)),
    ],
)
def test_what_a_look_shows(ok, took_s, expected):
    sample = judged(0, int(took_s * S), ok, "why", 0.5)
    assert (sample.ok, sample.proof) == expected
    assert sample.failed is (not expected[0] and expected[1])


@pytest.mark.parametrize("error", [K2Error("no runtime"), RuntimeError("a defect")])
def test_a_look_that_itself_fails_shows_nothing_and_ends_no_lane(error):
    def broken():
        raise error

    sampler = Sampler(lane(), broken)
    sampler.start()
    eventually(lambda: len(sampler.lanes[0].samples) >= 2)
    sampler.stop()
    sample = sampler.lanes[0].samples[0]
    assert not sample.ok
    assert not sample.failed
    assert str(error) in sample.error


def test_a_platform_that_is_not_steady_is_told_lane_by_lane():
    watches = [Sampler(lane("well"), well), Sampler(lane("sick"), lambda: (False, "connection refused"))]
    with Samplers(watches) as samplers, pytest.raises(NotSteady) as caught:
        samplers.wait_all_ok(3, Deadline.after(0.3))
    assert "sick: connection refused" in caught.value.seen
    assert "well" not in caught.value.seen


def test_lanes_that_must_fail_are_waited_for_until_they_have():
    began = time.monotonic()
    watch = Sampler(lane("late"), lambda: (not 0.6 < time.monotonic() - began < 0.9, "down"))
    with Samplers([watch]) as samplers:
        samplers.wait_all_ok(3, Deadline.after(5))
        zero = At(time.monotonic_ns(), time.monotonic_ns())
        seen = samplers.wait_settled(zero, 0.2, Deadline.after(10), must_fail={"late"})
    assert seen["late"].fails
    assert seen["late"].settled


@pytest.mark.parametrize("downtime_s", [0.5, 3.0])
def test_the_downtime_of_a_real_service_lies_within_its_bounds(downtime_s):
    with scripted_service() as service:
        probe = HttpProbe(f"http://127.0.0.1:{service.port}/", 200, None, 1.0)
        seen = lambda: ((found := run_probe(probe, None)).ok, found.detail)  # noqa: E731
        watched = Lane("service:s", LaneKind.SERVICE, "s", None, 0.25, 1.0)
        with Samplers([Sampler(watched, seen)]) as samplers:
            samplers.wait_all_ok(3, Deadline.after(20))
            before, down, back, up = service.down_for(downtime_s)
            zero = At(before, down)
            samplers.wait_settled(zero, 1.0, Deadline.after(20))
            found = outage_of(samplers.lanes()[0], zero, 1.0)
    assert found.fails
    assert found.upper_s is not None
    assert found.t2 is not None
    # When the kernel began to refuse, and to accept, is known to lie between two readings each.
    assert found.lower_s <= (up - before) / S
    assert found.upper_s >= (back - down) / S
    assert found.t2.low_s <= (up - before) / S
    assert found.t2.high_s >= (back - down) / S

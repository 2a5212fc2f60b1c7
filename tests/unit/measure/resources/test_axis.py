# SPDX-License-Identifier: Apache-2.0
"""One axis over holes, steps of the clock and reboots."""

from __future__ import annotations

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.axis import Moment, axis_of, wall_us

START = Moment(1_000_000_000, 50_000_000_000, "a")


def at(seconds: float, late_s: float = 0.0, boot: str = "a", monotonic_s: float | None = None) -> Moment:
    own_s = seconds if monotonic_s is None else monotonic_s
    return Moment(START.wall_us + int((seconds + late_s) * 1e6), START.monotonic_ns + int(own_s * 1e9), boot)


def test_without_trouble_it_is_the_monotonic_clock() -> None:
    axis = axis_of(START, [at(1), at(6), at(11)], 5)
    assert axis.at_s == pytest.approx((1, 6, 11))
    assert (axis.holes, axis.steps) == ((), ())


def test_a_hole_is_what_is_missing_of_it() -> None:
    (hole,) = axis_of(START, [at(0), at(5), at(25), at(30)], 5).holes
    assert (hole.at_s, hole.missing_s, hole.reboot) == (5, 15, False)


def test_a_late_look_is_no_hole() -> None:
    assert axis_of(START, [at(0), at(6.9), at(10)], 5).holes == ()


def test_a_late_first_look_is_one() -> None:
    (hole,) = axis_of(START, [at(60), at(65)], 5).holes
    assert (hole.at_s, hole.missing_s) == (0, 60)


@pytest.mark.parametrize("by_s", [-7200, -0.2, 0.2, 30])
def test_a_step_of_the_wall_clock_moves_nothing(by_s: float) -> None:
    axis = axis_of(START, [at(0), at(5), at(10, by_s), at(15, by_s)], 5)
    assert axis.at_s == pytest.approx((0, 5, 10, 15))
    assert axis.holes == ()
    (step,) = axis.steps
    assert step.by_s == pytest.approx(by_s)


def test_a_slew_is_no_step() -> None:
    assert axis_of(START, [at(5 * n, 0.0025 * n) for n in range(100)], 5).steps == ()


def test_over_a_reboot_the_wall_clock_counts_and_all_of_it_is_a_hole() -> None:
    axis = axis_of(START, [at(0), at(5), at(100, boot="b", monotonic_s=-40), at(105, boot="b", monotonic_s=-35)], 5)
    assert axis.at_s == pytest.approx((0, 5, 100, 105))
    (hole,) = axis.holes
    assert (hole.missing_s, hole.reboot) == (90, True)
    assert axis.steps == ()


def test_a_clock_that_went_back_over_a_reboot_makes_no_time_negative() -> None:
    assert axis_of(START, [at(50), at(10, boot="b", monotonic_s=0)], 5).at_s == pytest.approx((50, 50))


def test_times_are_read_to_the_microsecond() -> None:
    assert wall_us("1970-01-02T00:00:00.000007Z") == 86_400_000_007
    with pytest.raises(ValueError, match="does not match"):
        wall_us("yesterday")

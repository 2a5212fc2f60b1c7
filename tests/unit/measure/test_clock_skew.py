"""Skew bounds contain the truth whatever the network does."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.clock_skew import (
    MAX_READINGS,
    MIN_READINGS,
    Bracket,
    bound_skew,
    measure_skew,
)

DELAYS = st.tuples(st.integers(0, 500_000), st.integers(0, 500_000))


@given(
    skew_us=st.integers(-10_000_000, 10_000_000),
    delays=st.lists(DELAYS, min_size=1, max_size=8),
    resolution=st.sampled_from([1, 1000, 1_000_000]),
)
def test_the_true_skew_lies_within_the_bounds(skew_us, delays, resolution):
    now = 1_700_000_000_000_000
    brackets = []
    for there, back in delays:
        remote = now + there + skew_us
        brackets.append(Bracket(now, remote - remote % resolution, now + there + back, resolution))
        now += there + back + 1_000
    skew = bound_skew("remote", brackets)
    assert skew.error is None
    assert skew.low_ms <= skew_us / 1000 <= skew.high_ms
    least, most = skew.magnitude_ms
    assert least <= abs(skew_us) / 1000 <= most


def test_more_readings_only_narrow():
    brackets = [Bracket(0, 50, 100), Bracket(1000, 1010, 1020), Bracket(2000, 2300, 2900)]
    widths = []
    for count in (1, 2, 3):
        skew = bound_skew("remote", brackets[:count])
        widths.append(skew.high_ms - skew.low_ms)
    assert widths == sorted(widths, reverse=True)


def test_a_step_of_the_clock_gives_an_error_not_a_number():
    skew = bound_skew("remote", [Bracket(0, 5, 10), Bracket(1000, 6000, 1010)])
    assert skew.magnitude_ms is None
    assert "moved against ours" in skew.error


def test_no_reading_gives_an_error():
    assert bound_skew("remote", []).error


def test_an_unreadable_clock_is_reported():
    def unreadable() -> int:
        raise K2Error("connection refused")

    skew = measure_skew("remote", unreadable, 5.0, Deadline.after(1.0))
    assert (skew.n, skew.magnitude_ms, skew.error) == (0, None, "connection refused")


def test_our_own_clock_has_no_skew():
    skew = measure_skew("self", lambda: time.time_ns() // 1000, 5.0, Deadline.after(1.0))
    assert skew.magnitude_ms[0] == pytest.approx(0.0)
    assert skew.n == MIN_READINGS


def test_it_reads_on_until_a_quick_answer_settles_the_question():
    delays = iter([0.02] * 7 + [0.0] * 100)

    def slow() -> int:
        now = time.time_ns() // 1000
        time.sleep(next(delays))
        return now

    assert measure_skew("slow at first", slow, 15.0, Deadline.after(10.0)).n == 8


def test_what_cannot_be_settled_ends_all_the_same():
    skew = measure_skew("on the edge", lambda: time.time_ns() // 1000, 0.0, Deadline.after(10.0))
    assert skew.n == MAX_READINGS

"""The true outage lies within the bounds, whatever the phase of the samples and however slow a look was."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.model import Sample, Span
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.timeline import Outage, outage

from .simulated import At, S, Sampling, sampled

ZERO = At(10 * S, 10 * S)


def looks(text: str, *, begin_s: float = 8.0, step_s: float = 1.0, took_s: float = 0.1) -> list[Sample]:
    """One sample a second from 8 s on: + OK, - FAIL, ? shows nothing, a blank is no sample; zero is at 10 s."""
    return [
        Sample(
            int((begin_s + i * step_s) * S), int((begin_s + i * step_s + took_s) * S), sign == "+", proof=sign != "?"
        )
        for i, sign in enumerate(text)
        if sign != " "
    ]


def of(text: str, settle_s: float = 3.0, **more) -> Outage:
    return outage(looks(text), ZERO, settle_s=settle_s, hole_s=1.5, **more)


def about(low: float, high: float) -> Span:
    return Span(pytest.approx(low), pytest.approx(high))  # type: ignore[arg-type]


def test_bounds_use_the_far_and_near_ends_of_samples():
    """OK at 8 and 9, FAIL at 10, 11 and 12, OK from 13 on; each took 0.1 s."""
    found = of("++---++++++")
    assert found.lower_s == pytest.approx(12.0 - 10.1)
    assert found.upper_s == pytest.approx(13.1 - 9.0)
    assert found.symptom == about(0.0, 0.1)
    assert found.t1 == found.t2 == about(2.0, 3.1)
    assert (found.fails, found.n, found.settled, found.relapsed) == (3, 11, True, False)
    assert found.shorter_than_s is None


def test_the_uncertainty_of_zero_widens_every_span():
    found = outage(looks("+++---++++++"), At(10 * S, int(10.5 * S)), settle_s=3.0)
    assert found.symptom == about(0.0, 1.1)
    assert found.t2 == about(2.5, 4.1)


def test_a_single_fail_has_no_lower_bound():
    found = of("+++-++++++")
    assert found.lower_s == 0.0
    assert found.upper_s == pytest.approx(2.1)


def test_a_look_that_hung_until_its_timeout_counts_with_both_ends():
    """It began while all was well and ended after the service had returned."""
    samples = [*looks("+++"), Sample(11 * S, 16 * S, False, "no answer in time"), *looks("++++++", begin_s=17)]
    found = outage(samples, ZERO, settle_s=3.0)
    assert found.lower_s == 0.0
    assert found.upper_s == pytest.approx(17.1 - 10.0)
    assert found.t1 == about(1.0, 7.1)


def test_without_a_fail_the_outage_was_shorter_than_two_successes_with_the_time_between():
    found = of("+++++++++")
    assert found.shorter_than_s == pytest.approx(1.1)
    assert (found.symptom, found.upper_s, found.t1, found.t2, found.fails) == (None, None, None, None, 0)
    assert found.settled


def test_a_hole_is_no_success_even_without_a_fail():
    assert of("+++   +++++++").shorter_than_s == pytest.approx(4.1)


def test_a_look_that_shows_nothing_is_no_success_and_proves_no_failure():
    found = of("++++??+++++++")
    assert (found.fails, found.lower_s, found.symptom) == (0, 0.0, None)
    assert found.shorter_than_s == pytest.approx(3.1)


def test_what_shows_nothing_beside_fails_widens_the_upper_bound_only():
    found = of("+++?--?++++++++")
    assert found.lower_s == pytest.approx(13.0 - 12.1)
    assert found.upper_s == pytest.approx(15.1 - 10.0)
    assert found.t2 == about(3.0, 5.1)


@pytest.mark.parametrize("text", ["++++??", "+++", "", "    ++++++"])
def test_nothing_is_claimed_of_a_lane_that_was_not_watched_from_before_to_after(text):
    assert outage(looks(text), At(11 * S, 12 * S), settle_s=3.0).shorter_than_s is None


def test_never_back_has_a_lower_bound_and_no_upper():
    found = of("+++---------")
    assert found.lower_s == pytest.approx(19.0 - 11.1)
    assert found.not_before_s == pytest.approx(9.0)
    assert (found.upper_s, found.t1, found.t2, found.settled) == (None, None, None, False)


def test_never_seen_up_before_has_no_upper_bound_and_no_symptom():
    found = of("-----++++++++")
    assert (found.symptom, found.upper_s) == (None, None)
    assert found.lower_s == pytest.approx(12.0 - 10.1)
    assert found.t2 == about(2.0, 3.1)


def test_what_failed_before_the_fault_is_no_part_of_it():
    found = outage(looks("-+++--++++++++"), At(11 * S, 11 * S), settle_s=3.0)
    assert found.fails == 2
    assert found.upper_s == pytest.approx(14.1 - 11.0)


def test_a_short_success_is_t1_and_not_t2():
    found = of("+++--+--++++++++")
    assert found.t1 == about(2.0, 3.1)
    assert found.t2 == about(5.0, 6.1)
    assert found.lower_s == pytest.approx(15.0 - 11.1)
    assert found.upper_s == pytest.approx(16.1 - 10.0)


def test_five_successes_that_come_quickly_are_not_yet_settled():
    samples = [*looks("++-"), *looks("+++++", begin_s=11, step_s=0.2)]
    assert not outage(samples, ZERO, settle_s=2.0).settled
    assert outage(samples, ZERO, settle_s=0.5).settled


def test_few_successes_over_a_long_time_are_not_yet_settled():
    assert not of("++--++++").settled
    assert of("++--+++++").settled


def test_a_hole_ends_a_window_of_successes():
    """Up since 12 at the earliest all the same: a hole does not show that it was down."""
    found = of("+++--+++   +++++++")
    assert found.t1 == about(2.0, 3.1)
    assert found.t2 == about(2.0, 9.1)
    assert found.upper_s == pytest.approx(19.1 - 10.0)


def test_a_hole_ahead_of_the_first_fail_may_have_been_the_outage_already():
    found = of("+++   +--++++++++")
    assert found.symptom == about(0.0, 5.1)
    assert found.upper_s == pytest.approx(17.1 - 10.0)


def test_failing_again_after_it_had_settled_is_a_relapse_and_part_of_the_outage():
    found = of("+++--+++++++-+++++++")
    assert found.relapsed
    assert found.t2 == about(2.0, 3.1)
    assert found.lower_s == pytest.approx(20.0 - 11.1)
    assert found.upper_s == pytest.approx(21.1 - 10.0)
    assert found.not_before_s == pytest.approx(10.0)


class TestFromTheHeal:
    """The cut began at 10 s and was ended at 14 s."""

    HEAL = At(14 * S, 14 * S)

    def of(self, text):
        return outage(looks(text), self.HEAL, settle_s=3.0, onset=ZERO, hole_s=1.5)

    def test_spans_count_from_the_heal_and_the_symptom_lies_before_it(self):
        found = self.of("+++-----++++++++")
        assert found.symptom == about(-4.0, -2.9)
        assert found.t1 == found.t2 == about(1.0, 2.1)
        assert found.lower_s == pytest.approx(15.0 - 11.1)

    def test_a_lane_that_was_back_before_the_heal_took_no_time_after_it(self):
        found = self.of("+++--++++++++++")
        assert found.t2 == about(0.0, 0.1)
        assert found.upper_s == pytest.approx(13.1 - 10.0)

    def test_being_well_until_the_heal_does_not_count_as_settled(self):
        found = outage(looks("++-++++++++++-++++++++"), At(20 * S, 20 * S), settle_s=3.0, onset=ZERO)
        assert found.t2 == about(1.0, 2.1)
        assert not found.relapsed


def holds(low: float, truth: float, high: float) -> bool:
    return low - 1e-9 <= truth <= high + 1e-9


def check_one_downtime(down_ns: int, up_ns: int, how: Sampling, rng: random.Random) -> Outage:
    """The fault is injected within 50 ms ahead of the downtime; the bracket holds the injection."""
    injected = down_ns - int(rng.random() * 0.05 * S)
    zero = At(injected - int(rng.random() * 0.02 * S), injected + int(rng.random() * 0.02 * S))
    samples = sampled([(down_ns, up_ns)], how, up_ns + 30 * S, rng)
    found = outage(samples, zero, settle_s=2.0, hole_s=2 * how.interval_s)
    truth_s, back_s = (up_ns - down_ns) / S, (up_ns - injected) / S
    if not found.fails:
        assert found.shorter_than_s is not None or not found.settled
        if found.shorter_than_s is None:
            return found
        assert truth_s <= found.shorter_than_s
        return found
    assert found.upper_s is not None
    assert holds(found.lower_s, truth_s, found.upper_s)
    assert found.symptom is not None
    assert holds(found.symptom.low_s, (down_ns - injected) / S, found.symptom.high_s)
    assert found.t1 is not None
    assert holds(found.t1.low_s, back_s, found.t1.high_s)
    # Of looks that show nothing there may be too many for a window of successes.
    assert found.settled or how.late or how.lost
    if found.t2 is not None:
        assert holds(found.t2.low_s, back_s, found.t2.high_s)
    assert found.not_before_s <= back_s
    assert not found.relapsed
    return found


samplings = st.builds(
    Sampling,
    interval_s=st.sampled_from([0.25, 0.5, 1.0]),
    phase_s=st.floats(0, 1),
    slowest_s=st.floats(0.001, 1.5),
    timeout_s=st.floats(0.5, 3),
    hang=st.sampled_from([0.0, 0.3, 1.0]),
    late=st.sampled_from([0.0, 0.1]),
    lost=st.sampled_from([0.0, 0.1]),
)


@settings(max_examples=300, deadline=None)
@given(how=samplings, downtime_s=st.floats(0, 20), seed=st.integers(0, 2**32))
def test_one_downtime_lies_within_its_bounds(how, downtime_s, seed):
    check_one_downtime(10 * S, 10 * S + int(downtime_s * S), how, random.Random(seed))


def test_a_thousand_downtimes_lie_within_bounds_as_narrow_as_four_looks():
    rng = random.Random(20260716)
    for _ in range(1000):
        how = Sampling(0.25, rng.random(), 0.05, 1.0)
        downtime_s = rng.choice([0.5, 3.0, 12.0])
        down = int((10 + rng.random()) * S)
        found = check_one_downtime(down, down + int(downtime_s * S), how, rng)
        assert found.upper_s is not None
        assert found.upper_s - found.lower_s < 4 * (0.25 + 0.05 + 0.02)


@settings(max_examples=200, deadline=None)
@given(
    how=st.builds(Sampling, st.just(0.25), st.floats(0, 0.25), st.floats(0.001, 0.2), st.just(1.0)),
    parts=st.lists(st.tuples(st.floats(1.0, 4.0), st.floats(0.5, 1.9)), min_size=2, max_size=5),
    seed=st.integers(0, 2**32),
)
def test_flapping_counts_from_the_first_fall_to_the_last_rise(how, parts, seed):
    """Each time down is long enough to be seen, each time up too short to be settled."""
    downs, at = [], 10 * S
    for down_s, up_s in parts:
        downs.append((at, at + int(down_s * S)))
        at += int((down_s + up_s) * S)
    samples = sampled(downs, how, at + 30 * S, random.Random(seed))
    found = outage(samples, ZERO, settle_s=2.0, hole_s=0.5)
    first, last = downs[0][0], downs[-1][1]
    assert found.upper_s is not None
    assert found.t2 is not None
    assert holds(found.lower_s, (last - first) / S, found.upper_s)
    assert holds(found.t2.low_s, (last - 10 * S) / S, found.t2.high_s)


@settings(max_examples=200, deadline=None)
@given(how=samplings, seed=st.integers(0, 2**32), held_s=st.floats(5, 30), lag_s=st.floats(0, 10))
def test_recovery_after_a_heal_lies_within_its_bounds(how, seed, held_s, lag_s):
    rng = random.Random(seed)
    heal = 10 * S + int(held_s * S)
    up = heal + int(lag_s * S)
    samples = sampled([(10 * S, up)], how, up + 30 * S, rng)
    zero = At(heal - int(rng.random() * 0.1 * S), heal + int(rng.random() * 0.1 * S))
    found = outage(samples, zero, settle_s=2.0, onset=ZERO, hole_s=2 * how.interval_s)
    if found.t2 is not None:
        assert holds(found.t2.low_s, lag_s, found.t2.high_s + 1e-6)

# SPDX-License-Identifier: Apache-2.0
"""S2.<service>.growth: bounds of a slope hold the truth, a leak is seen, and what is freed again is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import lfilter

from ansible_collections.k2.hardening.plugins.module_utils.verdict.growth import NEEDED, bound_growth, minima, needed_s

DAY = 138  # stretches of ten minutes in a day without its first hour
RUNS = 300
Series = Callable[[np.random.Generator, int], np.ndarray]


def remembering(share: float) -> Series:
    """Each value keeps ``share`` of the last."""
    return lambda rng, n: lfilter([1], [1, -share], rng.normal(size=n + 300))[300:]


def sawtooth(period: int) -> Series:
    def make(rng: np.random.Generator, n: int) -> np.ndarray:
        return ((np.arange(n) + rng.uniform(0, period)) % period) / period * 3 + rng.normal(size=n) * 0.2

    return make


def heavy(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.asarray(np.exp(remembering(0.7)(rng, n) * 0.5))


KINDS = {
    "independent": remembering(0.0),
    "half remembered": remembering(0.5),
    "long remembered": remembering(0.8),
    "heavy tails": heavy,
    "short sawtooth": sawtooth(6),
    "long sawtooth": sawtooth(40),
}


@pytest.mark.parametrize("slope", [0.0, 0.02])
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_of_a_day_hold_the_truth(kind: str, slope: float) -> None:
    """930 of 1,000 at least; with 300 runs a method of 95 % is below that once in 10,000 times."""
    at_s = np.arange(DAY) * 600.0
    held = 0
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        values = 1000.0 + KINDS[kind](rng, DAY) + slope * np.arange(DAY)
        growth = bound_growth(at_s, values, at_s[-1])
        held += growth.low <= slope / 600.0 <= growth.high
    assert held / RUNS >= 0.93 - 0.02, f"{held} of {RUNS}"


@pytest.mark.parametrize("kind", ["independent", "half remembered", "heavy tails"])
def test_bounds_of_the_shortest_window_hold_it_too(kind: str) -> None:
    at_s = np.arange(NEEDED) * 600.0
    held = 0
    for seed in range(RUNS):
        growth = bound_growth(at_s, 1000.0 + KINDS[kind](np.random.default_rng(seed), NEEDED), at_s[-1])
        held += growth.low <= 0 <= growth.high
    assert held / RUNS >= 0.91, f"{held} of {RUNS}"


def test_independent_resampling_would_not() -> None:
    """What blocks are for: the same series, without them."""
    held = 0
    at_s = np.arange(DAY, dtype=float)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = remembering(0.8)(rng, DAY)
        slope, middle = np.polyfit(at_s, values, 1)
        residuals = values - slope * at_s - middle
        slopes = [np.polyfit(at_s, rng.choice(residuals, DAY), 1)[0] for _ in range(100)]
        held += abs(slope) <= 1.96 * np.std(slopes)
    assert held < 75


def test_minima_leave_out_the_warm_up_and_a_stretch_that_is_not_whole() -> None:
    at_s = np.arange(0, 3600 + 1300, 5.0)
    values = np.where(at_s < 3600, 1.0, at_s)
    times, least = minima(at_s, values)
    assert times.tolist() == [3900.0, 4500.0]
    assert least.tolist() == [3600.0, 4200.0]


def test_minima_pass_over_what_is_not_known() -> None:
    at_s = np.arange(0, 3600 + 1800 + 1, 5.0)
    values = np.full(len(at_s), 7.0)
    values[(at_s >= 4200) & (at_s < 4800)] = np.nan
    times, _ = minima(at_s, values)
    assert times.tolist() == [3900.0, 5100.0]


def test_too_few_stretches_bound_nothing() -> None:
    with pytest.raises(ValueError, match="fewer than"):
        bound_growth(np.arange(NEEDED - 1) * 600.0, np.ones(NEEDED - 1), 1e5)
    assert needed_s() == 3600 + NEEDED * 600


def test_a_constant_does_not_grow() -> None:
    growth = bound_growth(np.arange(DAY) * 600.0, np.full(DAY, 5e8), 82200.0)
    assert (growth.slope, growth.low, growth.high) == (0.0, 0.0, 0.0)

# SPDX-License-Identifier: Apache-2.0
"""MSER-5: where it cuts, and that it never cuts more than half."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.warm_up import BATCH, mser5


def by_definition(observations: list[float]) -> int:
    """White's statistic for each truncation point, written down as it stands in the paper."""
    means = [sum(observations[i : i + BATCH]) / BATCH for i in range(0, len(observations) // BATCH * BATCH, BATCH)]
    best = (float("inf"), 0)
    for cut in range(len(means) // 2 + 1):
        kept = means[cut:]
        if kept:
            mean = sum(kept) / len(kept)
            best = min(best, (sum((value - mean) ** 2 for value in kept) / len(kept) ** 2, cut))
    return best[1] * BATCH


@pytest.mark.parametrize(
    ("observations", "cut"),
    [
        ([], 0),
        ([1.0] * 4, 0),
        ([1.0] * 200, 0),
        ([900.0] * 20 + [50.0] * 180, 20),
        ([900.0] * 23 + [50.0] * 177, 25),
        ([50.0] * 180 + [900.0] * 20, 0),
    ],
)
def test_it_cuts_what_differs_at_the_beginning_only(observations: list[float], cut: int) -> None:
    assert mser5(observations) == cut


def test_a_decaying_transient_is_cut() -> None:
    chance = random.Random(7)
    observations = [50 + 800 * 0.9**i + chance.gauss(0, 5) for i in range(600)]
    assert 25 <= mser5(observations) <= 100


@given(st.lists(st.integers(0, 5000).map(float), max_size=120))
def test_it_is_the_published_statistic_over_the_first_half(observations: list[float]) -> None:
    cut = mser5(observations)
    assert cut % BATCH == 0
    assert cut <= len(observations) / 2 + BATCH
    expected = by_definition(observations)
    # Equal statistics may differ by rounding: then the cuts are as good as each other.
    assert cut == expected or statistic(observations, cut) == pytest.approx(statistic(observations, expected), abs=1e-6)


def statistic(observations: list[float], cut: int) -> float:
    kept = [sum(observations[i : i + BATCH]) / BATCH for i in range(cut, len(observations) // BATCH * BATCH, BATCH)]
    mean = sum(kept) / len(kept)
    return sum((value - mean) ** 2 for value in kept) / len(kept) ** 2

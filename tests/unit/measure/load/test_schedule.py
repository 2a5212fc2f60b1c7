# SPDX-License-Identifier: Apache-2.0
"""Times come from seed and rate alone, and the shares of a schedule are the schedule."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.schedule import (
    WHOLE,
    Arrivals,
    Schedule,
    Share,
    draw,
)

EXCHANGES = ("a", "b", "c")


def rows(schedule: Schedule) -> list[tuple[int, int, int, int]]:
    return list(zip(schedule.numbers, schedule.due_us, schedule.exchange, schedule.sequences, strict=True))


@pytest.mark.parametrize("arrivals", Arrivals)
def test_the_same_seed_makes_the_same_load(arrivals: Arrivals) -> None:
    first = draw(EXCHANGES, 200.0, 5.0, arrivals, 3, WHOLE)
    assert rows(first) == rows(draw(EXCHANGES, 200.0, 5.0, arrivals, 3, WHOLE))
    assert list(first.due_us) == sorted(first.due_us)
    assert 0 <= first.due_us[0] <= first.due_us[-1] < 5_000_000
    assert sum(first.counts().values()) == len(first)


def test_another_seed_makes_another_poisson_load_of_the_same_rate() -> None:
    one, other = (draw(EXCHANGES, 1000.0, 10.0, Arrivals.POISSON, seed, WHOLE) for seed in (1, 2))
    assert rows(one) != rows(other)
    for schedule in (one, other):
        assert 9_500 < len(schedule) < 10_500  # five standard deviations
        assert all(3_000 < count < 3_700 for count in schedule.counts().values())


def test_constant_gaps_are_exact_and_dealt_in_turn() -> None:
    schedule = draw(EXCHANGES, 3.0, 2.0, Arrivals.CONSTANT, 1, WHOLE)
    assert list(schedule.due_us) == [166_667, 500_000, 833_333, 1_166_667, 1_500_000, 1_833_333]
    assert list(schedule.exchange) == [0, 1, 2, 0, 1, 2]
    assert list(schedule.sequences) == [1, 1, 1, 2, 2, 2]
    assert schedule.counts(4) == {"a": 2, "b": 1, "c": 1}


@settings(max_examples=50, deadline=None)
@given(
    of=st.integers(1, 7),
    seed=st.integers(0, 10**6),
    rate=st.floats(20, 400),
    arrivals=st.sampled_from(Arrivals),
    exchanges=st.integers(1, 4),
)
def test_all_shares_together_are_the_whole_load_each_record_once(
    of: int, seed: int, rate: float, arrivals: Arrivals, exchanges: int
) -> None:
    names = EXCHANGES[:exchanges]
    whole = rows(draw(names, rate, 1.0, arrivals, seed, WHOLE))
    shares = [rows(draw(names, rate, 1.0, arrivals, seed, Share(index, of))) for index in range(of)]
    assert sorted(row for share in shares for row in share) == whole
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("rate", "seconds", "says"), [(1e6, 3600.0, "too large"), (0.001, 0.5, "send nothing")])
def test_absurd_loads_are_refused(rate: float, seconds: float, says: str) -> None:
    with pytest.raises(K2Error, match=says):
        draw(EXCHANGES, rate, seconds, Arrivals.CONSTANT, 1, WHOLE)

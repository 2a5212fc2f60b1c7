# SPDX-License-Identifier: Apache-2.0
"""Bounds of a p99 hold the truth at least 930 times in 1,000, whatever blocks, tails and stalls do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.model import EXCEEDING_LEVELS, LEVELS
from ansible_collections.k2.hardening.plugins.module_utils.verdict.quantiles import (
    QuantileBounds,
    Sample,
    bound_quantile,
    needed_for_upper_bound,
)

RUNS = 1000
BLOCKS_PER_S = 10
Floats = np.ndarray
Process = Callable[[np.random.Generator], tuple[Floats, Floats, Floats]]


def sample_of(values: Floats, blocks: Floats, seconds: Floats) -> Sample:
    """As k2_latency would tell of values (ms), the insert block of each, and the second it began in."""
    ordered = np.sort(values)
    places = [max(0, math.ceil(level * len(ordered) - 1e-9) - 1) for level in LEVELS]
    at = tuple(float(ordered[place]) for place in places)
    _, sizes = np.unique(blocks, return_counts=True)
    length = int(seconds.max()) + 1
    above = {}
    for level in EXCEEDING_LEVELS:
        threshold = ordered[max(0, math.ceil(level * len(ordered) - 1e-9) - 1)]
        counts = np.bincount(seconds, minlength=length)
        hits = np.bincount(seconds, weights=values > threshold, minlength=length)
        above[level] = [(int(n), int(k)) for n, k in zip(counts, hits, strict=True)]
    return Sample(len(values), float((sizes**2).sum()), LEVELS, at, at, above)


def blocks_of(sizes: Floats) -> tuple[Floats, Floats]:
    blocks = np.repeat(np.arange(len(sizes)), sizes)
    return blocks, blocks // BLOCKS_PER_S


def heavy_tail(generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """A slow block makes all its values slow, with a tail that has no fourth moment."""
    blocks, seconds = blocks_of(generator.poisson(12, 700))
    slowness = generator.lognormal(3.9, 0.6, 700)[blocks]
    return slowness * (1 + 0.3 * generator.pareto(3, len(blocks))), blocks, seconds


def unequal_blocks(generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Some blocks hold a hundred times as many values as others."""
    blocks, seconds = blocks_of(1 + generator.poisson(8 * np.clip(generator.pareto(1.5, 2500), 0, 30)))
    return generator.lognormal(3.9, 0.4, 2500)[blocks] + generator.uniform(0, 50, len(blocks)), blocks, seconds


def stall(generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Two seconds in which nothing is committed, once in two minutes; then all that waited comes in one block."""
    blocks, seconds = blocks_of(generator.poisson(12, 1200))
    values = generator.lognormal(3.9, 0.3, 1200)[blocks] + generator.uniform(0, 50, len(blocks))
    begin = generator.integers(0, 1200 - 2 * BLOCKS_PER_S)
    waiting = (blocks >= begin) & (blocks < begin + 2 * BLOCKS_PER_S)
    values = np.where(waiting, values + (begin + 2 * BLOCKS_PER_S - blocks) * 1000 / BLOCKS_PER_S, values)
    return values, np.where(waiting, begin, blocks), seconds


def few_per_block(generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """One exchange of three at the lowest load: hardly more than one value in a block."""
    blocks, seconds = blocks_of(generator.poisson(1.4, 1200))
    return generator.lognormal(3.9, 0.5, 1200)[blocks] + generator.uniform(0, 50, len(blocks)), blocks, seconds


@pytest.mark.parametrize("process", [heavy_tail, unequal_blocks, stall, few_per_block])
def test_the_interval_holds_the_truth(process: Process) -> None:
    generator = np.random.default_rng(20260219)
    truth = np.quantile(np.concatenate([process(generator)[0] for _ in range(500)]), 0.99)
    covered = bounded = 0
    for _ in range(RUNS):
        bounds = bound_quantile(sample_of(*process(generator)), 0.99)
        covered += (bounds.low is None or bounds.low <= truth) and (bounds.high is None or bounds.high >= truth)
        bounded += bounds.high is not None
    assert covered >= 930
    # An interval that is always open would hold the truth too.
    assert bounded >= 0.7 * RUNS


def test_taking_values_of_a_block_for_independent_would_not_hold_it() -> None:
    """The simulation can tell a wrong method from a right one."""
    generator = np.random.default_rng(7)
    truth = np.quantile(np.concatenate([heavy_tail(generator)[0] for _ in range(500)]), 0.99)
    missed = 0
    for _ in range(200):
        told = sample_of(*heavy_tail(generator))
        bounds = bound_quantile(replace(told, sum_squares=told.n, above={}), 0.99)
        assert bounds.low is not None
        assert bounds.high is not None
        missed += not bounds.low <= truth <= bounds.high
    assert missed > 60


def independent(values: list[float], beyond: int = 0) -> Sample:
    """Values as they are, each in a block of its own."""
    ordered = sorted(values)
    at = tuple(ordered[max(0, math.ceil(level * len(ordered) - 1e-9) - 1)] for level in LEVELS)
    return Sample(len(ordered), len(ordered), LEVELS, at, at, {}, beyond)


def test_an_upper_bound_of_p99_needs_368_independent_values() -> None:
    assert needed_for_upper_bound(0.99) == 368
    assert needed_for_upper_bound(0.99, confidence=0.90) == 299
    assert bound_quantile(independent([float(i) for i in range(367)]), 0.99).high is None
    assert bound_quantile(independent([float(i) for i in range(368)]), 0.99).high == 367.0


def test_twelve_trades_bound_nothing() -> None:
    bounds = bound_quantile(independent([float(i) for i in range(12)]), 0.99)
    assert (bounds.low, bounds.high) == (None, None) or bounds.high is None


def test_values_that_nobody_saw_arrive_count_as_slow() -> None:
    values = [float(i) for i in range(2000)]
    without, with_some = bound_quantile(independent(values), 0.99), bound_quantile(independent(values, 5), 0.99)
    assert without.high is not None
    assert with_some.high is not None
    assert with_some.high > without.high
    assert bound_quantile(independent(values, 30), 0.99).high is None


def test_no_values_give_no_bounds() -> None:
    assert bound_quantile(Sample(0, 0, (), (), (), {}), 0.99) == QuantileBounds(0.99, None, None, None, 0.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=400, max_size=900), st.sampled_from([0.5, 0.95, 0.99]))
def test_bounds_enclose_the_estimate(values: list[float], level: float) -> None:
    bounds = bound_quantile(independent(values), level)
    assert bounds.estimate is not None
    assert bounds.low is None or bounds.low <= bounds.estimate
    assert bounds.high is None or bounds.high >= bounds.estimate

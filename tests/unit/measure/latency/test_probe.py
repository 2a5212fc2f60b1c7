# SPDX-License-Identifier: Apache-2.0
"""What probes tell: when which row became visible, however the counts began."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.probe import Change, Probe, changes, offsets


def probe(at_us: int, shown: int, rows: int, tier: str = "odds") -> Probe:
    return Probe(at_us, at_us + 10, {(tier, "ascot"): shown}, {"ascot": rows})


def test_rows_became_visible_between_the_probe_before_and_the_first_that_shows_them() -> None:
    probes = [probe(100, 7, 0), probe(200, 7, 3), probe(300, 10, 3), probe(400, 10, 3)]
    assert offsets(probes, ["odds"]) == {("odds", "ascot"): -7}
    assert changes(probes, ["odds"], 50) == [Change("ascot", 3, 200, 310)]


def test_what_the_first_probe_shows_was_written_after_the_beginning() -> None:
    assert changes([probe(100, 2, 2), probe(200, 2, 2)], ["odds"], 50) == [Change("ascot", 2, 50, 110)]


def test_all_tables_have_to_show_a_row() -> None:
    early, late = {("a", "ascot"): 0, ("b", "ascot"): 0}, {("a", "ascot"): 1, ("b", "ascot"): 0}
    both = {("a", "ascot"): 1, ("b", "ascot"): 1}
    probes = [
        Probe(at, at + 10, candles, {"ascot": rows})
        for at, candles, rows in ((100, early, 0), (200, late, 1), (300, both, 1))
    ]
    assert changes(probes, ["a", "b"], 50) == [Change("ascot", 1, 200, 310)]
    assert changes(probes, ["a"], 50) == [Change("ascot", 1, 100, 210)]


@given(
    base=st.integers(0, 1000),
    commits=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 500), st.integers(0, 80)), min_size=1, max_size=30),
    pauses=st.lists(st.integers(20, 200), min_size=5, max_size=60),
)
def test_the_bounds_hold_the_truth(base: int, commits: list[tuple[int, int, int]], pauses: list[int]) -> None:
    """Blocks are written one after the other and committed a while later; probes come at times of their own."""
    now, total = 1_000, 0
    blocks = []
    for rows, gap, lag in commits:
        now += gap
        total += rows
        blocks.append((total, now, now + lag))
        now += lag
    end = max(now + 1_000, 1_000 + sum(pauses) + 1_000)
    times, at = [], 1_000
    for pause in pauses:
        times.append(at)
        at += pause
    times += [end, end + 100]
    probes = [
        Probe(
            at,
            at + 10,
            {("odds", "ascot"): base + max((n for n, _, committed in blocks if committed <= at + 5), default=0)},
            {"ascot": max((n for n, written, _ in blocks if written <= at + 10), default=0)},
        )
        for at in times
    ]
    found = changes(probes, ["odds"], 1_000)
    assert found[-1].visible == total
    for count, _, committed in blocks:
        change = next(each for each in found if each.visible >= count)
        assert change.low_us <= committed <= change.high_us

# SPDX-License-Identifier: Apache-2.0
"""Sketches keep their promise of 1 %, and merging them is pooling the values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.measure.load import sketch as sketch_module
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.result import (
    Counts,
    LoadResult,
    LoadResultError,
    merge_loads,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.schedule import Arrivals, Share
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.sketch import (
    Sketch,
    SketchError,
    SketchLibraryMissing,
)

VALUES = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e6)), min_size=1, max_size=200)


def sketch_of(values: Sequence[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(VALUES, min_size=1, max_size=4), level=st.floats(0, 1))
def test_merged_is_pooled_and_within_one_percent(parts: list[list[float]], level: float) -> None:
    merged = Sketch()
    for part in parts:
        merged.merge(Sketch.from_plain(json.loads(json.dumps(sketch_of(part).to_plain()))))
    pooled = sorted(value for part in parts for value in part)
    assert merged.to_plain()["bins"] == sketch_of(pooled).to_plain()["bins"]
    assert (merged.count, merged.quantile(0.0), merged.quantile(1.0)) == (len(pooled), pooled[0], pooled[-1])
    estimate = merged.quantile(level)
    rank = level * (len(pooled) - 1)
    assert estimate is not None
    assert pooled[int(rank)] * 0.9899 <= estimate <= pooled[min(int(rank) + 1, len(pooled) - 1)] * 1.0101


def test_no_values_have_no_quantile() -> None:
    empty = Sketch.from_plain(Sketch().to_plain())
    assert (empty.count, empty.quantile(0.5), empty.to_plain()["min"]) == (0, None, None)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_what_is_no_duration_is_refused(value: float) -> None:
    with pytest.raises(SketchError, match="a number from 0"):
        Sketch().add(value)


@pytest.mark.parametrize(
    "changed",
    [{"relative_accuracy": 0.02}, {"bins": {"x": 1}}, {"bins": None}, {"count": 5}, {"zeros": "many"}],
)
def test_what_is_no_sketch_of_ours_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(SketchError):
        Sketch.from_plain({**sketch_of([1.0, 2.0]).to_plain(), **changed})


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"no module {name}")

    monkeypatch.setattr(sketch_module.importlib, "import_module", missing)
    with pytest.raises(SketchLibraryMissing, match="pip install ddsketch"):
        Sketch()


def share(index: int, of: int = 2, **changed: Any) -> LoadResult:
    result = LoadResult(
        source="file", load="5x", rate=100.0, seconds=1.0, arrivals=Arrivals.POISSON, seed=1, share=Share(index, of),
        start_us=10, end_us=1_000_010, ended_us=1_000_000 + index, scheduled=50, sent=49, unsent=1, acked=48,
        errors={"timed out": 1}, exchanges={"a": Counts(50, 49, 1)}, lateness=sketch_of([0.1] * 48 + [9.0]),
        ack=sketch_of([2.0] * 48), cpu_cores=0.25, interrupted=None,
    )  # fmt: skip
    return replace(result, **changed)


def test_a_result_survives_the_way_to_the_controller() -> None:
    plain = json.loads(json.dumps(share(0).to_plain()))
    assert LoadResult.from_plain(plain).to_plain() == plain
    assert (plain["share"], plain["exchanges"]["a"]) == (
        {"index": 0, "of": 2},
        {"scheduled": 50, "sent": 49, "unsent": 1, "heard": None},
    )


def test_shares_become_one_load() -> None:
    whole = merge_loads([share(1), share(0)])
    assert (whole.scheduled, whole.sent, whole.unsent, whole.acked) == (100, 98, 2, 96)
    assert (whole.errors, whole.exchanges) == ({"timed out": 2}, {"a": Counts(100, 98, 2)})
    assert (whole.share, whole.ended_us, whole.cpu_cores, whole.interrupted) == (Share(0, 1), 1_000_001, 0.5, None)
    assert whole.lateness.count == 98
    assert whole.lateness.quantile(0.99) == pytest.approx(9.0, rel=0.01)  # never the mean of two p99s


def test_a_share_that_is_not_there_interrupts_the_whole() -> None:
    whole = merge_loads([share(0, of=3), share(2, of=3, interrupted="told to stop")])
    assert whole.interrupted == "told to stop; share 1 of 3 is missing"


@pytest.mark.parametrize(
    "loads", [[], [share(0), share(0)], [share(0), share(1, seed=2)], [share(0), share(1, start_us=11)]]
)
def test_what_does_not_belong_together_is_not_merged(loads: list[LoadResult]) -> None:
    with pytest.raises(LoadResultError):
        merge_loads(loads)


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(LoadResultError, match="what k2_load returns"):
        LoadResult.from_plain({"source": "file"})

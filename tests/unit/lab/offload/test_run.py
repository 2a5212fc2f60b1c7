# SPDX-License-Identifier: Apache-2.0
"""What a run decides: how candles are grouped, what failures mean, which tables are still tried, what is shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from k2lab.common.errors import LabError
from k2lab.offload import candles, trades
from k2lab.offload.cycle import Done, each_table
from k2lab.offload.errors import StoreError, object_store_error, postgres_error
from k2lab.offload.exporter import State, TableState, render
from k2lab.offload.hot import Block, Stretch
from k2lab.offload.position import Positions, Span, TopicPartition
from k2lab.offload.report import RunReport, TableResult
from k2lab.offload.tables import TABLES, Table
from k2lab.offload.watermark import Watermark

BLOCKS = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 3000)), unique_by=lambda b: b[0]).map(
    lambda blocks: [Block(start * 3600, count) for start, count in sorted(blocks)]
)


@given(BLOCKS)
def test_stretches_cover_the_changed_blocks_and_nothing_else(blocks: list[Block]) -> None:
    groups = candles.grouped(blocks, 3600, 5000)
    covered = [start for group in groups for stretch in group for start in range(stretch.start_s, stretch.end_s, 3600)]
    assert covered == [block.start_s for block in blocks]
    counts = dict(blocks)
    for group in groups:
        rows = [counts[start] for stretch in group for start in range(stretch.start_s, stretch.end_s, 3600)]
        assert sum(rows) <= 5000


def test_the_watermark_of_candles_moves_with_the_last_group_only() -> None:
    work = candles.Work(9, 8, {0: "x"}, ([Stretch(0, 3600)], [Stretch(3600, 7200)]))
    held = Watermark(as_of_us=1, rows_total=10, updated_at_us=2)
    first = candles.after(held, work, 0, 5)
    assert first == Watermark(as_of_us=1, rows_total=15, updated_at_us=2)
    assert candles.after(first, work, 1, 6) == Watermark(as_of_us=9, rows_total=21, updated_at_us=8, digests={0: "x"})


def test_the_watermark_of_trades_moves_with_each_piece() -> None:
    partition = TopicPartition("t", 0)
    work = trades.Work(9, (({partition: Span(-1, 4)}, 5), ({partition: Span(4, 6)}, 2)), None, 0)
    first = trades.after(Watermark(as_of_us=1), work, 0)
    assert first == Watermark(as_of_us=1, rows_total=5, positions=Positions({partition: 4}))
    assert trades.after(first, work, 1) == Watermark(as_of_us=9, rows_total=7, positions=Positions({partition: 6}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "When x: AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7, Could not connect",
            "an answer",
        ),
        ("AWS Error ACCESS_DENIED during GetObject operation: Access Denied.", "to accept the access key"),
        ("AWS Error INTERNAL_FAILURE during PutObject operation: cause(no space left on device)", "room"),
        ("AWS Error UNKNOWN (HTTP status 507) during PutObject: XMinioStorageFull", "room"),
        ("AWS Error NO_SUCH_BUCKET during PutObject operation: gone", "the bucket"),
    ],
)
def test_answers_of_the_object_store_are_told_apart(text: str, said: str) -> None:
    error = object_store_error("http://h:1", OSError(text))
    assert error is not None
    assert said in error.expected
    assert error.expected.endswith("http://h:1")


def test_other_errors_are_not_the_object_stores() -> None:
    assert object_store_error("http://h:1", OSError("Is a directory")) is None


def test_postgres_errors_lose_the_statement_and_keep_the_reason() -> None:
    error = postgres_error("h:1", ValueError("connection refused\n[SQL: SELECT 1]\n(Background on this error at: u)"))
    assert error.seen == "connection refused"
    assert "postgres.password" in postgres_error("h:1", ValueError('password authentication failed for "k2"')).action


def failing(errors: dict[str, Exception]) -> Callable[[], Callable[[Table], Done]]:
    def act(table: Table) -> Done:
        if table.name in errors:
            raise errors[table.name]
        return 1, 1

    return lambda: act


def outcome(prepare: Callable[[], Callable[[Table], Done]]) -> tuple[dict[str, str | None], list[str]]:
    told: list[str] = []
    results = each_table(TABLES, prepare, lambda table, _reason, _seconds: told.append(table))
    return {result.table: result.failure for result in results}, told


def test_a_failing_table_does_not_stop_the_others() -> None:
    failures, told = outcome(failing({"silver_trades": LabError("a", "b", "c"), "ohlcv_5m": KeyError("defect")}))
    assert {table: failure for table, failure in failures.items() if failure} == {
        "silver_trades": "expected a; seen: b; what to do: c",
        "ohlcv_5m": "KeyError: 'defect'",
    }
    assert told == ["silver_trades", "ohlcv_5m"]


def test_after_a_store_is_gone_no_table_waits_for_it_again() -> None:
    failures, told = outcome(failing({"silver_trades": StoreError("store", "down", "wait")}))
    names = [table.name for table in TABLES]
    assert told == names[names.index("silver_trades") :]
    assert {failures[name] for name in told} == {"expected store; seen: down; what to do: wait"}


def test_nothing_is_tried_when_the_run_cannot_be_prepared() -> None:
    def prepare() -> Callable[[Table], Done]:
        calls.append(1)
        raise LabError("a bucket", "none", "make one")

    calls: list[int] = []
    _, told = outcome(prepare)
    assert told == [table.name for table in TABLES]
    assert len(calls) == 1


def test_a_report_names_each_reason_once() -> None:
    results = (TableResult("a", 1, 1, 0.1), TableResult("b", 0, 0, 0.1, "down"), TableResult("c", 0, 0, 0.1, "down"))
    report = RunReport("run", results)
    assert report.rows == 1
    assert report.reason == "b, c: down"
    with pytest.raises(LabError, match="expected all 3 tables to go through; seen: 2 failed: b, c: down"):
        report.raise_on_failure()
    RunReport("run", results[:1]).raise_on_failure()


def test_metrics_have_k2s_names_and_leave_out_what_is_not_known() -> None:
    class Fixed(Collector):
        def collect(self) -> object:  # type: ignore[override]
            fresh = TableState("new", None, None, 0, 1, None, 1, 0)
            moved = TableState("old", 1000.5, 2.5, 7, 0, 0.25, 0, 3)
            return render(State([fresh, moved], [("ok", 4), ("failed", 1)]))

    registry = CollectorRegistry()
    registry.register(Fixed())
    text = generate_latest(registry).decode()
    for line in (
        'offload_lag_minutes{table="old"} 2.5',
        'watermark_timestamp_seconds{table="old"} 1000.5',
        'offload_duration_seconds{table="old"} 0.25',
        'offload_rows_total{table="old"} 7.0',
        'offload_errors_total{table="new"} 1.0',
        'offload_consecutive_failures{table="new"} 1.0',
        'offload_watermarks_reconciled_total{table="old"} 3.0',
        'offload_cycles_total{status="ok"} 4.0',
    ):
        assert line in text
    assert 'watermark_timestamp_seconds{table="new"}' not in text
    assert 'offload_lag_minutes{table="new"}' not in text

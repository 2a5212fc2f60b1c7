# SPDX-License-Identifier: Apache-2.0
"""Latencies that are known beforehand, found by the real engine: exactly, or not at all and with the reason."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.background import in_background
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency import plan, watch
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.columns import ColumnMissing, TableMissing
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.commits import Commits, find
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.measure import Wish, measure
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.model import Cell, Latency, Span
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.plan import CommitSource
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.probe import Prober
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.route import find_route
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.session import (
    Limits,
    Session,
    TooManyRows,
    integer,
    integers,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.clickhouse import (
    ClickHouseClient,
    ClickHouseUnreachable,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from .betting import SECOND_US, Bookmaker, Part, Stake, clickhouse

pytestmark = pytest.mark.measures

# Ten minutes ago, at an odd microsecond: nothing about it is round.
BEGIN_US = (int(time.time()) - 600) * SECOND_US + 123_457
WINDOW = Span(BEGIN_US, BEGIN_US + 60 * SECOND_US)
LIMITS = Limits(30, 50_000_000)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with clickhouse(tmp_path_factory.mktemp("latency")) as port:
        yield port


@pytest.fixture
def bookmaker(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bookmaker]:
    own = Bookmaker(port)
    monkeypatch.setattr(plan, "log_of", lambda _: own.log)
    yield own
    own.close()


def wish(**changed: Any) -> Wish:
    usual = Wish(WINDOW, 1000.0, CommitSource.AUTO, 0.0, LIMITS, None, cut_warm_up=False)
    return replace(usual, **changed)


def measured(profile: Profile, **changed: Any) -> Latency:
    return measure(profile, wish(**changed), None)


def cell(latency: Latency, name: str) -> Cell:
    (found,) = [each for each in latency.cells if each.name == name]
    return found


def p99_ms(of: Cell) -> float:
    assert of.quantiles is not None
    assert of.quantiles.low_ms == of.quantiles.high_ms
    return of.quantiles.high_ms[of.quantiles.levels.index(0.99)]


def regular(bookmaker: Bookmaker, lags_ms: Sequence[int], rows: int = 4, house: str = "ascot") -> None:
    """One block each half second; its rows were placed ``lags_ms`` before the last of its candles was committed."""
    for number, lag_ms in enumerate(lags_ms):
        placed_us = BEGIN_US + number * SECOND_US // 2
        committed_us = placed_us + lag_ms * 1000
        stakes = [Stake(placed_us, committed_us - 20_000, house, ticket=rows * number + i + 1) for i in range(rows)]
        times = {"stakes": committed_us - 10_000, "odds_1h": committed_us - 5_000, "odds_1m": committed_us}
        bookmaker.insert(f"{house}-{number}", stakes, times)


def test_known_latencies_are_found_exactly(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [310] * 20)
    seen = measured(bookmaker.profile())
    assert (seen.end.source, seen.start.moment, seen.start.gated) == ("part_log", "exchange", True)
    ascot, minutes, hours = cell(seen, "ascot"), cell(seen, "odds_1m"), cell(seen, "odds_1h")
    # Decimal seconds, which a subtraction of DateTime64 gives, would be 0.31.
    assert (ascot.min_ms, p99_ms(ascot), ascot.max_ms, ascot.mean_ms) == (310.0, 310.0, 310.0, 310.0)
    assert (p99_ms(minutes), p99_ms(hours)) == (310.0, 305.0)
    assert (ascot.n, ascot.blocks, ascot.sum_squares) == (80, 20, 20 * 4 * 4)
    assert (ascot.why, ascot.unattributed, ascot.ambiguous, ascot.late, ascot.duplicates) == (None, 0, 0, 0, 0)
    assert sum(count for _, count in ascot.histogram) == 80
    assert sum(n for _, n, *_ in ascot.series) == 80
    assert p99_ms(cell(seen, "to_odds")) == 20.0
    assert seen.rows_in_window == 80


def test_a_silent_exchange_has_a_cell_and_a_reason(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [310] * 4)
    epsom = cell(measured(bookmaker.profile()), "epsom")
    assert (epsom.n, epsom.quantiles, epsom.why) == (0, None, "no row of the window was found")


def test_an_empty_window_is_told_in_every_cell(bookmaker: Bookmaker) -> None:
    seen = measured(bookmaker.profile())
    assert seen.rows_in_window == 0
    assert all(each.n == 0 and each.why is not None for each in seen.cells)


def test_a_stall_shows_in_p99(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [50] * 96 + [2_000] * 4)
    ascot = cell(measured(bookmaker.profile()), "ascot")
    assert (p99_ms(ascot), ascot.max_ms) == (2_000.0, 2_000.0)
    assert [hits[ascot.exceeding_levels.index(0.9)] for _, _, hits in ascot.exceeding][-2:] == [8, 8]


def test_negative_latencies_are_kept_and_counted(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [-30] * 3 + [40] * 7)
    ascot = cell(measured(bookmaker.profile()), "ascot")
    assert (ascot.n, ascot.negative, ascot.min_ms) == (40, 12, -30.0)
    assert (0.0, 12) in ascot.histogram


def test_invalid_late_and_doubled_rows_are_counted(bookmaker: Bookmaker) -> None:
    later, sooner = BEGIN_US + 2 * SECOND_US, BEGIN_US + SECOND_US
    first = [Stake(later, later + 1_000, ticket=1), Stake(later, later + 1_000, ticket=1)]
    second = [Stake(sooner, later + 500_000, ticket=2), Stake(later, later + 500_000, good=False, ticket=3)]
    for name, stakes in (("a", first), ("b", second)):
        at = stakes[0].written_us + 2_000
        bookmaker.insert(name, stakes, {"stakes": at, "odds_1m": at, "odds_1h": at})
    ascot = cell(measured(bookmaker.profile()), "ascot")
    assert (ascot.n, ascot.invalid, ascot.late, ascot.duplicates) == (3, 1, 1, 1)


def test_the_warm_up_is_cut(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [450] * 10 + [50 + i % 3 for i in range(90)], rows=1)
    seen = measured(bookmaker.profile(), cut_warm_up=True)
    assert seen.warm_up.observations == 100
    assert seen.measured.start_us == BEGIN_US + 5 * SECOND_US
    assert cell(seen, "ascot").max_ms == 52.0


@pytest.mark.parametrize(
    ("placed", "step_us", "told"),
    [
        ("DateTime('UTC')", SECOND_US, "placed of stakes (DateTime('UTC')) tells 1 s, at most 50 ms"),
        ("DateTime64(1, 'UTC')", 100_000, "placed of stakes (DateTime64(1, 'UTC')) tells 100 ms, at most 50 ms"),
        ("DateTime64(6, 'UTC')", SECOND_US, "all values seen of ascot are multiples of 1 s: it was padded"),
        ("DateTime64(6, 'UTC')", 100_000, "all values seen of ascot are multiples of 100 ms: it was padded"),
    ],
)
def test_a_coarse_time_is_refused_by_its_type_and_by_its_values(
    port: int, monkeypatch: pytest.MonkeyPatch, placed: str, step_us: int, told: str
) -> None:
    own = Bookmaker(port, placed=placed)
    monkeypatch.setattr(plan, "log_of", lambda _: own.log)
    for number in range(5):
        at = BEGIN_US + number * SECOND_US
        stake = Stake((at // step_us + 1) * step_us, at + 2 * SECOND_US)
        times = dict.fromkeys(("stakes", "odds_1m", "odds_1h"), at + 3 * SECOND_US)
        own.insert(str(number), [stake], times)
    seen = measured(own.profile())
    own.close()
    (refused,) = seen.refused
    assert told in refused.reason
    assert (refused.moment, refused.resolution_ms, refused.needed_ms) == ("exchange", step_us / 1000, 50.0)
    for name in ("ascot", "odds_1m", "odds_1h"):
        assert told in str(cell(seen, name).why)


def test_a_padded_time_of_one_exchange_leaves_the_other_one_measured(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [310] * 6)
    for number in range(6):
        at = BEGIN_US + number * SECOND_US + 250_000
        stake = Stake((at // SECOND_US + 1) * SECOND_US, at + 2 * SECOND_US, "epsom")
        bookmaker.insert(f"e{number}", [stake], dict.fromkeys(("stakes", "odds_1m", "odds_1h"), at + 3 * SECOND_US))
    seen = measured(bookmaker.profile())
    assert (cell(seen, "ascot").why, p99_ms(cell(seen, "ascot"))) == (None, 310.0)
    for name in ("epsom", "odds_1m", "odds_1h"):
        assert "of epsom are multiples of 1 s" in str(cell(seen, name).why)


def test_an_insert_over_midnight_has_a_part_in_each_partition(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Bookmaker(port, partition_by="toYYYYMMDD(placed)")
    monkeypatch.setattr(plan, "log_of", lambda _: own.log)
    midnight = BEGIN_US // (86_400 * SECOND_US) * 86_400 * SECOND_US
    days = [time.strftime("%Y%m%d", time.gmtime(midnight // SECOND_US + shift)) for shift in (-1, 1)]
    written = midnight + 40_000
    own.add([Stake(midnight - 7_001, written), Stake(midnight - 7_001, written), Stake(midnight + 3, written)])
    log = [Part("q", "stakes", 2, written + 1_000, days[0]), Part("q", "stakes", 1, written + 2_000, days[1])]
    own.forge([*log, *(Part("q", table, 3, written + 9_000) for table in ("odds_1m", "odds_1h"))])
    seen = measured(own.profile(), window=Span(midnight - 30 * SECOND_US, midnight + 30 * SECOND_US))
    own.close()
    ascot = cell(seen, "ascot")
    assert (ascot.n, ascot.blocks, ascot.min_ms, ascot.max_ms) == (3, 1, 48.997, 56.001)


def test_an_insert_of_several_blocks_ends_with_its_last_candle(bookmaker: Bookmaker) -> None:
    placed = BEGIN_US + SECOND_US
    for written, rows in ((placed + 10_000, 5), (placed + 30_000, 2)):
        bookmaker.add([Stake(placed, written)] * rows)
        bookmaker.forge([Part("q", t, rows, written + 5_000) for t in ("stakes", "odds_1m", "odds_1h")])
    ascot = cell(measured(bookmaker.profile()), "ascot")
    assert (ascot.n, ascot.blocks, ascot.min_ms, ascot.max_ms) == (7, 2, 35.0, 35.0)


@pytest.mark.parametrize("lost", [0, 3])
@pytest.mark.parametrize("seed", range(4))
def test_overlapping_inserts_are_never_told_faster_than_they_were(bookmaker: Bookmaker, seed: int, lost: int) -> None:
    """Three writers at once, whose blocks look alike; the log may lack inserts, whose blocks then have no commit."""
    chance = random.Random(seed)
    truth: dict[int, int] = {}
    stakes, parts = [], []
    for writer in range(3):
        at = BEGIN_US + writer
        for number in range(60):
            at += chance.randrange(20_000, 400_000)
            rows, written = chance.choice([1, 1, 2, 3]), at
            at += chance.randrange(5_000, 200_000)
            stakes += [Stake(written - 1_000, written)] * rows
            truth[written] = at + 7_000
            times = {"stakes": at, "odds_1m": at + 5_000, "odds_1h": at + 7_000}
            parts.append([Part(f"{writer}-{number}", table, rows, time_us) for table, time_us in times.items()])
    missing = chance.sample(range(len(parts)), lost)
    bookmaker.add(stakes)
    bookmaker.forge([part for number, insert in enumerate(parts) if number not in missing for part in insert])
    profile = bookmaker.profile()
    session = session_of(profile)
    commits = Commits(find_route(profile, session), bookmaker.log, min(truth), max(truth))
    asked = session.ask(commits.query()).rows
    found = [row[:3] for row in asked if row[3]]
    once = find(session, commits)
    told = {integer(block): max(integers(committed)) for block, committed, _ in found}
    assert (once.blocks, once.without, len(asked)) == (len(truth), lost, len(truth))
    assert {row[:3] for row in session.ask(f"SELECT block_us, committed, ambiguous FROM ({once.sql})").rows} == {
        row[:3] for row in asked
    }
    assert len(told) == len(truth) - lost
    if not lost:
        assert all(told[block] >= truth[block] for block in told)
    sure = {integer(block) for block, _, ambiguous in found if not ambiguous}
    assert sure
    wrong = [block for block in sure if told[block] != truth[block]]
    assert len(wrong) <= lost


def test_blocks_whose_log_was_lost_are_counted_and_spoil_no_other(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [100] * 10)
    regular(bookmaker, [150] * 10, house="epsom")
    bookmaker.client.execute(
        f"ALTER TABLE {bookmaker.log} DELETE WHERE query_id = 'ascot-3' SETTINGS mutations_sync = 2"
    )
    seen = measured(bookmaker.profile())
    ascot = cell(seen, "ascot")
    assert (ascot.n, ascot.unattributed, ascot.max_ms) == (36, 4, 100.0)
    assert cell(seen, "odds_1m").unattributed == 4
    assert cell(seen, "epsom").unattributed == 0


def test_a_block_without_one_of_its_candles_has_no_end(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [100] * 10)
    condition = "query_id = 'ascot-3' AND table = 'odds_1h'"
    bookmaker.client.execute(f"ALTER TABLE {bookmaker.log} DELETE WHERE {condition} SETTINGS mutations_sync = 2")
    seen = measured(bookmaker.profile())
    assert [cell(seen, name).unattributed for name in ("ascot", "odds_1m", "odds_1h")] == [4, 0, 4]


# What goes wrong


def session_of(profile: Profile) -> Session:
    assert profile.clickhouse is not None
    return Session(ClickHouseClient(profile.clickhouse), LIMITS)


def changed(bookmaker: Bookmaker, tier: int = 0, **keys: Any) -> Profile:
    tiers = bookmaker.variables()["k2_tiers"]
    tiers[tier] |= keys
    return bookmaker.profile(k2_tiers=tiers)


def test_a_server_that_is_not_there(bookmaker: Bookmaker) -> None:
    away = bookmaker.variables()["k2_clickhouse"] | {"port": 1}
    with pytest.raises(ClickHouseUnreachable, match="check that it runs"):
        measured(bookmaker.profile(k2_clickhouse=away))


def test_a_wrong_database_or_table_is_named(bookmaker: Bookmaker) -> None:
    wrong = bookmaker.variables()["k2_clickhouse"] | {"database": "default"}
    with pytest.raises(TableMissing, match=r"no table default\.stakes"):
        measured(bookmaker.profile(k2_clickhouse=wrong))
    with pytest.raises(TableMissing, match=r"\.odds_none"):
        measured(changed(bookmaker, 1, table="odds_none"))


def test_a_missing_column_is_named_with_the_nearest(bookmaker: Bookmaker) -> None:
    times = {"exchange": {"column": "place"}, "committed": {"column": "written"}}
    with pytest.raises(ColumnMissing, match="did you mean 'placed'"):
        measured(changed(bookmaker, time_columns=times))


def test_the_hop_of_freshness_stands_for_the_writing(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [310] * 4)
    times = {"exchange": {"column": "placed"}, "written": {"column": "written"}}
    seen = measured(changed(bookmaker, time_columns=times, freshness={"hop": "written", "max_age_s": 30}))
    assert (p99_ms(cell(seen, "ascot")), p99_ms(cell(seen, "to_odds"))) == (310.0, 20.0)
    seen = measured(changed(bookmaker, time_columns=times, freshness={"hop": "exchange", "max_age_s": 30}))
    assert seen.end.why == "not measurable here: tier stakes has no column for the hop committed"


def test_segments_whose_moments_a_platform_lacks_say_so(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [310] * 4)
    seen = measured(bookmaker.profile(k2_load=None))
    segments = [each for each in seen.cells if each.kind == "segment"]
    assert len(segments) == 6
    assert all(str(each.why).startswith("not measurable here: ") and each.quantiles is None for each in segments)
    assert "no tier in ClickHouse has a column for received" in str(cell(seen, "handler_to_broker").why)


def test_an_inverted_window_is_refused(bookmaker: Bookmaker) -> None:
    with pytest.raises(K2Error, match="the window is empty"):
        measured(bookmaker.profile(), window=Span(WINDOW.end_us, WINDOW.start_us))


def test_a_wide_query_is_refused_before_it_runs(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [310] * 20)
    with pytest.raises(TooManyRows, match=r"shorten the window, or raise max_rows_to_read"):
        measured(bookmaker.profile(), limits=Limits(30, 10))


def test_a_user_who_may_set_nothing_is_served_and_told(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [310] * 4)
    seen = measured(bookmaker.profile("strict"))
    assert p99_ms(cell(seen, "ascot")) == 310.0
    assert "readonly=1" in str(seen.cost.without_limits)
    assert measured(bookmaker.profile()).cost.without_limits is None


def test_a_clock_that_was_set_spoils_every_cell(bookmaker: Bookmaker, monkeypatch: pytest.MonkeyPatch) -> None:
    regular(bookmaker, [310] * 4)
    steps = iter(range(10**6))
    monkeypatch.setattr(watch, "utc_us", lambda: time.time_ns() // 1000 + next(steps) * 100_000)
    seen = measured(bookmaker.profile())
    assert all(each.why is not None for each in seen.cells)
    assert "the clock of this machine was set by +" in str(cell(seen, "ascot").why)
    assert cell(seen, "ascot").n == 16


def test_foreign_clocks_are_reported_and_not_gated(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [310] * 4)
    platform = bookmaker.variables()["k2_platform"] | {"clock": {"host": "localhost"}}
    seen = measured(bookmaker.profile(k2_platform=platform))
    assert (seen.start.moment, seen.start.gated) == ("exchange", False)
    assert "error is unknown" in seen.start.why
    assert p99_ms(cell(seen, "ascot")) == 310.0


def test_without_any_source_of_commits_nothing_is_measured(
    bookmaker: Bookmaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    regular(bookmaker, [310] * 4)
    monkeypatch.setattr(plan, "log_of", lambda _: "system.no_such_log")
    seen = measured(changed(bookmaker, 1, columns={}))
    assert seen.end.source == "none"
    assert "no_such_log" in seen.end.why
    assert "does not say which one is window and trade_count" in seen.end.why
    assert all(each.n == 0 and each.why is not None for each in seen.cells)


def test_a_window_that_is_over_cannot_be_probed(bookmaker: Bookmaker) -> None:
    regular(bookmaker, [310] * 4)
    seen = measured(bookmaker.profile(), commit_source=CommitSource.PROBE)
    assert seen.end.source == "probe"
    assert "none of 16 rows has a known commit" in str(cell(seen, "ascot").why)


# Through views, as platforms do it


class Racecourse(Bookmaker):
    """Odds made by views: each insert of stakes makes its candles, and the engine itself logs the parts."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        for table, span in (("odds_1m", "MINUTE"), ("odds_1h", "HOUR")):
            self.client.execute(
                f"CREATE MATERIALIZED VIEW {self.name}.{table}_view TO {self.name}.{table} AS SELECT house, horse, "
                f"toStartOfInterval(placed, INTERVAL 1 {span}, 'UTC') AS minute, count() AS stakes "
                f"FROM {self.name}.stakes WHERE valid GROUP BY house, horse, minute"
            )

    def race(self, blocks: int) -> list[tuple[int, int, int]]:
        """Insert blocks one after the other: rows, and the times around each insert."""
        done = []
        for number in range(blocks):
            rows = 1 + number % 3
            sent = time.time_ns() // 1000
            self.client.execute(
                f"INSERT INTO {self.name}.stakes (house, horse, ticket, placed, written, valid) "
                f"SELECT 'ascot', 'Shergar', number + {number * 10}, now64(6) - INTERVAL 40 MILLISECOND, now64(6), "
                f"true FROM numbers({rows})",
                settings={"async_insert": 0},
            )
            done.append((rows, sent, time.time_ns() // 1000))
            time.sleep(0.05)
        return done


@pytest.fixture
def racecourse(port: int) -> Iterator[Racecourse]:
    own = Racecourse(port)
    yield own
    own.close()


def test_the_engines_own_log_tells_every_commit(racecourse: Racecourse) -> None:
    begin_us = time.time_ns() // 1000 - 100_000
    done = racecourse.race(20)
    window = Span(begin_us, time.time_ns() // 1000)
    seen = measured(racecourse.profile(), window=window, drain_timeout_s=60.0, commit_source=CommitSource.PART_LOG)
    ascot = cell(seen, "ascot")
    assert seen.end.source == "part_log"
    assert (ascot.n, ascot.blocks, ascot.unattributed) == (sum(rows for rows, _, _ in done), 20, 0)
    assert ascot.min_ms is not None
    assert ascot.max_ms is not None
    # A stake is 40 ms old when it is written, and committed before its insert returns.
    assert ascot.min_ms >= 40.0
    assert ascot.max_ms <= 40.0 + max(after - before for _, before, after in done) / 1000


def test_probing_holds_the_truth_between_its_bounds(racecourse: Racecourse) -> None:
    profile = racecourse.profile()
    session = session_of(profile)
    prober = Prober(session, find_route(profile, session))
    done = racecourse.race(20)
    deadline = time.monotonic() + 30
    while prober.pending() or prober.probes[-1].before_us < done[-1][2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    prober.stop()
    found = prober.changes(["odds_1m", "odds_1h"])
    total = 0
    for rows, sent, returned in done:
        total += rows
        change = next(each for each in found if each.visible >= total)
        assert change.low_us <= returned
        assert change.high_us >= sent
    assert found[-1].visible == total


K2_SCHEMA = """
CREATE TABLE bronze_trades_binance (exchange String, symbol String, price Decimal128(8), quantity Decimal128(8),
  exchange_timestamp DateTime64(3, 'UTC'), ingestion_timestamp DateTime DEFAULT now(), sequence_number UInt64,
  kafka_offset UInt64, kafka_partition UInt32) ENGINE = MergeTree ORDER BY (symbol, exchange_timestamp);
CREATE TABLE silver_trades (message_id String, trade_id String, exchange LowCardinality(String), symbol String,
  canonical_symbol String, price Decimal128(8), quantity Decimal128(8), timestamp DateTime64(6, 'UTC'),
  ingestion_timestamp DateTime64(6, 'UTC'), processed_at DateTime64(6, 'UTC') DEFAULT now64(6),
  source_sequence Nullable(UInt64), is_valid Bool) ENGINE = MergeTree
  PARTITION BY (exchange, toYYYYMMDD(timestamp)) ORDER BY (exchange, canonical_symbol, timestamp);
CREATE MATERIALIZED VIEW silver_mv TO silver_trades AS SELECT toString(generateUUIDv4()) AS message_id,
  toString(sequence_number) AS trade_id, exchange, symbol, symbol AS canonical_symbol, price, quantity,
  toDateTime64(exchange_timestamp, 6, 'UTC') AS timestamp,
  toDateTime64(ingestion_timestamp, 6, 'UTC') AS ingestion_timestamp,
  CAST(sequence_number, 'Nullable(UInt64)') AS source_sequence, true AS is_valid FROM bronze_trades_binance;
CREATE TABLE ohlcv_1m (exchange String, canonical_symbol String, window_start DateTime('UTC'), open_price Decimal128(8),
  volume Decimal128(8), trade_count UInt64) ENGINE = SummingMergeTree
  ORDER BY (exchange, canonical_symbol, window_start);
CREATE MATERIALIZED VIEW ohlcv_1m_mv TO ohlcv_1m AS SELECT exchange, canonical_symbol,
  toStartOfMinute(timestamp) AS window_start, any(price) AS open_price, sum(quantity) AS volume, count() AS trade_count
  FROM silver_trades WHERE is_valid GROUP BY exchange, canonical_symbol, window_start
"""


def k2_profile(port: int, database: str) -> Profile:
    """The profile of the real stack, cut to one exchange and one candle."""
    bronze = {"exchange": {"column": "exchange_timestamp", "resolution": "ms"},
              "ingested": {"column": "ingestion_timestamp", "resolution": "s"}}  # fmt: skip
    silver = {"exchange": {"column": "timestamp"}, "ingested": {"column": "ingestion_timestamp"},
              "committed": {"column": "processed_at"}}  # fmt: skip
    return parse_profile(
        {
            "k2_platform": {"name": "k2", "scale": "full", "runtime": "docker"},
            "k2_services": {"handler": {"kind": "feed-handler", "exchange": "binance"}},
            "k2_clickhouse": {
                "host": "127.0.0.1", "port": port, "username": "reader", "password": "", "database": database,
            },
            "k2_tiers": [
                {"name": "bronze_binance", "store": "clickhouse", "table": "bronze_trades_binance",
                 "exchange": "binance", "time_columns": bronze},
                {"name": "silver", "store": "clickhouse", "table": "silver_trades", "exchange_column": "exchange",
                 "key_columns": ["exchange", "symbol", "trade_id"], "valid_column": "is_valid", "time_columns": silver},
                {"name": "candle_1m", "store": "clickhouse", "table": "ohlcv_1m", "source": "silver",
                 "exchange_column": "exchange", "key_columns": ["exchange", "canonical_symbol", "window_start"],
                 "timeframe": "1m", "columns": {"window": "window_start", "trade_count": "trade_count"}},
            ],
            "k2_load": {
                "segments": [
                    {"name": "into_silver", "from": "ingested", "to": "silver", "target_ms": 1000},
                    {"name": "into_candles", "from": "silver", "to": "candles", "target_ms": 1000},
                ]
            },
        }
    )  # fmt: skip


def test_k2s_own_columns_without_a_log_are_measured_honestly(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "log_of", lambda _: "system.part_log_without_rights")
    own = Bookmaker(port)
    for statement in K2_SCHEMA.split(";"):
        words = statement.split("CREATE ")[1].split()
        kind = "MATERIALIZED VIEW" if words[0] == "MATERIALIZED" else "TABLE"
        text = statement.replace(f"CREATE {kind} ", f"CREATE {kind} {own.name}.")
        for name in ("silver_trades AS", "ohlcv_1m AS"):
            text = text.replace(f"TO {name}", f"TO {own.name}.{name}")
        for name in ("bronze_trades_binance", "silver_trades"):
            text = text.replace(f"FROM {name}", f"FROM {own.name}.{name}")
        own.client.execute(text)
    # What came before the first probe has no known commit, so the window begins a little later.
    begin_us = time.time_ns() // 1000 + 3 * SECOND_US
    window = Span(begin_us, begin_us + 4 * SECOND_US)
    truth: list[tuple[int, int]] = []

    def feed() -> None:
        while time.time_ns() // 1000 < window.end_us - SECOND_US:
            traded_us = time.time_ns() // 1_000_000 * 1000
            own.client.execute(
                f"INSERT INTO {own.name}.bronze_trades_binance (exchange, symbol, price, quantity, exchange_timestamp, "
                f"sequence_number) SELECT 'binance', 'BTCUSDT', 1, 1, fromUnixTimestamp64Micro({traded_us}), number "
                "FROM numbers(3)",
                settings={"async_insert": 0},
            )
            truth.append((traded_us, time.time_ns() // 1000))
            time.sleep(0.2)

    fed = in_background(feed)
    seen = measured(k2_profile(port, own.name), window=window, drain_timeout_s=30.0)
    fed.result(30)
    own.close()
    assert (seen.end.source, seen.start.moment, seen.start.gated) == ("probe", "exchange", False)
    assert "part_log_without_rights" in seen.end.why
    binance = cell(seen, "binance")
    inside = [(traded, returned) for traded, returned in truth if traded >= window.start_us]
    assert (binance.n, binance.unattributed, binance.why) == (3 * len(inside), 0, None)
    assert binance.quantiles is not None
    # No commit is later than its insert's return, and none earlier than its trade.
    slowest = max(returned - traded for traded, returned in inside) / 1000
    assert binance.quantiles.low_ms[-1] <= slowest
    assert binance.quantiles.high_ms[0] > 0
    assert all(low <= high for low, high in zip(binance.quantiles.low_ms, binance.quantiles.high_ms, strict=True))
    padded = cell(seen, "into_silver")
    assert "multiples of 1 s" in str(padded.why)
    assert padded.n == 0
    assert "commits are known between two probes only" in str(cell(seen, "into_candles").why)

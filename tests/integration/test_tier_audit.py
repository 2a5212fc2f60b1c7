# SPDX-License-Identifier: Apache-2.0
"""The audit on a real broker and a real ClickHouse, with faults of known size: each is found exactly, with its ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import confluent_kafka
import pytest
from own_kafka import free_ports

from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.audit import mark
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.ranges import BadWatermark
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.result import (
    Audit,
    Basis,
    CandleResult,
    TierResult,
    Verdict,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.broker import (
    BrokerError,
    BrokerReader,
    TopicMissing,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from .racing import SPANS, Bet, Racing, clickhouse_alone
from .test_exchange_to_broker import kafka_bootstrap

__all__ = ["kafka_bootstrap"]

# A decimal number; ClickHouse would take the literal for a float, and cut what comes of it.
LEAST = "toDecimal64('0.000000001', 9)"


@pytest.fixture(scope="module", name="clickhouse_port")
def _clickhouse_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    import signal

    service, port = clickhouse_alone(tmp_path_factory.mktemp("audit"))
    service.start()
    yield port
    service.end(signal.SIGTERM)


@pytest.fixture(name="racing")
def _racing(kafka_bootstrap: str, clickhouse_port: int) -> Iterator[Racing]:
    racing = Racing(kafka_bootstrap, clickhouse_port)
    yield racing
    racing.close()


def tier(found: Audit, name: str, exchange: str | None = None) -> TierResult:
    (result,) = [each for each in found.tiers if each.tier == name and each.exchange == exchange]
    return result


def bars(found: Audit, name: str) -> CandleResult:
    (result,) = [each for each in found.candles if each.tier == name]
    return result


def ids(bets: list[Bet]) -> tuple[str, ...]:
    return tuple(bet.id for bet in sorted(bets, key=lambda bet: (bet.src, bet.part, bet.pos)))[:10]


def test_what_is_whole_is_exact_in_every_tier_and_every_candle(racing: Racing) -> None:
    bets = racing.healthy()
    found = racing.audit(expected={"north": 200, "south": 100})
    assert found.verdict is Verdict.EXACT, found.reason
    assert found.basis is Basis.OFFSETS
    assert {(t.tier, t.expected, t.rows, t.distinct) for t in found.tiers} == {
        (name, 300, 300, 300) for name in ("landing", "typed", "clean")
    }
    assert found.values is not None
    assert (found.values.compared, found.values.by_checksum, found.values.differing) == (300, 300, 0)
    minutes = {(bet.house, bet.horse, bet.placed_us // 60_000_000) for bet in bets}
    assert (bars(found, "bar_1m").windows, bars(found, "bar_1m").compared) == (len(minutes), len(minutes))
    assert sum(part.records for part in found.range) == 300
    assert found.cost.records_read == 300
    assert found.cost.rows_read > 0


def test_the_next_audit_goes_on_from_the_watermark_of_the_last(racing: Racing) -> None:
    racing.healthy(20)
    profile = parse_profile(racing.profile())
    before = mark(profile, BrokerReader(racing.bootstrap))
    new = racing.produce(7)
    racing.store(bets=new)
    for span in SPANS:
        racing.database.execute(f"TRUNCATE TABLE {racing.name}.bars_{span}")
    racing.fill_bars()
    racing.commit()
    found = racing.audit(from_watermark=before)
    assert found.verdict is Verdict.EXACT, found.reason
    assert [(part.end - part.start, part.records) for part in found.range] == [(7, 7)] * 3
    again = racing.audit(from_watermark=found.watermark)
    assert (again.verdict, again.reason.split(";")[0]) == (Verdict.INCONCLUSIVE, "the range holds no record")


def test_17_dropped_rows_are_named_and_put_to_the_tier_that_dropped_them(racing: Racing) -> None:
    bets = racing.healthy()
    gone = bets[40:57]
    racing.remove("typed", gone)
    racing.remove("clean", gone)
    found = racing.audit(compare_candles=False)
    assert found.verdict is Verdict.LOST
    assert tier(found, "landing").verdict is Verdict.EXACT
    typed, clean = tier(found, "typed"), tier(found, "clean")
    assert (typed.missing, typed.lost_here, typed.first_missing) == (17, 17, ids(gone))
    assert (clean.missing, clean.lost_here, clean.duplicated) == (17, 0, 0)


def test_5_doubled_rows_are_named(racing: Racing) -> None:
    bets = racing.healthy()
    doubled = bets[-5:]
    racing.store(["clean"], doubled)
    found = racing.audit(compare_candles=False)
    assert found.verdict is Verdict.DUPLICATED
    clean = tier(found, "clean")
    assert (clean.rows, clean.distinct, clean.duplicated, clean.first_duplicated) == (305, 300, 5, ids(doubled))
    assert tier(found, "typed").verdict is Verdict.EXACT


def test_as_many_lost_as_doubled_are_both_found(racing: Racing) -> None:
    bets = racing.healthy()
    # Equal in count, sum, sum of squares and sum of cubes.
    gone, doubled = ([bets[at] for at in places] for places in ((0, 4, 7, 11), (1, 2, 9, 10)))
    racing.remove("clean", gone)
    racing.store(["clean"], doubled)
    found = racing.audit(compare_candles=False)
    clean = tier(found, "clean")
    assert (clean.rows, clean.expected) == (300, 300)
    assert found.verdict is Verdict.LOST
    assert (clean.missing, clean.duplicated) == (4, 4)
    assert (clean.first_missing, clean.first_duplicated) == (ids(gone), ids(doubled))


def test_a_price_that_differs_in_its_last_decimal_is_found_with_its_id(racing: Racing) -> None:
    bets = racing.healthy()
    racing.dearer(bets[123], "0.000000001")
    found = racing.audit(compare_candles=False)
    assert found.verdict is Verdict.DIFFERENT
    assert all(each.verdict is Verdict.EXACT for each in found.tiers)
    assert found.values is not None
    assert (found.values.compared, found.values.differing) == (300, 1)
    (difference,) = found.values.first
    assert (difference.id, difference.column) == (bets[123].id, "price")
    assert Decimal(difference.seen) - Decimal(difference.expected) == Decimal("0.000000001")


def test_rows_beyond_the_limit_of_the_comparison_are_told_and_not_called_exact(racing: Racing) -> None:
    bets = racing.healthy()
    racing.dearer(bets[0], "1")
    found = racing.audit(sample_rows=0, compare_candles=False)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.values is not None
    assert (found.values.not_compared, found.values.compared) == (100, 200)


def test_invalid_rows_are_records_but_no_trades(racing: Racing) -> None:
    racing.produce(30)
    racing.store(["landing", "typed"])
    first, *others = racing.bets
    racing.store(["clean"], [replace(first, good=False, odds=Decimal(0)), *others])
    racing.fill_bars()
    racing.commit()
    found = racing.audit()
    assert found.verdict is Verdict.EXACT, found.reason


@pytest.mark.parametrize(
    ("change", "column", "verdict"),
    [
        (f"h = h + {LEAST}", "high", Verdict.DIFFERENT),
        ("bets = bets + 1", "trade_count", Verdict.DUPLICATED),
        ("bets = bets - 1", "trade_count", Verdict.LOST),
        (f"staked = staked - {LEAST}", "volume", Verdict.DIFFERENT),
        ("o = -1", "open", Verdict.DIFFERENT),
        ("c = -1", "close", Verdict.DIFFERENT),
    ],
)
def test_a_wrong_candle_is_found_with_its_key(racing: Racing, change: str, column: str, verdict: Verdict) -> None:
    bet = racing.healthy(30)[10]
    minute = bet.placed_us // 60_000_000 * 60
    where = f"book = '{bet.house}' AND horse = '{bet.horse}' AND bar = toDateTime({minute})"
    racing.change(f"ALTER TABLE {racing.name}.bars_1m UPDATE {change} WHERE {where}")
    found = racing.audit()
    assert found.verdict is verdict, found.reason
    assert all(each.verdict is Verdict.EXACT for each in found.tiers)
    wrong = bars(found, "bar_1m")
    assert (wrong.differing, wrong.missing, len(wrong.first)) == (1, 0, 1)
    assert wrong.first[0].column == column
    assert wrong.first[0].key.startswith(f"{bet.house}/{bet.horse}/20")
    assert bars(found, "bar_1h").verdict is Verdict.EXACT


def test_a_missing_candle_is_found_with_its_key(racing: Racing) -> None:
    bet = racing.healthy(30)[10]
    racing.change(f"DELETE FROM {racing.name}.bars_1h WHERE book = '{bet.house}' AND horse = '{bet.horse}'")
    found = racing.audit()
    gone = bars(found, "bar_1h")
    assert found.verdict is Verdict.LOST
    assert gone.missing == len(gone.first)
    assert {(each.column, each.seen) for each in gone.first} == {("candle", None)}
    assert bars(found, "bar_1m").verdict is Verdict.EXACT


def test_candles_of_a_doubled_trade_count_it_too_often(racing: Racing) -> None:
    bets = racing.produce(30)
    racing.store()
    racing.store(["clean"], bets[:5])
    racing.fill_bars()
    racing.commit()
    found = racing.audit()
    assert tier(found, "clean").duplicated == 5
    surplus = [int(d.seen or 0) - int(d.expected) for d in bars(found, "bar_1h").first if d.column == "trade_count"]
    assert sum(surplus) == 5
    assert bars(found, "bar_1m").verdict is Verdict.DUPLICATED


def test_summing_candles_are_reported_as_they_are(racing: Racing) -> None:
    racing.make_bars("SummingMergeTree((staked, bets))")
    first = racing.produce(20)
    racing.store()
    racing.fill_bars()
    second = racing.produce(20)
    racing.store(bets=second)
    racing.fill_bars(f"pos >= {first[-1].pos + 1}")
    racing.commit()
    wrong = bars(racing.audit(), "bar_1h")
    assert wrong.verdict is Verdict.DIFFERENT, wrong
    assert {each.column for each in wrong.first} <= {"open", "high", "low", "close"}


def test_two_rows_of_one_candle_in_a_plain_table_are_a_doubled_candle(racing: Racing) -> None:
    racing.make_bars("MergeTree")
    racing.healthy(10)
    assert racing.audit().verdict is Verdict.EXACT
    racing.fill_bars("book = 'south'")
    found = bars(racing.audit(), "bar_1m")
    assert found.verdict is Verdict.DUPLICATED
    assert {each.column for each in found.first} == {"candle"}


def test_holes_in_the_offsets_are_no_loss(racing: Racing) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": racing.bootstrap, "transactional.id": racing.name})
    producer.init_transactions(30)
    for _ in range(3):
        producer.begin_transaction()
        racing.produce(10, producer)
        producer.commit_transaction(30)
    kept = list(racing.bets)
    producer.begin_transaction()
    racing.produce(4, producer)
    producer.abort_transaction(30)
    racing.bets = kept
    racing.store()
    racing.fill_bars()
    racing.commit()
    found = racing.audit()
    assert found.verdict is Verdict.EXACT, found.reason
    assert [(part.end - part.start, part.records) for part in found.range] == [(3 * 11 + 5, 30)] * 3


def test_a_tier_without_offsets_is_compared_by_whole_trades(racing: Racing) -> None:
    bets = racing.healthy(40)
    profile = without_offsets(racing, "clean")
    equal = racing.audit(profile)
    assert (equal.basis, tier(equal, "clean", "north").verdict) == (Basis.MULTISETS, Verdict.EXACT), equal.reason
    gone, doubled = bets[3:8], bets[10:15]
    racing.remove("clean", gone)
    racing.store(["clean"], doubled)
    found = racing.audit(profile, compare_candles=False)
    clean = tier(found, "clean", "north")
    assert (clean.rows, clean.expected) == (80, 80)
    assert (clean.verdict, clean.missing, clean.duplicated, clean.unexpected) == (Verdict.LOST, 5, 5, 0)
    assert {text.split("/")[1] for text in clean.first_missing} == {str(bet.ticket) for bet in gone}
    assert tier(found, "clean", "south").verdict is Verdict.EXACT
    assert "no key in common" in found.why_basis


def test_without_an_order_any_price_of_the_first_moment_is_the_open(racing: Racing) -> None:
    racing.produce(30)
    racing.bets = [replace(bet, placed_us=bet.placed_us // 10_000_000 * 10_000_000) for bet in racing.bets]
    racing.store()
    racing.fill_bars()
    racing.commit()
    profile = without_offsets(racing, "clean")
    for each in profile["k2_tiers"]:
        each.pop("sequence_columns", None)
    assert bars(racing.audit(profile), "bar_1m").verdict is Verdict.EXACT
    racing.change(f"ALTER TABLE {racing.name}.bars_1m UPDATE o = o + {LEAST} WHERE 1")
    found = bars(racing.audit(profile), "bar_1m")
    assert (found.verdict, found.differing) == (Verdict.DIFFERENT, found.windows)


def test_tables_of_one_exchange_each_are_compared_with_their_own_topic(racing: Racing) -> None:
    bets = racing.healthy(20)
    for house in ("north", "south"):
        racing.database.execute(
            f"CREATE TABLE {racing.name}.typed_{house} ENGINE = MergeTree ORDER BY pos AS "
            f"SELECT * FROM {racing.name}.typed WHERE house = '{house}'"
        )
    profile = racing.profile()
    (typed,) = [each for each in profile["k2_tiers"] if each["name"] == "typed"]
    at = profile["k2_tiers"].index(typed)
    plain = {name: value for name, value in typed.items() if name != "exchange_column"}
    profile["k2_tiers"][at : at + 1] = [
        {**plain, "name": f"typed_{house}", "table": f"typed_{house}", "exchange": house}
        for house in ("north", "south")
    ]
    for each in profile["k2_tiers"]:
        if each["name"] == "clean":
            del each["source"]
    found = racing.audit(profile)
    assert found.verdict is Verdict.EXACT, found.reason
    assert found.values is not None
    assert found.values.compared == len(bets)
    racing.remove("typed_south", bets[-2:])
    assert tier(racing.audit(profile, compare_candles=False), "typed_south", "south").first_missing == ids(bets[-2:])


def test_a_key_serves_only_if_it_is_unique(racing: Racing) -> None:
    racing.healthy(40)
    profile = without_offsets(racing, "clean")
    for each in profile["k2_tiers"]:
        if each["name"] in ("typed", "clean"):
            each["key_columns"] = ["ticket"]
    assert racing.audit(profile).basis is Basis.KEYS
    for each in profile["k2_tiers"]:
        if each["name"] in ("typed", "clean"):
            each["key_columns"] = ["horse"]
    found = racing.audit(profile)
    assert found.basis is Basis.MULTISETS
    assert "not unique" in found.why_basis


def test_a_constant_for_an_offset_is_seen_through(racing: Racing) -> None:
    racing.healthy(20)
    profile = racing.profile()
    for each in profile["k2_tiers"]:
        if each["name"] == "clean":
            each["offset_columns"] = ["src", "part", "0"]
    found = racing.audit(profile, compare_candles=False)
    assert found.basis is Basis.MULTISETS
    assert "its offset column is the same in all rows" in found.why_basis
    assert {each.verdict for each in found.tiers} == {Verdict.EXACT}


def test_equal_counts_alone_are_never_exact(racing: Racing) -> None:
    racing.healthy(20)
    profile = without_offsets(racing, "landing")
    found = racing.audit(profile, compare_candles=False)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert tier(found, "landing", "north").basis is Basis.COUNTS
    racing.database.execute(f"TRUNCATE TABLE {racing.name}.landing")
    assert tier(racing.audit(profile, compare_candles=False), "landing", "south").missing == 20


def without_offsets(racing: Racing, name: str) -> dict[str, Any]:
    profile = racing.profile()
    for each in profile["k2_tiers"]:
        if each["name"] == name:
            del each["offset_columns"]
    return profile


def test_what_consumers_have_not_taken_in_is_not_called_lost(racing: Racing) -> None:
    bets = racing.healthy(20)
    new = racing.produce(3)
    found = racing.audit(drain_timeout_s=0.5)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert f"consumers had {len(new)} records of the range still to take in" in found.reason
    assert tier(found, "clean").missing == len(new)
    assert len(bets) == 60


def test_what_a_source_sent_and_the_broker_lacks_was_lost_before_it(racing: Racing) -> None:
    racing.healthy(10)
    found = racing.audit(expected={"north": 25, "south": 8}, compare_candles=False)
    assert found.verdict is Verdict.LOST
    assert [(each.exchange, each.lost, each.surplus) for each in found.upstream] == [("north", 5, 0), ("south", 0, 2)]


def test_more_than_may_be_read_leaves_out_the_oldest_and_says_so(racing: Racing) -> None:
    racing.healthy(20)
    found = racing.audit(max_records=30)
    assert "30 older offsets left out (max_records)" in found.reason
    assert sum(part.records for part in found.range) == 30


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [("clean", {"table": "nowhere"}, "no table nowhere"), ("typed", {"price_column": "prize"}, "typed lacks a column")],
)
def test_an_unreadable_tier_is_told_and_the_others_are_audited(
    racing: Racing, name: str, change: dict[str, str], says: str
) -> None:
    racing.healthy(10)
    profile = racing.profile()
    for each in profile["k2_tiers"]:
        if each["name"] == name:
            each.update(change)
    found = racing.audit(profile)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert says in tier(found, name).reason
    assert {t.verdict for t in found.tiers if t.tier != name} == {Verdict.EXACT}


def test_an_unreachable_database_is_told_of_every_tier(racing: Racing) -> None:
    racing.healthy(2)
    profile = racing.profile()
    profile["k2_clickhouse"] = {**profile["k2_clickhouse"], "port": free_ports(1)[0]}
    found = racing.audit(profile)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert all("ClickHouse did not answer" in each.reason for each in found.tiers)


def test_a_query_that_would_cost_too_much_is_not_run(racing: Racing) -> None:
    racing.healthy(10)
    found = racing.audit(max_rows_to_read=5)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "max_rows_to_read" in tier(found, "landing").reason


def test_without_a_range_there_is_an_error_that_says_why(racing: Racing) -> None:
    racing.healthy(2)
    with pytest.raises(BadWatermark, match="another broker"):
        racing.audit(from_watermark={racing.topic("south"): {"0": 3}})
    with pytest.raises(BadWatermark, match=r"elsewhere/0"):
        racing.audit(from_watermark={"elsewhere": {"0": 0}})
    profile = racing.profile()
    profile["k2_broker"]["topics"]["south"]["raw"] = f"{racing.name}.absent"
    profile["k2_broker"]["groups"] = []
    with pytest.raises(TopicMissing, match="absent"):
        racing.audit(profile)
    with pytest.raises(BrokerError, match="did not list its topics"):
        BrokerReader(f"127.0.0.1:{free_ports(1)[0]}", 0.5).partitions(["x"])

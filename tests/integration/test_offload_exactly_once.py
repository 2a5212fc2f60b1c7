# SPDX-License-Identifier: Apache-2.0
"""The cold tier holds every row once: over runs, late rows, kills at any moment, two runs at once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time

import pytest

from .stores import ALL_TABLES, DEADLINE_S, TRADE_TABLES, World, until, wrong_variant

BLOCKED = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'k2-offload' AND datname = current_database() "
    "AND wait_event_type = 'Lock'"
)
CONNECTED = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'k2-offload' AND datname = current_database()"
)


def count(world: World, query: str) -> int:
    [[number]] = world.ask(query)
    return int(str(number))


def test_a_run_moves_what_is_new_and_a_second_one_changes_nothing(world: World) -> None:
    world.insert(900)
    world.succeed("run")
    world.assert_same()
    before, watermarks = world.snapshots(), world.watermarks()

    world.succeed("run")
    assert world.snapshots() == before
    assert {table: row[1] for table, row in world.watermarks().items()} == {
        table: row[1] for table, row in watermarks.items()
    }

    world.insert(300)
    world.succeed("run")
    world.assert_same()
    added = {table: world.iceberg(table).current_snapshot() for table in TRADE_TABLES}
    assert sum(int(snapshot.summary["k2.rows"]) for snapshot in added.values() if snapshot and snapshot.summary) == 600
    for table, (_, rows_total) in world.watermarks().items():
        if table in TRADE_TABLES:
            assert rows_total == world.cold_rows(table).total()


def test_a_repaired_batch_is_not_moved_again(world: World) -> None:
    world.insert(200)
    world.succeed("run")
    moved = world.cold_rows("bronze_trades_kraken")
    # The silver processor takes a batch out and writes it anew: same offsets, new times.
    kraken = "topic = 'market.crypto.trades.kraken.raw'"
    batch = world.hot.execute(
        "SELECT topic, kafka_partition, kafka_offset, payload, broker_timestamp, received_at "
        f"FROM {world.name}.raw_trades WHERE {kraken} FORMAT JSONEachRow"
    )
    for table in ("silver_trades", "bronze_trades", "raw_trades"):
        world.hot.execute(f"ALTER TABLE {world.name}.{table} DELETE WHERE {kraken}", settings={"mutations_sync": 1})
    world.succeed("run")
    assert world.cold_rows("bronze_trades_kraken") == moved
    world.insert_records(batch.splitlines())
    assert world.hot_rows("bronze_trades_kraken").total() == moved.total()
    world.succeed("run")
    assert world.cold_rows("bronze_trades_kraken") == moved


def test_rows_that_claim_to_be_old_are_moved(world: World) -> None:
    world.insert(200)
    world.succeed("run")
    # ClickHouse's clock stepped back: the rows lie outside of where a run looks first.
    columns = "exchange, symbol, trade_id, side, vendor_data, topic, kafka_partition, kafka_offset, broker_timestamp"
    world.hot.execute(
        f"INSERT INTO {world.name}.bronze_trades ({columns}, ingestion_timestamp) "
        "SELECT 'binance', 'X', '', 'buy', map(), 'market.crypto.trades.binance.raw', 3, "
        f"(SELECT max(kafka_offset) FROM {world.name}.bronze_trades_binance WHERE kafka_partition = 3) + 1 + number, "
        "now64(3), now64(6) - INTERVAL 1 DAY FROM numbers(5)"
    )
    world.insert(100, first_new={("binance", 3): world.next_offset("binance", 3) + 5})
    world.succeed("run")
    world.assert_same(["bronze_trades_binance"])


def test_holes_in_a_topic_and_new_partitions_are_no_loss(world: World) -> None:
    world.insert(100)
    world.succeed("run")
    world.insert(50, first_new={("kraken", 0): 5000})
    world.insert_records([json.dumps(world.record("binance", 9, offset)) for offset in (70, 71)])
    assert "show no row" in world.succeed("run")
    world.assert_same()


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_when_the_run_is_killed_at_any_moment(world: World) -> None:
    world.insert(200)
    began = time.monotonic()
    process = world.start("run")
    until(lambda: count(world, "SELECT count(*) FROM offload_runs") == 1, "the first run began")
    working = time.monotonic()
    process.communicate(timeout=DEADLINE_S)
    duration_s = time.monotonic() - working
    print(f"start {working - began:.1f} s, work {duration_s:.1f} s")  # noqa: T201 - tells a failure's reader the scale

    chance = random.Random(4)
    killed = 0
    for round_ in range(20):
        world.insert(40)
        runs = count(world, "SELECT count(*) FROM offload_runs")
        process = world.start("run")
        until(lambda runs=runs: count(world, "SELECT count(*) FROM offload_runs") > runs, "the run began")
        # One slice of the run's duration per round, so that every phase is hit.
        working = time.monotonic()
        moment = working + duration_s * (round_ + chance.random()) / 20
        while time.monotonic() < moment and process.poll() is None:
            time.sleep(0.002)
        if process.poll() is not None:
            # The machine was busier during the first.
            duration_s = time.monotonic() - working
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=DEADLINE_S)
        until(lambda: count(world, CONNECTED) == 0, "Postgres noticed that the run is gone")
        # A run may have told Postgres of its end and still be a process: that one was not interrupted.
        unfinished = count(world, "SELECT count(*) FROM offload_runs WHERE ended_at IS NULL")
        killed += process.returncode == -signal.SIGKILL and unfinished == 1
    assert killed >= 10, f"only {killed} of 20 runs were killed before their end"
    world.insert(40)
    world.succeed("run")
    world.assert_same()
    assert count(world, "SELECT total FROM offload_cycles WHERE status = 'interrupted'") == killed


def kill_between_append_and_watermark(world: World, config: object = None) -> None:
    """Let a run commit its rows to Iceberg, stop it before Postgres hears of it, and kill it there."""
    with world.stores.connect(world.name) as holder:
        holder.execute("SELECT 1 FROM offload_watermarks WHERE table_name = 'silver_trades' FOR UPDATE")
        process = world.start("run", config=config)  # type: ignore[arg-type]
        until(lambda: count(world, BLOCKED) == 1, "the run waits for the row of silver_trades")
        process.kill()
        process.communicate(timeout=DEADLINE_S)
        until(lambda: count(world, CONNECTED) == 0, "Postgres noticed that the run is gone")


def test_killed_between_append_and_watermark_nothing_is_doubled(world: World) -> None:
    world.insert(300)
    world.succeed("run")
    world.insert(100)
    kill_between_append_and_watermark(world)
    assert world.cold_rows("silver_trades").total() == 400, "the rows must have been committed"
    assert "offload_watermarks says" in world.succeed("run")
    world.assert_same()
    assert count(world, "SELECT reconciled_total FROM offload_watermarks WHERE table_name = 'silver_trades'") == 1


def test_the_known_bad_variant_doubles_what_is_between_append_and_watermark(world: World) -> None:
    bad = wrong_variant(world)
    world.insert(300)
    world.succeed("run", config=bad)
    world.assert_same()
    world.insert(100)
    kill_between_append_and_watermark(world, bad)
    world.succeed("run", config=bad)
    hot, cold = world.hot_rows("silver_trades"), world.cold_rows("silver_trades")
    assert (cold - hot).total() == 100
    assert not hot - cold
    assert "to be of the variant exactly-once; seen: append-then-watermark" in world.fail("run")


def test_of_two_runs_at_once_one_waits_for_the_other(world: World) -> None:
    world.insert(400)
    processes: list[subprocess.Popen[str]] = [world.start("run") for _ in range(3)]
    outputs = [process.communicate(timeout=DEADLINE_S)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    world.assert_same()
    assert {table: len(world.iceberg(table).snapshots()) for table in TRADE_TABLES} == dict.fromkeys(TRADE_TABLES, 1)


def test_a_run_that_cannot_get_its_turn_says_so(world: World) -> None:
    with world.stores.connect(world.name) as holder:
        holder.execute("SELECT pg_advisory_lock(27442, 1)")
        assert "to be the only offload run within 20 s; seen: one that began" in world.fail("run")


def test_runs_without_the_lock_cannot_both_commit(world: World) -> None:
    """The lock is a courtesy: what keeps rows single is the commit's requirement, which is tried here alone."""
    from k2lab.common.errors import LabError
    from k2lab.offload.cycle import _Run
    from k2lab.offload.mirror import Mirror
    from k2lab.offload.tables import TABLES

    world.insert(200)
    silver = next(table for table in TABLES if table.name == "silver_trades")
    with Mirror(world.config.postgres) as mirror:
        first, second = (_Run(world.config, mirror, name) for name in ("first", "second"))
        load = second._cold.load
        stale = []

        def load_then_be_overtaken(name: str) -> object:
            table = load(name)
            if not stale:
                stale.append(table)
                first.move(silver)
            return table

        first._cold.create_namespace()
        first.move(silver)
        world.insert(100)
        second._cold.load = load_then_be_overtaken  # type: ignore[method-assign,assignment]
        with pytest.raises(LabError, match="another run moved it"):
            second.move(silver)
    assert world.cold_rows("silver_trades").total() == 300
    world.succeed("run")
    world.assert_same(ALL_TABLES)


def test_candles_are_replaced_not_added(world: World) -> None:
    world.insert(200)
    world.succeed("run")
    first = world.cold_rows("ohlcv_1d")
    world.insert(200)
    world.succeed("run")
    second = world.cold_rows("ohlcv_1d")
    assert second.total() <= first.total() + 9  # three coins on three exchanges, and midnight may have passed
    assert second != first
    world.assert_same()

# SPDX-License-Identifier: Apache-2.0
"""Stores that are down, full, wrong or not ours: one clear error, nothing half done, and the next run recovers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from k2lab.offload.bucket import s3_filesystem
from k2lab.offload.config import OffloadConfig

from .stores import PASSWORD, TRADE_TABLES, Service, Stores, World, free_ports, minio, until


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_object_store_away(world: World, how: signal.Signals) -> None:
    world.insert(200)
    world.succeed("run")
    before, snapshots = world.watermarks(), world.snapshots()
    world.insert(100)
    service = world.stores.minio
    assert service.process is not None
    if how is signal.SIGKILL:
        with service.down():
            output = world.fail("run")
    else:
        service.process.send_signal(signal.SIGSTOP)
        try:
            output = world.fail("run")
        finally:
            service.process.send_signal(signal.SIGCONT)
    assert f"expected an answer from the object store at {world.stores.minio_url}" in output
    assert world.watermarks() == before
    assert world.snapshots() == snapshots
    assert world.ask("SELECT DISTINCT status, failure_count, errors_total FROM offload_watermarks") == [
        ("failed", 1, 1)
    ]
    assert world.hot_rows("silver_trades").total() == 300, "the hot tier must not mind"
    world.succeed("run")
    world.assert_same()
    assert world.ask("SELECT DISTINCT status, failure_count, errors_total FROM offload_watermarks") == [("ok", 0, 1)]


def test_object_store_dies_in_the_middle_of_a_run(world: World) -> None:
    world.insert(200)
    world.succeed("run")
    world.insert(100)
    with world.stores.connect(world.name) as holder:
        holder.execute("SELECT 1 FROM offload_watermarks WHERE table_name = 'bronze_trades_kraken' FOR UPDATE")
        process = world.start("run")
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        until(lambda: world.ask(blocked) == [(1,)], "the run has committed the second table")
        with world.stores.minio.down():
            holder.rollback()
            output, _ = process.communicate(timeout=90)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    status = {str(table): status for table, status in world.ask("SELECT table_name, status FROM offload_watermarks")}
    assert status["bronze_trades_kraken"] == "ok"
    assert status["bronze_trades_coinbase"] == status["silver_trades"] == status["ohlcv_1d"] == "failed"
    world.succeed("run")
    world.assert_same()


def test_postgres_away(world: World) -> None:
    world.insert(200)
    world.succeed("run")
    before, snapshots = world.watermarks(), world.snapshots()
    world.insert(100)
    with world.stores.postgres.down():
        assert f"expected Postgres at 127.0.0.1:{world.stores.postgres_port}" in world.fail("run")
    assert world.watermarks() == before
    assert world.snapshots() == snapshots
    world.succeed("run")
    world.assert_same()


def test_clickhouse_away(world: World) -> None:
    world.insert(200)
    with world.stores.clickhouse.down():
        assert f"expected ClickHouse at {world.stores.clickhouse_url}" in world.fail("run")
    world.succeed("run")
    world.assert_same()


def test_wrong_credentials(world: World) -> None:
    world.insert(10)
    config = world.config
    wrong: dict[str, OffloadConfig] = {
        "the object store to accept the access key": replace(
            config, object_store=replace(config.object_store, secret_key="wrong-wrong")
        ),
        "password authentication failed": replace(config, postgres=replace(config.postgres, password="wrong")),
        "AUTHENTICATION_FAILED": replace(config, clickhouse=replace(config.clickhouse, password="wrong")),
    }
    for said, given in wrong.items():
        output = world.fail("run", config=given)
        assert said in output
        assert "wrong-wrong" not in output
    assert not any(world.snapshots_or_none().values())
    world.succeed("run")
    world.assert_same(TRADE_TABLES)


def test_a_bucket_that_is_not_ours_is_left_alone(world: World) -> None:
    other = replace(world.config, lab_id="somebody-else")
    for command in ("init", "run", "maintain"):
        assert f"k2-lab.json names {world.name}" in world.fail(command, config=other)
    used = replace(world.config, object_store=replace(world.config.object_store, bucket=f"{world.name}-used"))
    filesystem = s3_filesystem(used.object_store)
    filesystem.create_dir(used.object_store.bucket)
    with filesystem.open_output_stream(f"{used.object_store.bucket}/theirs") as stream:
        stream.write(b"x")
    assert "entries, among them theirs, and no marker" in world.fail("init", config=used)
    assert "none: the bucket was emptied, or is not the cold tier's" in world.fail("run", config=used)


def test_a_lost_cold_tier_is_not_taken_for_an_empty_one(world: World) -> None:
    world.insert(100)
    world.succeed("run")
    before = world.watermarks()
    world.catalog().drop_table(("k2", "silver_trades"))
    output = world.fail("run")
    assert "silver_trades: expected the Iceberg table silver_trades with its watermark" in output
    assert "ohlcv_1d: 0 rows" in output, "the other tables go on"
    assert world.watermarks()["silver_trades"] == before["silver_trades"]
    world.ask("DELETE FROM offload_watermarks WHERE table_name = 'silver_trades' RETURNING 1")
    world.succeed("run")
    world.assert_same()


def test_changed_columns_hold_their_table_only(world: World) -> None:
    world.insert(100)
    world.succeed("run")
    before = world.watermarks()
    world.hot.execute(f"ALTER TABLE {world.name}.silver_trades ADD COLUMN fee Nullable(Decimal(38, 8))")
    world.insert(50)
    output = world.fail("run")
    assert "silver_trades: expected the columns from which the Iceberg table silver_trades was made" in output
    assert "fee absent is now Nullable(Decimal(38, 8))" in output
    assert world.watermarks()["silver_trades"] == before["silver_trades"]
    world.assert_same([table for table in TRADE_TABLES if table != "silver_trades"])
    world.hot.execute(f"ALTER TABLE {world.name}.silver_trades DROP COLUMN fee")
    world.succeed("run")
    world.assert_same()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB, unmounted in the end."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def small_store(small_disk: Path, tmp_path: Path) -> Iterator[Service]:
    [port] = free_ports(1)
    service = minio(small_disk, port, tmp_path / "minio.log")
    service.start()
    yield service
    service.end(signal.SIGTERM)


def test_object_store_without_room(stores: Stores, world: World, small_store: Service, small_disk: Path) -> None:
    url = f"http://{small_store.command[small_store.command.index('--address') + 1]}"
    config = replace(world.config, object_store=replace(world.config.object_store, url=url))
    world.insert(200)
    world.succeed("init", config=config)
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize)
    assert f"expected room in the object store at {url}" in world.fail("run", config=config)
    assert {row[0] for row in world.watermarks().values()} == {None}
    ballast.unlink()
    world.succeed("run", config=config)
    assert sum(int(str(row[1])) for table, row in world.watermarks().items() if table == "silver_trades") == 200


def test_exporter_tells_what_the_runs_left(world: World) -> None:
    world.insert(100)
    world.succeed("run")
    [port] = free_ports(1)

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    process = world.start("exporter", "--http-port", str(port))
    try:
        until(lambda: get("/health")[0] == 200, "the exporter answers")
        first = get("/metrics")[1]
        assert 'offload_rows_total{table="silver_trades"} 100.0' in first
        assert 'offload_cycles_total{status="ok"} 1.0' in first
        assert 'offload_errors_total{table="ohlcv_1d"} 0.0' in first
        for name in ("offload_lag_minutes", "offload_duration_seconds", "watermark_timestamp_seconds"):
            assert f'{name}{{table="bronze_trades_binance"}} ' in first
        with world.stores.postgres.down():
            status, body = get("/health")
            assert status == 503
            assert "expected Postgres" in json.loads(body)["reasons"][0]
            metrics = get("/metrics")[1]
            assert "offload_postgres_up 0.0" in metrics
            assert "watermark_timestamp_seconds{" not in metrics
        until(lambda: get("/health")[0] == 200, "the exporter found Postgres again")
        assert 'offload_rows_total{table="silver_trades"} 100.0' in get("/metrics")[1]
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert PASSWORD not in output

# SPDX-License-Identifier: Apache-2.0
"""Maintenance changes what the cold tier is made of, never what it holds; also while runs go on."""

from __future__ import annotations

import signal

from pyarrow import fs

from k2lab.offload.bucket import Bucket

from .stores import ALL_TABLES, DEADLINE_S, TRADE_TABLES, World, until

MAINTENANCE_RUNS = "SELECT 1 FROM offload_runs WHERE kind = 'maintenance' AND status = 'running'"


def files(world: World, table: str) -> int:
    return len(list(world.iceberg(table).scan().plan_files()))


def objects(world: World) -> int:
    found = Bucket(world.config.object_store).files(world.name)
    return sum(info.type is fs.FileType.File for info in found)


def test_contents_stay_and_files_and_snapshots_go(world: World) -> None:
    for _ in range(3):
        world.insert(100)
        world.succeed("run")
    held = {table: world.cold_rows(table) for table in ALL_TABLES}
    many, stored = {table: files(world, table) for table in TRADE_TABLES}, objects(world)
    assert set(many.values()) == {3}

    world.succeed("maintain", "--orphan-age-s", "0", "--keep-snapshots", "1")

    assert {table: world.cold_rows(table) for table in ALL_TABLES} == held
    assert {table: files(world, table) for table in TRADE_TABLES} == dict.fromkeys(TRADE_TABLES, 1)
    assert {table: len(world.iceberg(table).snapshots()) for table in ALL_TABLES} == dict.fromkeys(ALL_TABLES, 1)
    assert objects(world) < stored
    before = world.snapshots()
    world.succeed("run")
    assert world.snapshots() == before, "the watermarks outlived it"
    world.insert(50)
    world.succeed("run")
    world.assert_same()


def test_young_files_of_nobody_stay_and_old_ones_go(world: World) -> None:
    world.insert(50)
    world.succeed("run")
    bucket = Bucket(world.config.object_store)
    orphan = f"{world.iceberg('silver_trades').location().removeprefix('s3://')}/data/of-a-killed-run.parquet"
    elsewhere = f"{world.name}/not-a-table/file"
    filesystem = bucket.filesystem
    for path in (orphan, elsewhere):
        with filesystem.open_output_stream(path) as stream:
            stream.write(b"x")
    world.succeed("maintain")
    assert filesystem.get_file_info(orphan).type is fs.FileType.File
    world.succeed("maintain", "--orphan-age-s", "0")
    assert filesystem.get_file_info(orphan).type is fs.FileType.NotFound
    assert filesystem.get_file_info(elsewhere).type is fs.FileType.File
    world.assert_same()


def test_beside_runs_nothing_is_lost_or_doubled(world: World) -> None:
    for _ in range(2):
        world.insert(60)
        world.succeed("run")
    for killed in (False, False, True):
        world.insert(60)
        maintenance, run = world.start("maintain"), world.start("run")
        if killed:
            until(lambda: bool(world.ask(MAINTENANCE_RUNS)), "maintenance began")
            maintenance.send_signal(signal.SIGKILL)
        outputs = [process.communicate(timeout=DEADLINE_S)[0] for process in (maintenance, run)]
        assert run.returncode == 0, outputs[1]
        assert killed or maintenance.returncode == 0, outputs[0]
        assert not any("Traceback" in output for output in outputs)
    world.succeed("maintain")
    world.succeed("run")
    world.assert_same()

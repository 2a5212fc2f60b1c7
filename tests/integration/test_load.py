# SPDX-License-Identifier: Apache-2.0
"""Loads on a real broker, a real simulator and a real database: what is said to be sent is there, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]
from own_kafka import Kafka, kafka, wait_until

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import utc_us
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.cleanup import remove_loads
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.request import Request, Source
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.result import LoadResult, merge_loads
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.run import run_load
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.schedule import Arrivals, Share, draw
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from k2lab.clickhouse_http import ClickHouse
from k2lab.schema import CandleEngine
from k2lab.schema.apply import apply_schema
from k2lab.topics import ensure_topics

from .lab import ROOT
from .stores import Service, free_ports
from .test_exchange_to_broker import EXCHANGES, Stack, kafka_bootstrap, stack, start

pytestmark = pytest.mark.measures

__all__ = ["kafka_bootstrap", "stack"]

DATA = ROOT / "lab/data/real_trades.csv"
HEADERS = {"received_at_us": "$time_us"}
RECORDS = {
    "binance": {
        "symbol": "K2LOADETH",
        "value": '{"e":"trade","E":$time_us,"s":"$symbol","t":$id,"p":"$price","q":"$size","T":$time_us,'
        '"m":$buyer_is_maker,"M":true}',
        "headers": HEADERS,
    },
    "kraken": {
        "symbol": "K2LOAD/EUR",
        "value": '{"pair":"$symbol","price":"$price","volume":"$size","timestamp":"$time_s","side":"$side_letter"}',
        "headers": HEADERS,
    },
    "coinbase": {
        "symbol": "K2LOAD-USD",
        "value": '{"trade_id":"$id","product_id":"$symbol","price":"$price","size":"$size","side":"$side_upper",'
        '"time":"$time_rfc3339","sequence_num":$sequence}',
        "headers": HEADERS,
    },
}
SYMBOL_FIELDS = {"binance": "s", "kraken": "pair", "coinbase": "product_id"}


def sections(stack: Stack) -> dict[str, Any]:
    return {
        "k2_platform": {"name": "tested", "scale": "lab", "runtime": "docker"},
        "k2_services": {"log": {"kind": "broker"}},
        "k2_broker": {
            "bootstrap": stack.bootstrap,
            "topics": {exchange: {"raw": f"{stack.prefix}.{exchange}.raw"} for exchange in EXCHANGES},
        },
        "k2_load": {
            "rates": {"busy": 600},
            "control_url": f"http://127.0.0.1:{stack.ports['control']}",
            "records": RECORDS,
        },
    }


def profile(stack: Stack) -> Profile:
    return parse_profile(sections(stack))


def run(stack: Stack, request: Request, state: Path) -> LoadResult:
    return run_load(profile(stack), request, state, None, threading.Event())


def open_entries(state: Path) -> list[str]:
    return [entry.undo for entry in Journal(state / "tested" / "undo").open_entries()]


def values(stack: Stack, exchange: str) -> list[Any]:
    return [json.loads(message.value()) for message in stack.records(f"{stack.prefix}.{exchange}.raw")]


def test_shares_of_a_file_deliver_the_one_schedule_exactly(stack: Stack, tmp_path: Path) -> None:
    start_us = utc_us() + 2_500_000

    def share(index: int) -> Request:
        return Request("busy", 2.0, Source.FILE, seed=5, share=Share(index, 2), start_at_us=start_us, data_file=DATA)

    shares: list[LoadResult] = []
    threads = [
        threading.Thread(target=lambda index=index: shares.append(run(stack, share(index), tmp_path)))
        for index in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    whole = merge_loads(shares)
    schedule = draw(sorted(EXCHANGES), 600.0, 2.0, Arrivals.POISSON, 5, Share())
    assert (whole.scheduled, whole.unsent, whole.errors, whole.interrupted) == (len(schedule), 0, {}, None)
    assert whole.sent == whole.acked == whole.lateness.count == len(schedule)
    assert {name: counts.sent for name, counts in whole.exchanges.items()} == schedule.counts()
    due = {name: Counter[int]() for name in schedule.exchanges}
    for place, at_us in zip(schedule.exchange, schedule.due_us, strict=True):
        due[schedule.exchanges[place]][start_us + at_us] += 1
    for exchange in EXCHANGES:
        messages = stack.records(f"{stack.prefix}.{exchange}.raw")
        assert Counter(int(dict(message.headers())["received_at_us"]) for message in messages) == due[exchange]
        symbol = RECORDS[exchange]["symbol"]
        assert {message.key().decode() for message in messages} == {symbol}
        assert {json.loads(message.value())[SYMBOL_FIELDS[exchange]] for message in messages} == {symbol}
    ids = [value["t"] for value in values(stack, "binance")] + [int(v["trade_id"]) for v in values(stack, "coinbase")]
    assert len(set(ids)) == len(ids)
    sequences = [value["sequence_num"] for value in values(stack, "coinbase")]
    assert sorted(sequences) == list(range(1, len(sequences) + 1))
    assert open_entries(tmp_path) == []


def test_recorded_records_are_replayed_under_the_reserved_symbols(stack: Stack, tmp_path: Path) -> None:
    start(stack, 120)
    wait_until(lambda: all(stack.heard(name) >= 20 for name in EXCHANGES), 60, "heard trades")
    stack.command("/stop", {})
    for exchange in EXCHANGES:
        assert stack.stop(exchange) == 0
    recorded = {exchange: len(values(stack, exchange)) for exchange in EXCHANGES}
    result = run(stack, Request("busy", 1.0, Source.REPLAY, replay_records=10), tmp_path)
    assert (result.unsent, result.errors, result.interrupted) == (0, {}, None)
    for exchange in EXCHANGES:
        found = values(stack, exchange)
        ours = [value for value in found if value[SYMBOL_FIELDS[exchange]] == RECORDS[exchange]["symbol"]]
        others = [value for value in found if value[SYMBOL_FIELDS[exchange]] != RECORDS[exchange]["symbol"]]
        assert len(ours) == result.exchanges[exchange].sent > 100
        assert len(others) == recorded[exchange]
        # What the template does not name came along from the recorded records.
        kept = {"binance": "p", "kraken": "order_type", "coinbase": "price"}[exchange]
        assert {value[kept] for value in ours} <= {value[kept] for value in others}
        assert {frozenset(value) for value in ours} <= {frozenset(value) for value in others}


def test_what_is_not_there_is_named_before_anything_is_sent(stack: Stack, tmp_path: Path) -> None:
    without = sections(stack)
    without["k2_broker"]["topics"]["kraken"] = {"raw": "nobody.made.this"}
    request = Request("busy", 1.0, Source.FILE, data_file=DATA)
    with pytest.raises(K2Error, match=r"no topic nobody\.made\.this"):
        run_load(parse_profile(without), request, tmp_path, None, threading.Event())
    without["k2_broker"]["bootstrap"] = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(K2Error, match="broker did not"):
        run_load(parse_profile(without), request, tmp_path, None, threading.Event())
    with pytest.raises(K2Error, match="nothing to replay"):
        run(stack, Request("busy", 1.0, Source.REPLAY), tmp_path)
    with pytest.raises(K2Error, match=r"none\.csv"):
        run(stack, Request("busy", 1.0, Source.FILE, data_file=tmp_path / "none.csv"), tmp_path)
    with pytest.raises(K2Error, match="simulator did not answer"):
        run(stack, Request("busy", 1.0, Source.SIMULATOR), tmp_path)
    assert open_entries(tmp_path) == []
    assert not any(values(stack, exchange) for exchange in EXCHANGES)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Kafka]:
    """A broker that the test may kill."""
    (tmp_path / "kafka").mkdir()
    with kafka(tmp_path / "kafka") as broker:
        yield broker


def test_a_broker_that_dies_ends_the_load_with_all_counted(mortal: Kafka, tmp_path: Path) -> None:
    described = Stack(mortal.bootstrap, tmp_path, {"control": 1}, "dies")
    admin = AdminClient({"bootstrap.servers": mortal.bootstrap})
    ensure_topics(admin, {}, {f"dies.{exchange}.raw": 1 for exchange in EXCHANGES})
    results: list[LoadResult] = []
    request = Request("busy", 60.0, Source.FILE, data_file=DATA)
    progress = tmp_path / "progress"
    thread = threading.Thread(
        target=lambda: results.append(run_load(profile(described), request, tmp_path, progress, threading.Event()))
    )
    thread.start()
    wait_until(lambda: progress.exists() and '"done":' in progress.read_text(), 30, "the load has begun")
    wait_until(lambda: any(json.loads(line)["done"] for line in progress.read_text().splitlines()), 30, "it sends")
    mortal.process.kill()
    thread.join(60)
    (result,) = results
    assert "acknowledged nothing" in str(result.interrupted)
    assert result.unsent > 0
    assert result.sent + result.unsent == result.scheduled
    assert (result.acked or 0) + sum(result.errors.values()) == result.sent
    assert sum(result.errors.values()) > 0
    assert open_entries(tmp_path) == []


def test_the_simulators_own_account_is_that_of_its_log(stack: Stack, tmp_path: Path) -> None:
    start(stack, 30)
    request = Request("busy", 2.0, Source.SIMULATOR, arrivals=Arrivals.CONSTANT, quiet_after_s=1.0)
    result = run(stack, request, tmp_path)
    assert (result.scheduled, result.sent, result.unsent, result.acked) == (1200, 1200, 0, None)
    assert result.interrupted is None
    assert result.lateness.count == 1200
    for exchange in EXCHANGES:
        logged = [row for row in rows(stack, exchange) if result.start_us <= row["scheduled_us"] < result.end_us]
        assert len(logged) == result.exchanges[exchange].sent
        assert sum(row["subscribers"] > 0 for row in logged) == result.exchanges[exchange].heard == len(logged)
    with pytest.raises(K2Error, match="busy"):  # the quiet belongs to the load
        run(stack, request, tmp_path)
    assert open_entries(tmp_path) == []
    before = len(stack.truth("binance"))
    wait_until(lambda: len(stack.truth("binance")) > before, 20, "the base rate is back")


def rows(stack: Stack, exchange: str) -> list[dict[str, int]]:
    lines = (stack.directory / "truth" / f"{exchange}.csv").read_text().splitlines()
    names = lines[0].split(",")
    split = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    return [{name: int(row[name]) for name in ("scheduled_us", "subscribers")} for row in split]


# -- the module as a process -------------------------------------------------------------------------------------------


@pytest.fixture
def module(stack: Stack, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the module with these arguments; it answers on its standard output."""

    def begin(**arguments: object) -> subprocess.Popen[str]:
        given = tmp_path / "arguments.json"
        plain = {"profile": sections(stack), "state_dir": str(tmp_path), "confirm": "tested", **arguments}
        given.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": plain}))
        name = "ansible_collections.k2.hardening.plugins.modules.k2_load"
        return subprocess.Popen(
            [sys.executable, "-m", name, str(given)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
        )

    return begin


def state_of(stack: Stack) -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{stack.ports['control']}/load", timeout=5) as answer:
        return str(json.load(answer)["state"])


def test_terminated_it_ends_the_load_and_tells(stack: Stack, tmp_path: Path, module: Any) -> None:
    start(stack, 30)
    process = module(load="busy", seconds=300)
    wait_until(lambda: state_of(stack) == "running", 30, "the load runs")
    process.send_signal(signal.SIGTERM)
    answer = json.loads(process.communicate(timeout=30)[0])
    assert answer["changed"] is True
    assert answer["load"]["interrupted"] == "ended before its time: told to stop"
    assert answer["load"]["unsent"] > 0
    assert state_of(stack) == "ended early"
    assert open_entries(tmp_path) == []


def test_killed_it_leaves_an_entry_that_says_what_ends_the_load(stack: Stack, tmp_path: Path, module: Any) -> None:
    start(stack, 30)
    process = module(load="busy", seconds=4, quiet_after_s=0)
    wait_until(lambda: state_of(stack) == "running", 30, "the load runs")
    process.kill()
    process.communicate(timeout=30)
    (undo,) = open_entries(tmp_path)
    assert "returns to its base rate by itself" in undo
    wait_until(lambda: state_of(stack) == "finished", 30, "it did")


def test_what_a_killed_load_has_left_can_be_ended_at_once(stack: Stack, tmp_path: Path, module: Any) -> None:
    start(stack, 30)
    process = module(load="busy", seconds=300)
    wait_until(lambda: state_of(stack) == "running", 30, "the load runs")
    alive = json.loads(module(state="absent").communicate(timeout=30)[0])
    assert (alive["changed"], alive["cleanup"]["ended"]) == (False, [])
    assert state_of(stack) == "running"
    process.kill()
    process.communicate(timeout=30)
    ended = json.loads(module(state="absent").communicate(timeout=30)[0])
    assert ended["changed"] is True
    assert ended["cleanup"]["ended"][0].startswith("load busy: 600/s for 300 s, begun at ")
    assert state_of(stack) == "ended early"
    assert open_entries(tmp_path) == []


def test_wrong_confirmation_touches_nothing(stack: Stack, tmp_path: Path, module: Any) -> None:
    for arguments in ({"load": "busy", "seconds": 1}, {"state": "absent"}):
        answer = json.loads(module(**arguments, confirm="other").communicate(timeout=30)[0])
        assert answer["failed"] is True
        assert "k2_confirm=tested" in answer["msg"]
    assert open_entries(tmp_path) == []


# -- removing what loads left ------------------------------------------------------------------------------------------

PASSWORDS = {"janitor": "may-write", "auditor": "may-read"}


@pytest.fixture
def clickhouse_port(tmp_path: Path) -> Iterator[int]:
    """A ClickHouse with the lab's tables, a user that may write and one that may only read."""
    (port,) = free_ports(1)
    users = [
        {
            "name": name,
            "password_sha256": hashlib.sha256(password.encode()).hexdigest(),
            "readonly": 0 if name == "janitor" else 2,
            "settings": {},
        }
        for name, password in PASSWORDS.items()
    ]
    (tmp_path / "users.json").write_text(json.dumps(users))

    def ready() -> bool:
        with ClickHouse(f"http://127.0.0.1:{port}", "janitor", PASSWORDS["janitor"]) as client:
            try:
                client.execute("SELECT 1")
            except Exception:  # noqa: BLE001 - not yet
                return False
            return True

    service = Service(
        "clickhouse",
        [sys.executable, "-m", "k2lab.clickhouse_front", "--host", "127.0.0.1", "--port", str(port),
         "--data-dir", str(tmp_path / "clickhouse"), "--users", str(tmp_path / "users.json")],
        tmp_path / "clickhouse.log",
        ready,
        {"PYTHONPATH": str(ROOT / "lab")},
    )  # fmt: skip
    service.start()
    try:
        yield port
    finally:
        service.end(signal.SIGTERM)


def test_the_rows_of_reserved_symbols_are_removed_and_no_others(clickhouse_port: int, tmp_path: Path) -> None:
    offsets = ["topic", "kafka_partition", "kafka_offset"]
    trades = {"exchange_column": "exchange", "key_columns": offsets, "offset_columns": offsets, "store": "clickhouse"}
    where = {"host": "127.0.0.1", "port": clickhouse_port, "database": "k2"}
    described = {
        "k2_platform": {"name": "tested", "scale": "lab", "runtime": "docker"},
        "k2_services": {"log": {"kind": "broker"}},
        "k2_broker": {"bootstrap": "x:1", "topics": {name: {"raw": f"t.{name}.raw"} for name in EXCHANGES}},
        "k2_clickhouse": {**where, "username": "auditor", "password": PASSWORDS["auditor"]},
        "k2_object_store": {"url": "http://127.0.0.1:1", "bucket": "b", "access_key": "a", "secret_key": "s"},
        "k2_tiers": [
            {"name": "raw", "table": "raw_trades", "store": "clickhouse", "key_columns": offsets,
             "offset_columns": offsets},
            {**trades, "name": "bronze", "table": "bronze_trades", "sequence_columns": ["exchange", "symbol"]},
            {**trades, "name": "silver", "table": "silver_trades",
             "sequence_columns": ["exchange", "symbol", "source_sequence"]},
            {"name": "minutes", "table": "ohlcv_1m", "store": "clickhouse", "exchange_column": "exchange",
             "key_columns": ["exchange", "canonical_symbol", "window_start"]},
            {"name": "nowhere", "table": "no_such_table", "store": "clickhouse", "key_columns": ["symbol"]},
            {"name": "archive", "table": "a.b", "store": "object_store"},
        ],
        "k2_load": {
            "rates": {"busy": 1},
            "records": RECORDS,
            "cleanup": {"username": "janitor", "password": PASSWORDS["janitor"]},
        },
    }  # fmt: skip
    with ClickHouse(f"http://127.0.0.1:{clickhouse_port}", "janitor", PASSWORDS["janitor"]) as client:
        apply_schema(client, "k2", CandleEngine.AGGREGATING)
        now = time.time()
        payloads = {
            "binance": ('{"s":"%s","t":1,"p":"1.5","q":"2","T":%d,"m":true}', ["K2LOADETH", "K2LOADUSDT", "XRPETH"]),
            "coinbase": (
                '{"product_id":"%s","trade_id":"1","price":"1.5","size":"2","time":"%d","side":"BUY"}',
                ["K2LOAD-USD", "BAND-BTC"],
            ),
        }
        lines = [
            json.dumps(
                {
                    "topic": f"t.{exchange}.raw",
                    "kafka_partition": 0,
                    "kafka_offset": offset,
                    "payload": payload % (symbol, int(now * 1e6) if exchange == "binance" else int(now)),
                    "broker_timestamp": now,
                    "received_at": now,
                }
            )
            for exchange, (payload, symbols) in payloads.items()
            for offset, symbol in enumerate(symbols)
        ]
        columns = "topic, kafka_partition, kafka_offset, payload, broker_timestamp, received_at"
        client.execute(f"INSERT INTO k2.raw_trades ({columns}) FORMAT JSONEachRow", body="\n".join(lines).encode())
        seen = parse_profile(described)
        looked = remove_loads(seen, tmp_path, only_look=True)
        assert looked.changed
        assert {tier.tier: (tier.found, tier.removed) for tier in looked.tiers} == {
            "archive": (None, None), "nowhere": (None, None), "minutes": (2, None), "silver": (2, None),
            "bronze": (2, None), "raw": (None, None),
        }  # fmt: skip
        done = remove_loads(seen, tmp_path, only_look=False)
        assert [(tier.tier, tier.removed) for tier in done.tiers if tier.removed is not None] == [
            ("minutes", 2), ("silver", 2), ("bronze", 2),
        ]  # fmt: skip
        why = {tier.tier: str(tier.why) for tier in done.tiers if tier.why}
        assert why.keys() == {"archive", "nowhere", "raw"}
        assert "object_store" in why["archive"]
        assert "no_such_table" in why["nowhere"]
        assert "age out" in why["raw"]
        assert done.stays[0].startswith("topic t.binance.raw")
        for table, column in (
            ("bronze_trades", "symbol"),
            ("silver_trades", "symbol"),
            ("ohlcv_1m", "canonical_symbol"),
        ):
            left = client.execute(f"SELECT groupUniqArray({column}) FROM k2.{table}")
            assert "XRP" in left
            assert "K2LOADUSDT" in left.replace("/", "")  # another symbol than the reserved one
        again = remove_loads(seen, tmp_path, only_look=False)
        assert not again.changed
        described["k2_load"]["cleanup"] = {"username": "auditor", "password": PASSWORDS["auditor"]}  # type: ignore[index]
        client.execute(f"INSERT INTO k2.raw_trades ({columns}) FORMAT JSONEachRow", body=lines[0].encode())
        refused = remove_loads(parse_profile(described), tmp_path, only_look=False)
        assert {tier.tier: tier.removed for tier in refused.tiers if tier.found} == {
            "minutes": 0, "silver": 0, "bronze": 0,
        }  # fmt: skip
        assert all("164" in str(tier.why) for tier in refused.tiers if tier.found)

# SPDX-License-Identifier: Apache-2.0
"""From the simulated exchanges into a real Kafka: every trade sent to a listener is found in both topics, exactly."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]
from own_kafka import free_ports, kafka, wait_until

from k2lab.topics import ensure_topics

ROOT = Path(__file__).parents[2]
EXCHANGES = ("binance", "kraken", "coinbase")
SYMBOLS = {
    "binance": "XRPETH,ETHUSDT",
    "kraken": "BCH/EUR,SC/EUR,XMR/USD",
    "coinbase": "BAND-BTC,BAND-GBP,DASH-BTC,NMR-EUR,NU-GBP,SKL-BTC,SKL-GBP,SKL-USD",
}
TradeKey = tuple[str, str, str, str]  # symbol, trade id or (Kraken) time in us, price, size


@pytest.fixture(scope="module")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.bootstrap


@dataclass
class Stack:
    """A simulator and three handlers on free ports, with topics of their own."""

    bootstrap: str
    directory: Path
    ports: dict[str, int]
    prefix: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def run(self, name: str, module: str, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "lab")}
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], stdout=log, stderr=log, env=environment
            )

    def start_simulator(self, rate: float) -> None:
        ports = [value for name in (*EXCHANGES, "control") for value in (f"--{name}-port", str(self.ports[name]))]
        data = str(ROOT / "lab/data/real_trades.csv")
        truth = str(self.directory / "truth")
        self.run(
            "simulator", "k2lab.exchange_simulator", "--data", data, "--truth-dir", truth, "--rate", str(rate), *ports
        )

    def start_handler(self, exchange: str) -> None:
        query = "/ws?timeUnit=MICROSECOND" if exchange == "binance" else ""
        self.run(
            exchange,
            "k2lab.feed_handler",
            *("--exchange", exchange, "--url", f"ws://127.0.0.1:{self.ports[exchange]}{query}"),
            *("--symbols", SYMBOLS[exchange], "--bootstrap", self.bootstrap),
            *("--raw-topic", f"{self.prefix}.{exchange}.raw", "--topic", f"{self.prefix}.{exchange}"),
            *("--dead-letter-topic", f"{self.prefix}.dead-letter", "--stale-after", "3"),
            *("--http-port", str(self.ports[f"{exchange}-http"])),
        )

    def stop(self, name: str) -> int:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait(10)

    def command(self, path: str, body: object) -> dict[str, object]:
        url = f"http://127.0.0.1:{self.ports['control']}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=5) as answer:
            document = json.load(answer)
        assert isinstance(document, dict)
        return document

    def health(self, exchange: str) -> tuple[int, list[str]]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.ports[f'{exchange}-http']}/health", timeout=5
            ) as answer:
                return answer.status, json.load(answer)["reasons"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)["reasons"]
        except urllib.error.URLError as error:
            return 0, [str(error)]

    def wait_healthy(self, *exchanges: str, seconds: float = 20) -> None:
        for exchange in exchanges or EXCHANGES:
            wait_until(lambda name=exchange: self.health(name)[0] == 200, seconds, f"{exchange} healthy")  # type: ignore[misc]

    def truth(self, exchange: str) -> dict[TradeKey, int]:
        """Sent trades and how many listened."""
        found: dict[TradeKey, int] = {}
        for path in (self.directory / "truth").glob(f"{exchange}*.csv"):
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    trade_id = row["trade_id"] or row["exchange_time_us"]
                    found[row["symbol"], trade_id, row["price"], row["size"]] = int(row["subscribers"])
        return found

    def heard(self, exchange: str) -> int:
        """How many of the sent trades had a listener: only these can be in a topic."""
        return sum(map(bool, self.truth(exchange).values()))

    def records(self, topic: str) -> list[Any]:
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": uuid.uuid4().hex,
                "enable.partition.eof": True,
                "enable.auto.commit": False,
            }
        )
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for number in partitions])
            messages, ends = [], 0
            while ends < len(partitions):
                message = consumer.poll(10)
                assert message is not None, f"{topic}: no end of partition within 10 s"
                if message.error() is None:
                    messages.append(message)
                else:
                    assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
                    ends += 1
            return messages
        finally:
            consumer.close()

    def raw_keys(self, exchange: str) -> list[TradeKey]:
        return [raw_key(exchange, message.value()) for message in self.records(f"{self.prefix}.{exchange}.raw")]

    def normalised_keys(self, exchange: str) -> list[TradeKey]:
        trades = [json.loads(message.value()) for message in self.records(f"{self.prefix}.{exchange}")]
        return [
            (trade["symbol"], trade["trade_id"] or str(trade["exchange_time_us"]), trade["price"], trade["quantity"])
            for trade in trades
        ]


def raw_key(exchange: str, value: bytes) -> TradeKey:
    trade = json.loads(value)
    if exchange == "binance":
        return trade["s"], str(trade["t"]), trade["p"], trade["q"]
    if exchange == "kraken":
        return trade["pair"], trade["timestamp"].replace(".", ""), trade["price"], trade["volume"]
    return trade["product_id"], trade["trade_id"], trade["price"], trade["size"]


@pytest.fixture
def stack(kafka_bootstrap: str, tmp_path: Path) -> Iterator[Stack]:
    names = [*EXCHANGES, "control", *(f"{exchange}-http" for exchange in EXCHANGES)]
    prefix = f"test-{uuid.uuid4().hex[:8]}"
    topics = [f"{prefix}.{exchange}{suffix}" for exchange in EXCHANGES for suffix in ("", ".raw")]
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    ensure_topics(admin, {}, {**dict.fromkeys(topics, 2), f"{prefix}.dead-letter": 1})
    stack = Stack(kafka_bootstrap, tmp_path, dict(zip(names, free_ports(len(names)), strict=True)), prefix)
    try:
        yield stack
    finally:
        for name in list(stack.processes):
            stack.kill(name)
        admin.delete_topics([*topics, f"{prefix}.dead-letter"])


def start(stack: Stack, rate: float) -> None:
    stack.start_simulator(rate)
    for exchange in EXCHANGES:
        stack.start_handler(exchange)
    stack.wait_healthy()


def wait_for_trades(stack: Stack, count: int) -> None:
    def enough() -> bool:
        # On a busy machine a handler connects late: trades that nobody heard prove nothing.
        return all(stack.heard(exchange) >= count for exchange in EXCHANGES)

    wait_until(enough, 60, f"{count} trades of each exchange that somebody listened to in the truth log")


def stop_cleanly(stack: Stack) -> None:
    stack.command("/stop", {})
    for exchange in EXCHANGES:
        assert stack.stop(exchange) == 0, (stack.directory / f"{exchange}.log").read_text()
    assert stack.stop("simulator") == 0


def test_every_trade_sent_to_a_listener_is_in_both_topics_once(stack: Stack) -> None:
    start(stack, 300)
    injected = stack.command(
        "/inject",
        {
            "exchange": "binance",
            "trades": [{"symbol": "XRPETH", "price": "0.12345678", "size": "-1", "side": "sell"}],
        },
    )["trades"]
    wait_for_trades(stack, 300)
    stack.command("/stop", {})
    # A handler that is told to end leaves what it has not read on the wire: on a busy machine that is the last trades.
    for exchange in EXCHANGES:
        heard = stack.heard(exchange)
        wait_until(lambda name=exchange, n=heard: len(stack.raw_keys(name)) >= n, 60, f"{heard} trades of {exchange}")
    stop_cleanly(stack)
    for exchange in EXCHANGES:
        sent = Counter({key: 1 for key, listeners in stack.truth(exchange).items() if listeners})
        assert len(sent) > 200
        assert Counter(stack.raw_keys(exchange)) == sent
        assert Counter(stack.normalised_keys(exchange)) == sent
    assert isinstance(injected, list)
    row = injected[0]
    assert ("XRPETH", row["trade_id"], "0.12345678", "-1") in stack.raw_keys("binance")
    for message in stack.records(f"{stack.prefix}.kraken.raw"):
        assert int(dict(message.headers())["received_at_us"]) > 1_700_000_000_000_000
        assert message.key().decode() == json.loads(message.value())["pair"]


def test_simulator_killed_and_restarted_goes_on_with_new_ids(stack: Stack) -> None:
    start(stack, 300)
    wait_for_trades(stack, 50)
    stack.kill("simulator")
    before = {exchange: stack.truth(exchange) for exchange in EXCHANGES}
    stack.start_simulator(300)
    wait_for_trades(stack, max(map(len, before.values())) + 50)
    stack.wait_healthy()
    stop_cleanly(stack)
    for exchange in EXCHANGES:
        truth = stack.truth(exchange)
        assert before[exchange].keys() < truth.keys()
        raw = Counter(stack.raw_keys(exchange))
        assert max(raw.values()) == 1
        assert raw.keys() <= truth.keys()
        # Only what was on the wire when the simulator died may be missing.
        later = {key for key, listeners in truth.items() if listeners and key not in before[exchange]}
        assert later <= raw.keys()


def test_cut_off_handlers_say_so_and_come_back(stack: Stack) -> None:
    start(stack, 60)
    stack.command("/refuse", {"exchange": "kraken", "seconds": 600})
    wait_until(lambda: stack.health("kraken")[0] == 503, 10, "kraken unhealthy")
    assert any("not connected" in reason for reason in stack.health("kraken")[1])
    assert stack.health("binance")[0] == stack.health("coinbase")[0] == 200
    stack.command("/refuse", {"exchange": "kraken", "seconds": 0})
    stack.wait_healthy("kraken", seconds=10)
    stack.command("/stop", {"exchange": "coinbase"})
    wait_until(lambda: stack.health("coinbase")[0] == 503, 10, "coinbase stale")
    assert any("no trade for" in reason for reason in stack.health("coinbase")[1])


def test_malformed_frames_go_to_the_dead_letters_and_trades_go_on(stack: Stack) -> None:
    start(stack, 60)
    for exchange in EXCHANGES:
        for kind in ("json", "trade"):
            assert stack.command("/inject", {"exchange": exchange, "malformed": kind}) == {"connections": 1}
    stop_cleanly(stack)
    letters = stack.records(f"{stack.prefix}.dead-letter")
    reasons = Counter((dict(m.headers())["exchange"].decode(), dict(m.headers())["reason"].decode()) for m in letters)
    expected = {(exchange, reason): 1 for exchange in EXCHANGES for reason in ("invalid_json", "invalid_number")}
    assert reasons == expected


def test_bad_commands_are_refused_clearly(stack: Stack) -> None:
    stack.start_simulator(0)
    wait_until(lambda: can_connect(stack.ports["control"]), 10, "the control interface answers")
    for path, body, words in [
        ("/rate", {"trades_per_second": "x"}, "expected a number"),
        ("/rate", {"trades_per_second": -1}, "expected 0 to"),
        ("/rate", {"trades_per_second": 1, "exchange": "nyse"}, "expected one of binance"),
        ("/rate", {"trades_per_second": 1, "schedule": "bursty"}, "poisson, constant"),
        ("/cut", {"exchang": "kraken"}, "unknown key exchang"),
        ("/refuse", {"exchange": "kraken"}, "seconds: expected a number"),
        ("/inject", {"exchange": "kraken"}, "either trades or malformed"),
        ("/inject", {"exchange": "kraken", "trades": [{}]}, "trades[0]"),
        ("/stop", [1], "expected a JSON object"),
    ]:
        with pytest.raises(urllib.error.HTTPError) as refused:
            stack.command(path, body)
        assert refused.value.code == 400
        assert words in json.load(refused.value)["error"]


def test_handler_starts_without_broker_and_exchange_and_says_what_is_missing(stack: Stack) -> None:
    stack.bootstrap = f"127.0.0.1:{free_ports(1)[0]}"
    stack.start_handler("binance")
    wait_until(lambda: stack.health("binance")[0] == 503, 10, "health answers")
    wait_until(lambda: any("broker" in reason for reason in stack.health("binance")[1]), 10, "broker named")
    assert any("not connected to ws://" in reason for reason in stack.health("binance")[1])
    assert stack.stop("binance") == 0


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True

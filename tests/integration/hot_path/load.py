# SPDX-License-Identifier: Apache-2.0
"""A stand-in for simulator and handlers: raw records straight into the broker, and the truth log of what was sent.

``python load.py BOOTSTRAP TRUTH_DIR RATE SECONDS`` prints how many records the broker acknowledged.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

EXCHANGES = {"binance": 4, "kraken": 2, "coinbase": 2}
SYMBOLS = {"binance": ("XRPETH", "ETHUSDT"), "kraken": ("BCH/EUR", "XMR/USD"), "coinbase": ("BAND-BTC", "SKL-USD")}
TRUTH_HEADER = "sequence,exchange,symbol,trade_id,side,price,size,exchange_time_us,scheduled_us,sent_us,subscribers"


def topic(exchange: str) -> str:
    return f"market.crypto.trades.{exchange}.raw"


TOPICS = [topic(exchange) for exchange in EXCHANGES]


def create_topics(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wanted = [NewTopic(topic(exchange), partitions, 1) for exchange, partitions in EXCHANGES.items()]
    for future in admin.create_topics(wanted).values():
        future.result(timeout=20)


def payload(exchange: str, symbol: str, number: int, side: str, price: str, size: str, time_us: int) -> bytes:
    if exchange == "binance":
        record = {"e": "trade", "E": time_us, "s": symbol, "t": number, "p": price, "q": size, "T": time_us, "m": side == "sell", "M": True}
    elif exchange == "kraken":
        seconds, micros = divmod(time_us, 1_000_000)
        record = {"pair": symbol, "price": price, "volume": size, "timestamp": f"{seconds}.{micros:06d}", "side": side[0],
                  "order_type": "l", "misc": ""}
    else:
        seconds, micros = divmod(time_us, 1_000_000)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        record = {"trade_id": str(number), "product_id": symbol, "price": price, "size": size, "side": side.upper(),
                  "time": f"{stamp}.{micros:06d}000Z", "sequence_num": number}
    return json.dumps(record).encode()


class Load:
    """Produces at a constant rate; every record is in the truth log."""

    def __init__(self, bootstrap: str, truth_dir: Path) -> None:
        truth_dir.mkdir(parents=True, exist_ok=True)
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0, "message.timeout.ms": 60000,
             "reconnect.backoff.max.ms": 500}
        )
        self._files = {exchange: (truth_dir / f"{exchange}.csv").open("a", newline="") for exchange in EXCHANGES}
        self._writers = {exchange: csv.writer(file) for exchange, file in self._files.items()}
        for exchange, file in self._files.items():
            if not file.tell():
                self._writers[exchange].writerow(TRUTH_HEADER.split(","))
        self._number = int(time.time() * 1000)
        self.acknowledged = 0

    def send(self, count: int) -> None:
        """Send `count` records now, over the exchanges in turn."""
        for _ in range(count):
            self._number += 1
            exchange = tuple(EXCHANGES)[self._number % 3]
            symbol = SYMBOLS[exchange][self._number // 3 % 2]
            side, price, size = ("buy", "sell")[self._number % 2], f"{self._number % 977}.{self._number % 9973:08d}", f"0.{self._number % 9967 + 1:08d}"
            time_us = time.time_ns() // 1000
            self._producer.produce(
                topic(exchange), payload(exchange, symbol, self._number, side, price, size, time_us), key=symbol,
                headers={"received_at_us": str(time_us)}, on_delivery=self._delivered,
            )
            trade_id = "" if exchange == "kraken" else str(self._number)
            self._writers[exchange].writerow(
                [self._number, exchange, symbol, trade_id, side, price, size, time_us, time_us, time_us, 1]
            )
        self._producer.poll(0)

    def run(self, rate: float, seconds: float) -> None:
        """Send at `rate` per second; late records are sent at once."""
        started, sent = time.monotonic(), 0
        while (elapsed := time.monotonic() - started) < seconds:
            due = int(rate * elapsed) - sent
            self.send(due)
            sent += due
            self._producer.poll(min(0.002, 1 / rate))

    def close(self) -> None:
        """Wait for every acknowledgement; raises when one is missing."""
        left = self._producer.flush(60)
        for file in self._files.values():
            file.close()
        if left:
            raise TimeoutError(f"expected all records acknowledged within 60 s; {left} are not")

    def _delivered(self, error: object, _: object) -> None:
        if error is not None:
            raise RuntimeError(f"the broker refused a record: {error}")
        self.acknowledged += 1


if __name__ == "__main__":
    load = Load(sys.argv[1], Path(sys.argv[2]))
    load.run(float(sys.argv[3]), float(sys.argv[4]))
    load.close()
    print(load.acknowledged)

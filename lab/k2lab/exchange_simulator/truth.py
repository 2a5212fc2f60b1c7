# SPDX-License-Identifier: Apache-2.0
"""The truth log: one CSV line per trade, handed to the operating system before the trade is sent.

So after any kill -9 of the simulator the log holds every trade that was sent; at most its last lines were not sent.
`<exchange>.csv` is written; when it is full it becomes `<exchange>-<first sequence>.csv` and a new one begins; the
oldest of these go when all of them together exceed the cap. Sequences are whole from the first line kept to the last.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from k2lab.common.errors import LabError

log = logging.getLogger(__name__)

HEADER = "sequence,exchange,symbol,trade_id,side,price,size,exchange_time_us,scheduled_us,sent_us,subscribers"
_HEADER_LINE = f"{HEADER}\n".encode()


@dataclass(frozen=True, slots=True)
class SentTrade:
    """A trade as it was logged and sent.

    sequence: counts the trades of one exchange from 1, without holes. trade_id: None where the exchange has none.
    side: of the taker, "buy" or "sell". price, size: the exact strings sent. exchange_time_ns: nanoseconds since the
    epoch: when it was due, made to increase strictly where Kraken's has to. scheduled_us / sent_us: when it was due /
    when it was handed to the connections, microseconds since the epoch. subscribers: connections it went to; a trade
    nobody listened to (0) is no loss.
    """

    sequence: int
    exchange: str
    symbol: str
    trade_id: int | None
    side: str
    price: str
    size: str
    exchange_time_ns: int
    scheduled_us: int
    sent_us: int
    subscribers: int

    @property
    def exchange_time_us(self) -> int:
        """Exchange time in whole microseconds since the epoch."""
        return self.exchange_time_ns // 1000

    def csv_line(self) -> str:
        """The line of the truth log, in the columns of HEADER."""
        trade_id = "" if self.trade_id is None else self.trade_id
        return (
            f"{self.sequence},{self.exchange},{self.symbol},{trade_id},{self.side},{self.price},{self.size},"
            f"{self.exchange_time_us},{self.scheduled_us},{self.sent_us},{self.subscribers}\n"
        )


@dataclass(frozen=True, slots=True)
class Resume:
    """Where an earlier run stopped: last sequence (0: none), last trade id and exchange time (us) per symbol."""

    sequence: int
    trade_ids: Mapping[str, int]
    exchange_times_us: Mapping[str, int]


class TruthLog:
    """Appends trades of one exchange; open it with `open`."""

    def __init__(self, directory: Path, exchange: str, segment_bytes: int, total_bytes: int) -> None:
        self._directory = directory
        self._exchange = exchange
        self._segment_bytes = segment_bytes
        self._total_bytes = total_bytes
        self._active = directory / f"{exchange}.csv"
        self._descriptor = -1
        self._size = 0
        self._first_sequence = 0  # of the active segment; 0 while it is empty
        self.removed_segments = 0

    def open(self, symbols: Collection[str]) -> Resume:
        """Open (or create) the log and return where it stopped, looking back until each of `symbols` was seen.

        A last line cut short (power loss; a killed process cannot leave one) is removed. Raises LabError when the
        directory cannot be used or the log is not a truth log.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            resume = self._read_back(symbols)
            self._open_active()
        except OSError as error:
            raise LabError(
                f"to write the truth log in {self._directory}",
                str(error),
                "free disk space or give another --truth-dir",
            ) from error
        return resume

    def append(self, trades: Iterable[SentTrade]) -> None:
        """Write `trades` in one go. They are with the operating system when this returns (not on the platter).

        Raises OSError (a full disk, for example): then the trades must not be sent.
        """
        trades = list(trades)
        if self._size >= self._segment_bytes:
            self._rotate()
        if not self._first_sequence:
            self._first_sequence = trades[0].sequence
        data = memoryview("".join(trade.csv_line() for trade in trades).encode("ascii"))
        while data:
            written = os.write(self._descriptor, data)
            self._size += written
            data = data[written:]

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open_active(self) -> None:
        self._descriptor = os.open(self._active, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._descriptor).st_size
        if self._size == 0:
            self._size = os.write(self._descriptor, _HEADER_LINE)

    def _rotate(self) -> None:
        os.close(self._descriptor)
        self._active.rename(self._directory / f"{self._exchange}-{self._first_sequence}.csv")
        self._first_sequence = 0
        self._open_active()
        segments = self._closed_segments()
        total = sum(path.stat().st_size for path in segments)
        while segments and total + self._segment_bytes > self._total_bytes:
            oldest = segments.pop()
            total -= oldest.stat().st_size
            oldest.unlink()
            self.removed_segments += 1
            log.warning("truth log over %d bytes: removed its oldest part %s", self._total_bytes, oldest.name)

    def _closed_segments(self) -> list[Path]:
        """Closed segments, newest first."""
        found: list[tuple[int, Path]] = []
        for path in self._directory.glob(f"{self._exchange}-*.csv"):
            first = path.stem.rpartition("-")[2]
            if first.isdigit():
                found.append((int(first), path))
        return [path for _, path in sorted(found, reverse=True)]

    def _read_back(self, symbols: Collection[str]) -> Resume:
        sequence = 0
        trade_ids: dict[str, int] = {}
        times_us: dict[str, int] = {}
        active = [self._active] if self._active.exists() else []
        for path in active + self._closed_segments():
            rows = self._rows(path, repair=path == self._active)
            if path == self._active and rows:
                self._first_sequence = int(rows[0]["sequence"])
            for row in reversed(rows):
                sequence = max(sequence, int(row["sequence"]))
                if row["symbol"] not in times_us:
                    times_us[row["symbol"]] = int(row["exchange_time_us"])
                    trade_ids[row["symbol"]] = int(row["trade_id"] or 0)
            if sequence and times_us.keys() >= set(symbols):
                break
        return Resume(sequence, trade_ids, times_us)

    def _rows(self, path: Path, *, repair: bool) -> list[dict[str, str]]:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if repair and len(whole) < len(data):
            log.warning("%s: removing an incomplete last line of %d bytes", path, len(data) - len(whole))
            os.truncate(path, len(whole))
        if whole and not whole.startswith(_HEADER_LINE):
            raise LabError(f"a truth log with the columns {HEADER} in {path}", repr(whole[:80]), "move that file away")
        return list(csv.DictReader(io.StringIO(whole.decode("ascii"))))

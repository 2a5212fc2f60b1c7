# SPDX-License-Identifier: Apache-2.0
"""The outcome of a comparison. Counts are complete; lists hold the first few, to look at."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CandleDifference:
    """One column of one candle; `window_start_s` in seconds since the epoch."""

    timeframe: str
    exchange: str
    symbol: str
    window_start_s: int
    column: str
    expected: str
    seen: str


@dataclass(frozen=True)
class Finding:
    """A number of trades and the first few of them, as text."""

    count: int = 0
    first: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExchangeResult:
    """One exchange: rows per tier, and what is wrong.

    `lost_upstream`: sent, never reached the broker; `lost_outside_gaps` those of them that no known outage explains.
    `lost_in_pipeline`: in the broker, not in silver; `lost_by_tier` attributes them to the first tier that lacks them.
    `duplicated`: surplus rows by tier. `differing`: stored with other values. `unexpected`: stored, never sent.
    """

    exchange: str
    sent: int
    broker: int
    raw: int
    bronze: int
    silver: int
    silver_distinct: int
    silver_valid: int
    candle_trades: dict[str, int]
    lost_upstream: Finding = field(default_factory=Finding)
    lost_outside_gaps: Finding = field(default_factory=Finding)
    lost_in_pipeline: Finding = field(default_factory=Finding)
    lost_by_tier: dict[str, int] = field(default_factory=dict)
    duplicated: dict[str, int] = field(default_factory=dict)
    differing: Finding = field(default_factory=Finding)
    unexpected: Finding = field(default_factory=Finding)

    def problems(self) -> list[str]:
        """In words; empty when every trade sent is stored once with its values (losses within known gaps apart)."""
        found = []
        for what, finding in (
            ("sent but not in the broker, outside every known outage", self.lost_outside_gaps),
            ("in the broker but not in silver", self.lost_in_pipeline),
            ("stored with other values", self.differing),
            ("stored but never sent", self.unexpected),
        ):
            if finding.count:
                found.append(f"{self.exchange}: {finding.count} {what}, first {list(finding.first)}")
        found += [
            f"{self.exchange}: {count} rows too many in {tier}" for tier, count in self.duplicated.items() if count
        ]
        found += [
            f"{self.exchange}: candles {timeframe} count {count} trades, silver has {self.silver_valid} valid rows"
            for timeframe, count in self.candle_trades.items()
            if count != self.silver_valid
        ]
        return found


@dataclass(frozen=True)
class Result:
    """All exchanges and all candles."""

    exchanges: dict[str, ExchangeResult]
    candle_differences: tuple[CandleDifference, ...]

    @property
    def exact(self) -> bool:
        """Nothing lost beyond known outages, nothing doubled, nothing changed, every candle right."""
        return not self.problems()

    def problems(self) -> list[str]:
        """In words; empty when exact."""
        found = [problem for exchange in self.exchanges.values() for problem in exchange.problems()]
        if self.candle_differences:
            found.append(
                f"{len(self.candle_differences)} candle values differ from silver, first {self.candle_differences[0]}"
            )
        return found

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from k2lab.common.errors import LabError
from k2lab.ground_truth.broker import Position
from k2lab.ground_truth.compare import check_values, missing_upstream, surplus
from k2lab.ground_truth.result import ExchangeResult, Finding, Result
from k2lab.ground_truth.trade import SentTrade, Trade, raw_trade, sent_trades

HEADER = "sequence,exchange,symbol,trade_id,side,price,size,exchange_time_us,scheduled_us,sent_us,subscribers\n"


def trade(number: int, price: str = "1.5") -> Trade:
    return Trade("BTC-USD", str(number), "buy", Decimal(price), Decimal("0.1"), 1_700_000_000_000_000 + number)


def sent(*numbers: int) -> list[SentTrade]:
    return [SentTrade(trade(number), number, number) for number in numbers]


def kraken(time_us: int) -> Trade:
    return Trade("BCH/EUR", "", "buy", Decimal(90), Decimal(1), time_us)


def test_only_trades_somebody_heard_and_whole_lines_count(tmp_path: Path) -> None:
    (tmp_path / "kraken-1.csv").write_text(HEADER + "1,kraken,BCH/EUR,,buy,90.540000,1.10448420,5,5,6,1\n")
    (tmp_path / "kraken.csv").write_text(
        HEADER + "2,kraken,BCH/EUR,,sell,90,1,7,7,8,0\n3,kraken,BCH/EUR,,,90,1,9,9,10,2\n4,kraken,BCH/EUR,,sell,9"
    )
    assert [(s.trade.side, s.trade.price, s.sent_us) for s in sent_trades(tmp_path, "kraken")] == [
        ("buy", Decimal("90.54"), 6),
        ("unknown", Decimal(90), 10),
    ]


def test_no_log_is_not_an_empty_log(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="start the exchange simulator"):
        list(sent_trades(tmp_path, "kraken"))


@pytest.mark.parametrize(
    ("exchange", "payload", "expected"),
    [
        (
            "binance",
            b'{"e":"trade","E":9,"s":"XRPETH","t":12,"p":"0.00141342","q":"23.00000000","T":1700000000000001,"m":true,"M":true}',
            Trade("XRPETH", "12", "sell", Decimal("0.00141342"), Decimal(23), 1_700_000_000_000_001),
        ),
        (
            "kraken",
            b'{"pair":"BCH/EUR","price":"90.54","volume":"1.1","timestamp":"1737118158.321597","side":"b","order_type":"l","misc":""}',
            Trade("BCH/EUR", "", "buy", Decimal("90.54"), Decimal("1.1"), 1_737_118_158_321_597),
        ),
        (
            "coinbase",
            b'{"trade_id":"5","product_id":"BAND-BTC","price":"1","size":"2","side":"BUY","time":"2021-04-05T12:00:00.123456789Z"}',
            Trade("BAND-BTC", "5", "buy", Decimal(1), Decimal(2), 1_617_624_000_123_456),
        ),
    ],
)
def test_raw_records(exchange: str, payload: bytes, expected: Trade) -> None:
    assert raw_trade(exchange, payload) == expected


@pytest.mark.parametrize("payload", [b"", b"{", b"{}", b"[]", b'{"s":1,"m":true,"t":1,"p":"x","q":"1","T":1}'])
def test_what_is_no_trade_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        raw_trade("binance", payload)


def test_missing_upstream_names_the_lost() -> None:
    assert missing_upstream("coinbase", sent(1, 2, 3), [trade(3), trade(1)]) == sent(2)


def test_equal_kraken_trades_are_counted_not_merged() -> None:
    twice = [SentTrade(kraken(5), 1, 1), SentTrade(kraken(5), 2, 2)]
    assert len(missing_upstream("kraken", twice, [kraken(5)])) == 1
    assert surplus("kraken", twice, [kraken(5)] * 3) == 1
    assert surplus("kraken", twice, [kraken(5)] * 2) == 0


def test_five_lost_and_five_doubled_do_not_cancel() -> None:
    arrived = [trade(number) for number in (1, 1, 2, 2, 3, 3, 4, 4, 5, 5)]
    assert len(missing_upstream("coinbase", sent(*range(1, 11)), arrived)) == 5
    assert surplus("coinbase", sent(*range(1, 11)), arrived) == 5


def test_changed_and_unknown_values_are_named() -> None:
    rows = [(Position(0, 0), trade(1)), (Position(0, 1), trade(2, price="1.50000001")), (Position(0, 2), trade(9))]
    differing, unexpected = check_values("coinbase", sent(1, 2), rows)
    assert len(differing) == 1
    assert "0/1" in differing[0]
    assert len(unexpected) == 1
    assert "0/2" in unexpected[0]


def exchange_result(**changes: object) -> ExchangeResult:
    values = {
        "exchange": "kraken", "sent": 3, "broker": 3, "raw": 3, "bronze": 3, "silver": 3, "silver_distinct": 3,
        "silver_valid": 3,
        "candle_trades": {"1m": 3},
    }  # fmt: skip
    return ExchangeResult(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lost_in_pipeline": Finding(2, ("t/0/1",))}, "2 in the broker but not in silver"),
        ({"lost_outside_gaps": Finding(1)}, "outside every known outage"),
        ({"duplicated": {"raw": 5}}, "5 rows too many in raw"),
        ({"differing": Finding(1)}, "other values"),
        ({"unexpected": Finding(1)}, "never sent"),
        ({"candle_trades": {"1m": 4}}, "candles 1m count 4 trades, silver has 3"),
    ],
)
def test_each_fault_makes_the_result_inexact(changes: dict[str, object], words: str) -> None:
    result = Result({"kraken": exchange_result(**changes)}, ())
    assert not result.exact
    assert words in result.problems()[0]


def test_loss_within_a_known_outage_is_reported_but_excused() -> None:
    assert Result({"kraken": exchange_result(lost_upstream=Finding(4))}, ()).exact

# SPDX-License-Identifier: Apache-2.0
"""Records carry exactly what the profile's templates say; recorded ones keep all that is not time, id or symbol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.load.file_source import DataFileError, read_trades
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.records import (
    Recorded,
    Restamper,
    Stamp,
    TemplateError,
    Trade,
    check_templates,
    from_trade,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import RecordFormat

TIME_US = 1_737_118_158_000_007
STAMP = Stamp(TIME_US, 42, 7)
TRADE = Trade("0.00141342", "23.00000000", "sell")


def form(value: str, key: str = "$symbol", **headers: str) -> RecordFormat:
    return RecordFormat(symbol="LOAD/EUR", key=key, value=value, headers=headers)


def test_every_placeholder_is_filled_exactly() -> None:
    value = (
        "$symbol $id $sequence $price ${size} $side $side_upper $side_letter $buyer_is_maker "
        "$time_us $time_ms $time_s $time_rfc3339 $$ 100%"
    )
    message = from_trade("x", form(value, received_at_us="$time_us", source="load"), TRADE).at(STAMP)
    assert message.value.decode() == (
        "LOAD/EUR 42 7 0.00141342 23.00000000 sell SELL s true "
        "1737118158000007 1737118158000 1737118158.000007 2025-01-17T12:49:18.000007Z $ 100%"
    )
    assert (message.key, message.headers) == (
        b"LOAD/EUR",
        [("received_at_us", b"1737118158000007"), ("source", b"load")],
    )


@pytest.mark.parametrize(
    ("template", "says"),
    [("$prise", "did you mean 'price'"), ("costs $ 5", "dollar sign written"), ("${id", "dollar sign written")],
)
@pytest.mark.parametrize("place", ["key", "value", "header"])
def test_a_placeholder_nobody_fills_is_refused_with_its_place(template: str, says: str, place: str) -> None:
    described = {
        "key": form("v", key=template),
        "value": form(template),
        "header": form("v", at=template),
    }[place]
    with pytest.raises(TemplateError, match=says) as refused:
        check_templates("nordic", described)
    path = {"key": "key", "value": "value", "header": "headers.at"}[place]
    assert f"k2_load.records.nordic.{path}:" in str(refused.value)


def restamped(template: str, recorded: Any, **headers: str) -> Any:
    value = recorded if isinstance(recorded, bytes) else json.dumps(recorded).encode()
    maker = Restamper("x", form(template, **headers)).maker(Recorded(value, (("trace", b"\xff"), ("at", b"old"))))
    return None if maker is None else maker.at(STAMP)


def test_recorded_records_keep_what_is_not_overwritten_digit_by_digit() -> None:
    template = '{"e":"trade","E":$time_us,"s":"$symbol","t":$id,"p":"$price","n":{"seq":"$sequence"},"T":$time_ms}'
    recorded = (
        b'{"e":"trade","E":1,"s":"XRP","t":9,"p":"1.50","n":{"seq":"3","x":[1.10,"$5"]},"T":1,'
        b'"big":12345678901234567890.12300,"m":true,"note":"\xc3\xa9 100%"}'
    )
    message = restamped(template, recorded, at="$time_us")
    assert message.value.decode() == (
        '{"e":"trade","E":1737118158000007,"s":"LOAD/EUR","t":42,"p":"1.50","n":{"seq":"7","x":[1.10,"$5"]},'
        '"T":1737118158000,"big":12345678901234567890.12300,"m":true,"note":"\\u00e9 100%"}'
    )
    assert message.key == b"LOAD/EUR"
    assert message.headers == [("trace", b"\xff"), ("at", b"1737118158000007")]


def test_a_text_around_a_placeholder_stays_around_it() -> None:
    message = restamped('{"s":"$symbol","id":"trade-$id$$"}', {"s": "A", "id": "trade-1$", "q": 1})
    assert json.loads(message.value) == {"s": "LOAD/EUR", "id": "trade-42$", "q": 1}


@pytest.mark.parametrize("recorded", [b"", b"{", b"[1]", b"3", b'{"a": 1, "x": "\\u0000"}'])
def test_what_is_no_record_like_the_template_is_passed_over(recorded: bytes) -> None:
    assert restamped('{"a":"$symbol"}', recorded) is None


@pytest.mark.parametrize(
    ("described", "says"),
    [
        (form("not json $symbol"), "JSON object"),
        (form('{"t":$id}'), r"a field with \$symbol"),
        (form('["$symbol"]'), r"a field with \$symbol"),
        (form('{"s":"$symbol","x":"$id-$price"}'), r"\$price in x"),
        (form('{"s":"$symbol"}', key="$side"), r"\$side"),
    ],
)
def test_templates_that_recorded_records_cannot_follow_are_refused(described: RecordFormat, says: str) -> None:
    with pytest.raises(TemplateError, match=says):
        Restamper("x", described)


# -- trades from a file ------------------------------------------------------------------------------------------------

HEADER = "exchange,symbol,trade_id,exchange_time_us,side,price,size\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trades.csv"
    path.write_text(text)
    return path


def test_trades_keep_their_digits_and_order(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "a,X,1,5,buy,0.10,2\nb,Y,,6,sell,3,4.000\na,X,2,7,sell,1.5,9\n")
    assert read_trades(path, ["a", "b"]) == {
        "a": [Trade("0.10", "2", "buy"), Trade("1.5", "9", "sell")],
        "b": [Trade("3", "4.000", "sell")],
    }


def test_a_side_that_was_not_recorded_follows_the_symbols_price(tmp_path: Path) -> None:
    prices = [("X", "5"), ("X", "4"), ("Y", "1"), ("X", "4.0"), ("X", "6"), ("Y", "2")]
    path = write(tmp_path, HEADER + "".join(f"a,{symbol},,5,,{price},1\n" for symbol, price in prices))
    sides = [trade.side for trade in read_trades(path, ["a"])["a"]]
    assert sides == ["buy", "sell", "buy", "sell", "buy", "buy"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x,y\n1,2\n", "none called exchange"),
        (HEADER + "a,X,1,5,buy,1,1\n", "no trade of b"),
        (HEADER + "c,X,1,5,buy,1,1\n", "line 2: an exchange of which k2_load.records has no format"),
        (HEADER + "a,X,1,5,buy,1e3,1\n", "line 2: no price"),
        (HEADER + "a,X,1,5,buy,1\n", "line 2: no size"),
        (HEADER + "a,X,1,5,BUY,1,1\n", "line 2: no side"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataFileError, match=says):
        read_trades(write(tmp_path, text), ["a", "b"])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"nothing\.csv"):
        read_trades(tmp_path / "nothing.csv", ["a"])

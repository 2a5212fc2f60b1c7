# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform.clickhouse import (
    ClickHouseClient,
    ClickHouseUnreachable,
    QueryError,
    convert,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import ClickHouse

from .server import Script, serve


def client(port: int) -> ClickHouseClient:
    return ClickHouseClient(
        ClickHouse(
            host="127.0.0.1", port=port, secure=False, username="ro", password="pw", database="bets", timeout_s=0.5
        )
    )


def answer(kind: str, *values: Any) -> bytes:
    return json.dumps({"meta": [{"name": "x", "type": kind}], "data": [[v] for v in values]}).encode()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("UInt64", "18446744073709551615", 18446744073709551615),
        ("Int8", -3, -3),
        ("Decimal(38, 8)", "0.00141342", Decimal("0.00141342")),
        ("Nullable(Decimal(38, 8))", None, None),
        ("Float64", "nan", Decimal("nan")),
        ("LowCardinality(Nullable(String))", "a", "a"),
        ("Array(Nullable(UInt64))", ["1", None], (1, None)),
        ("DateTime64(6, 'UTC')", "2026-01-01 00:00:00.000001", "2026-01-01 00:00:00.000001"),
        ("Bool", True, True),
        ("Map(String, String)", {"a": "b"}, '{"a": "b"}'),
    ],
)
def test_values_are_exact(kind: str, value: Any, expected: Any) -> None:
    assert str(convert(kind, value)) == str(expected)
    assert type(convert(kind, value)) is type(expected)


def test_no_float_survives() -> None:
    with serve(Script(body=b'{"meta":[{"name":"x","type":"Float64"}],"data":[[0.1]]}')) as script:
        assert client(script.port).query("SELECT 0.1").scalar() == Decimal("0.1")


def test_query_carries_parameters_limits_and_login_but_no_secret_in_the_address() -> None:
    with serve(Script(body=answer("UInt8", 1))) as script:
        client(script.port).query("SELECT {a:UInt8}", {"a": 1}, {"max_threads": 1})
    (path, headers, body) = script.requests[0]
    sent = {key: values[0] for key, values in parse_qs(urlsplit(path).query).items()}
    assert sent["param_a"] == "1"
    assert (sent["readonly"], sent["max_threads"], sent["max_execution_time"]) == ("2", "1", "1")
    assert sent["database"] == "bets"
    assert (headers["X-ClickHouse-User"], headers["X-ClickHouse-Key"]) == ("ro", "pw")
    assert "pw" not in path
    assert body == b"SELECT {a:UInt8}"


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        (Script(status=404, body=b"Code: 60. no table", headers={"X-ClickHouse-Exception-Code": "60"}), 60, "no table"),
        (
            Script(status=403, body=b"who?", headers={"X-ClickHouse-Exception-Code": "516"}),
            516,
            "username and password",
        ),
        (Script(body=b'{"meta":[],"data":[[1],\nCode: 241. too much'), 0, "too much"),
        (Script(body=b'{"meta":[],"data":[],"exception":"Code: 159."}'), 0, "159"),
        (Script(body=b"1\n"), 0, "FORMAT"),
    ],
)
def test_refusals_carry_clickhouses_code(script: Script, code: int, says: str) -> None:
    with serve(script), pytest.raises(QueryError, match=says) as caught:
        client(script.port).query("SELECT 1")
    assert caught.value.code == code


def test_silence_and_absence_are_unreachable() -> None:
    import threading

    with serve(Script(hold=threading.Event())) as script, pytest.raises(ClickHouseUnreachable, match=r"within 0\.5 s"):
        client(script.port).query("SELECT 1")
    with pytest.raises(ClickHouseUnreachable, match="refused"):
        client(script.port).query("SELECT 1")


def test_scalar_wants_exactly_one_value() -> None:
    with serve(Script(body=answer("UInt8", 1, 2))) as script, pytest.raises(QueryError, match="2 rows"):
        client(script.port).query("SELECT 1").scalar()

# SPDX-License-Identifier: Apache-2.0
"""A sick target is an answer, never an exception."""

from __future__ import annotations

import sys
import threading

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform.probe import run_probe
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import (
    ClickHouse,
    CommandProbe,
    HttpProbe,
    SqlProbe,
    TcpProbe,
)

from .server import Script, serve


@pytest.mark.parametrize(
    ("script", "status", "contains", "ok", "detail"),
    [
        (Script(body=b"fine"), 200, None, True, "HTTP 200"),
        (Script(status=204), 204, None, True, "HTTP 204"),
        (
            Script(status=503, body=b'{"why":\n "no trades"}'),
            200,
            None,
            False,
            'HTTP 503, expected 200: {"why": "no trades"}',
        ),
        (Script(body=b"degraded"), 200, "healthy", False, "the body lacks 'healthy'"),
    ],
)
def test_http(script: Script, status: int, contains: str | None, ok: bool, detail: str) -> None:
    with serve(script):
        result = run_probe(HttpProbe(f"http://127.0.0.1:{script.port}/health?x=1", status, contains, 2.0), None)
    assert (result.ok, result.detail) == (ok, detail)
    assert script.requests[0][0] == "/health?x=1"
    assert result.latency_ms > 0


def test_silent_http_ends_at_the_timeout() -> None:
    with serve(Script(hold=threading.Event())) as script:
        result = run_probe(HttpProbe(f"http://127.0.0.1:{script.port}/", 200, None, 0.2), None)
    assert (result.ok, result.detail) == (False, "no answer in time")
    assert 150 < result.latency_ms < 5000


def test_tcp_open_and_closed() -> None:
    with serve(Script()) as script:
        assert run_probe(TcpProbe("127.0.0.1", script.port, 1.0), None).ok
    closed = run_probe(TcpProbe("127.0.0.1", script.port, 1.0), None)
    assert (closed.ok, closed.detail) == (False, "connection refused")


def test_name_that_does_not_resolve() -> None:
    result = run_probe(HttpProbe("http://no-such-host.invalid/", 200, None, 2.0), None)
    assert not result.ok
    assert "gaierror" in result.detail


@pytest.mark.parametrize(
    ("code", "ok", "detail"),
    [
        ("", True, "exit 0"),
        ("import sys; sys.exit('database is locked')", False, "exit 1: database is locked"),
        ("import time; time.sleep(30)", False, "not finished after 0.5 s"),
    ],
)
def test_command(code: str, ok: bool, detail: str) -> None:
    result = run_probe(CommandProbe((sys.executable, "-c", code), 0.5 if "sleep" in code else 20.0), None)
    assert (result.ok, result.detail) == (ok, detail)


def test_command_that_does_not_exist() -> None:
    result = run_probe(CommandProbe(("/no/such/program",), 1.0), None)
    assert not result.ok
    assert "No such file" in result.detail


def test_sql_compares_the_first_value() -> None:
    with serve(Script(body=b'{"meta":[{"name":"1","type":"UInt8"}],"data":[[1]]}')) as script:
        target = ClickHouse("127.0.0.1", script.port, False, "u", "d", 1.0, "")
        assert run_probe(SqlProbe("SELECT 1", "1", 1.0), target).ok
        wrong = run_probe(SqlProbe("SELECT 1", "2", 1.0), target)
    assert (wrong.ok, wrong.detail) == (False, "answered '1', expected '2'")
    assert not run_probe(SqlProbe("SELECT 1", None, 1.0), target).ok

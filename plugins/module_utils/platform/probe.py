# SPDX-License-Identifier: Apache-2.0
"""Readiness probes. Whatever is wrong with the target is the answer, never an exception."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional
from urllib.parse import urlsplit

from ..core.errors import K2Error
from ..profile.model import ClickHouse, CommandProbe, HttpProbe, Probe, SqlProbe, TcpProbe
from .clickhouse import ClickHouseClient

_BODY_LIMIT = 64 * 1024


@dataclass(frozen=True)
class ProbeResult:
    """The answer of one probe; ``detail`` says what was seen, in the words of the target where it gave any."""

    ok: bool
    latency_ms: float
    detail: str


def run_probe(probe: Probe, clickhouse: Optional[ClickHouse]) -> ProbeResult:
    """Probe once, within the probe's own timeout.

    :arg clickhouse: how SQL probes log in; a profile with SQL probes always has it.
    """
    started = time.monotonic_ns()
    ok, detail = _attempt(lambda: _dispatch(probe, clickhouse))
    return ProbeResult(ok, (time.monotonic_ns() - started) / 1e6, detail)


def describe_probe(probe: Probe) -> str:
    """What the probe does, for tables and messages."""
    if isinstance(probe, HttpProbe):
        return f"GET {probe.url}"
    if isinstance(probe, TcpProbe):
        return f"connect {probe.host}:{probe.port}"
    if isinstance(probe, SqlProbe):
        return probe.query
    return " ".join(probe.argv)


def _attempt(act: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    try:
        return act()
    except TimeoutError:
        return False, "no answer in time"
    except ConnectionRefusedError:
        return False, "connection refused"
    except K2Error as error:
        return False, error.seen or error.message
    except (OSError, http.client.HTTPException, ValueError) as error:
        return False, f"{type(error).__name__}: {error}"


def _dispatch(probe: Probe, clickhouse: Optional[ClickHouse]) -> tuple[bool, str]:
    if isinstance(probe, HttpProbe):
        return _http(probe)
    if isinstance(probe, TcpProbe):
        with socket.create_connection((probe.host, probe.port), timeout=probe.timeout_s):
            return True, "connected"
    if isinstance(probe, SqlProbe):
        return _sql(probe, clickhouse)
    return _command(probe)


def _http(probe: HttpProbe) -> tuple[bool, str]:
    parts = urlsplit(probe.url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=probe.timeout_s)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(_BODY_LIMIT).decode("utf-8", "replace")
    finally:
        connection.close()
    if response.status != probe.status:
        return False, f"HTTP {response.status}, expected {probe.status}: {' '.join(body.split())[:200]}".rstrip(": ")
    if probe.contains is not None and probe.contains not in body:
        return False, f"the body lacks {probe.contains!r}"
    return True, f"HTTP {response.status}"


def _sql(probe: SqlProbe, clickhouse: Optional[ClickHouse]) -> tuple[bool, str]:
    if clickhouse is None:
        return False, "the profile has no k2_clickhouse to send the query to"
    result = ClickHouseClient(clickhouse).query(probe.query, timeout_s=probe.timeout_s)
    first = "" if not result.rows else str(result.rows[0][0])
    if probe.expect is not None and first != probe.expect:
        return False, f"answered {first!r}, expected {probe.expect!r}"
    return True, f"answered {first!r}"


def _command(probe: CommandProbe) -> tuple[bool, str]:
    try:
        done = subprocess.run(
            probe.argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=probe.timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"not finished after {probe.timeout_s:g} s"
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        return False, f"exit {done.returncode}" + (f": {lines[-1][:200]}" if lines else "")
    return True, "exit 0"

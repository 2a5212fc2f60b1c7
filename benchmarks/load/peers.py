# SPDX-License-Identifier: Apache-2.0
"""Others that send at a rate: Kafka's own producer benchmark, and k6 where it is installed."""

from __future__ import annotations

import asyncio
import re
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from k2lab.provision.kafka import kafka_home
from k2lab.provision.paths import Paths

_TIMEOUT_S = 120.0
_SUMMARY = re.compile(
    r"^(?P<sent>\d+) records sent, (?P<rate>[\d.]+) records/sec .*, "
    r"(?P<p50>\d+) ms 50th, \d+ ms 95th, (?P<p99>\d+) ms 99th"
)
_K6_SCRIPT = """\
import http from 'k6/http';
export const options = {
  discardResponseBodies: true,
  scenarios: { load: { executor: 'constant-arrival-rate', rate: %(rate)d, timeUnit: '1s', duration: '%(seconds)ds',
                       preAllocatedVUs: 50, maxVUs: 200 } },
};
export default function () { http.get('http://127.0.0.1:%(port)d/'); }
"""
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True)
class PerfTest:
    """One run of ProducerPerformance: achieved rate, and latency from send to acknowledgement (whole milliseconds)."""

    rate: float
    ack_p50_ms: int
    ack_p99_ms: int
    cpu_s: float


def producer_perf_test(bootstrap: str, topic: str, count: int, size: int, rate: float | None) -> PerfTest:
    """Send `count` records of `size` bytes, at `rate` per second or as fast as it goes; acks=all, linger 1 ms.

    Raises RuntimeError when it does not say how it went, and what subprocess.run raises.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ["java", "-Xmx512m", "-cp", f"{kafka_home(Paths.discover())}/*",
         "org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", str(count),
         "--record-size", str(size), "--throughput", f"{-1 if rate is None else rate:g}",
         "--producer-props", f"bootstrap.servers={bootstrap}", "acks=all", "linger.ms=1"],
        capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = next((match for line in reversed(done.stdout.splitlines()) if (match := _SUMMARY.match(line))), None)
    if found is None or int(found["sent"]) != count:
        raise RuntimeError(
            f"ProducerPerformance: no summary of {count} records; {done.stdout[-300:]}{done.stderr[-300:]}"
        )
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return PerfTest(float(found["rate"]), int(found["p50"]), int(found["p99"]), cpu_s)


@dataclass(frozen=True)
class K6:
    """One run of k6's constant arrival rate. Lateness is that of a request's arrival against an even schedule through
    the most punctual one, so it holds the way to the server too (milliseconds).
    """

    rate: float
    scheduled: int
    sent: int
    lateness_p50_ms: float
    lateness_p99_ms: float


def k6_arrivals(program: str, rate: int, seconds: int) -> K6:
    """Let k6 send requests to a server of this process, and look at when they come."""
    arrived = asyncio.run(_serve_k6(program, rate, seconds))
    offsets = [at - number / rate for number, at in enumerate(arrived)]
    first = min(offsets)
    lateness = sorted((offset - first) * 1000 for offset in offsets)
    return K6(rate, rate * seconds, len(arrived), _quantile(lateness, 0.5), _quantile(lateness, 0.99))


async def _serve_k6(program: str, rate: int, seconds: int) -> list[float]:
    arrived: list[float] = []

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            self.transport = transport

        def data_received(self, _data: bytes) -> None:
            arrived.append(time.monotonic())
            self.transport.write(_ANSWER)

    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "load.js"
        script.write_text(_K6_SCRIPT % {"rate": rate, "seconds": seconds, "port": port})
        process = await asyncio.create_subprocess_exec(
            program, "run", "--quiet", "--no-usage-report", "--no-summary", str(script),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, errors = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
        finally:
            if process.returncode is None:
                process.kill()
            server.close()
    if process.returncode or not arrived:
        raise RuntimeError(f"k6 ended with {process.returncode}, {len(arrived)} requests: {errors.decode()[-300:]}")
    return arrived


def _quantile(ordered: list[float], level: float) -> float:
    return round(ordered[int(level * (len(ordered) - 1))], 3)

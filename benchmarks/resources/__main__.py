# SPDX-License-Identifier: Apache-2.0
"""What sampling costs: the sampler, a plain loop of psutil, and a Docker Engine's statistics, on the same 15 processes.

``python -m benchmarks.resources``: each looks at all of them again and again, with no pause, and its CPU time per look
is told as a share of one core at a look each 5 s. The engine's own CPU counts for its way: nobody else would spend it.
Without an engine (root, or one that runs) that line is left out, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from tests.integration.runtimes import own_engine, supervisord

from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.plan import Plan, Target
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.reader import Reader
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.samples import SampleFiles, TickRow
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.engine_api import EngineApi
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import RuntimeKind, RuntimeSettings

INTERVAL_S = 5.0
# 24 MiB and a child, as a small service has.
_SERVICE = (
    "import subprocess, sys, time; kept = b'x' * (24 << 20); subprocess.Popen(['sleep', '9999']); time.sleep(9999)"
)


@dataclass(frozen=True)
class Cost:
    """CPU and time of one look, and the share of one core at a look each 5 s."""

    way: str
    services: int
    looks: int
    cpu_ms: float
    wall_ms: float

    @property
    def core_percent(self) -> float:
        """Per cent of one core."""
        return self.cpu_ms / (INTERVAL_S * 10)


def measure(
    way: str, services: int, look: Callable[[], object], looks: int, engine: psutil.Process | None = None
) -> Cost:
    look()

    def used() -> float:
        other = engine.cpu_times() if engine else None
        return time.process_time() + (other.user + other.system if other else 0.0)

    cpu, wall = used(), time.monotonic()
    for _ in range(looks):
        look()
    return Cost(way, services, looks, 1e3 * (used() - cpu) / looks, 1e3 * (time.monotonic() - wall) / looks)


def sampler(socket: str, names: Sequence[str], folder: Path) -> Callable[[], object]:
    """A whole look of the sampler, with its rows written and synced."""
    settings = {RuntimeKind.SUPERVISOR: RuntimeSettings(socket, 10.0)}
    targets = tuple(Target(name, RuntimeKind.SUPERVISOR, name, False) for name in names)
    reader, files = Reader(Plan("bench", 60, INTERVAL_S, targets, settings, {})), SampleFiles(folder)

    def look() -> object:
        now = "2026-01-01T00:00:00.000000Z"
        rows = reader.look(0, now)
        assert all(row.memory_bytes for row in rows), rows
        return files.append(0, rows, [], TickRow(0, now, 0, "b", 0.0, 1, 0.0, None, None, None))

    return look


def plain(pids: Sequence[int]) -> Callable[[], object]:
    """The loop that one writes first: psutil, each service with its children, PSS as memory."""

    def look() -> object:
        found = []
        for pid in pids:
            main = psutil.Process(pid)
            tree = [main, *main.children(recursive=True)]
            found.append(
                [(each.cpu_times(), each.memory_full_info().pss, each.num_fds(), each.num_threads()) for each in tree]
            )
        return found

    return look


def statistics(socket: str, names: Sequence[str]) -> Callable[[], object]:
    """What ``docker stats --no-stream`` asks the engine for, without its two seconds of waiting."""
    api = EngineApi(socket, 30.0)
    return lambda: [api.get(f"/containers/{name}/stats", {"stream": "false", "one-shot": "true"}) for name in names]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table, write the JSON file; 1 if the sampler costs more than 2 % of a core."""
    parser = argparse.ArgumentParser(prog="benchmarks.resources", description=__doc__)
    parser.add_argument("--services", type=int, default=15, help="(default %(default)s)")
    parser.add_argument("--looks", type=int, default=20, help="of each way (default %(default)s)")
    parser.add_argument("--output-dir", type=Path, default=Path("artifacts/bench"), help="(default %(default)s)")
    options = parser.parse_args(arguments)
    # Told to end, it takes its services and its engine with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = [f"service{number}" for number in range(options.services)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="k2bench-")))
        program = folder / "service.py"
        program.write_text(_SERVICE)
        sections = (
            f"[program:{name}]\ncommand={sys.executable} {program}\nstartsecs=0\nstopasgroup=true\nkillasgroup=true\n"
            for name in names
        )
        bench = stack.enter_context(supervisord("".join(sections)))
        time.sleep(3)
        pids = [bench.runtime.pid(name) for name in names]
        socket = bench.runtime._socket  # type: ignore[attr-defined]  # noqa: SLF001 - it is the bench's own
        costs = [
            measure("sampler", len(names), sampler(str(socket), names, folder), options.looks),
            measure("psutil loop", len(names), plain(pids), options.looks),
        ]
        try:
            engine = stack.enter_context(own_engine())
            daemon = psutil.Process(int((engine.folder / "docker.pid").read_text(encoding="ascii")))
            there = [stack.enter_context(engine.container(command="sleep 9999")) for _ in names]
            costs.append(
                measure("engine statistics", len(there), statistics(engine.socket, there), options.looks, daemon)
            )
        except (pytest.skip.Exception, AssertionError, OSError) as error:
            print(f"engine statistics: left out: {error}")
    print(f"{'way':<18} {'services':>8} {'CPU/look':>10} {'time/look':>10} {'at 5 s':>12}   ({os.cpu_count()} CPUs)")
    for cost in costs:
        share = f"{cost.core_percent:.2f} % core"
        print(f"{cost.way:<18} {cost.services:>8} {cost.cpu_ms:>7.1f} ms {cost.wall_ms:>7.1f} ms {share:>12}")
    path = options.output_dir / f"resources-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = [asdict(cost) | {"core_percent": cost.core_percent} for cost in costs]
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(path)
    return 0 if costs[0].core_percent < 2 else 1


if __name__ == "__main__":
    raise SystemExit(main())

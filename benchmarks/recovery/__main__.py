# SPDX-License-Identifier: Apache-2.0
"""Benchmark of the bounds of an outage, on services that it takes down: ``python -m benchmarks.recovery``."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.recovery.cost import Cost, measure_cost
from benchmarks.recovery.runs import INTERVAL_S, Run, measure
from k2lab.common.options import positive

_LAB_SERVICES = 26


def describe(runs: Sequence[Run]) -> str:
    widths = sorted(run.width_s for run in runs if run.width_s is not None)
    middle, widest = (widths[len(widths) // 2], widths[-1]) if widths else (float("nan"), float("nan"))
    covered, known = sum(run.covered for run in runs), sum(run.paused_ok for run in runs)
    paused = max((run.paused_s for run in runs if run.paused_ok), default=float("nan"))
    return (
        f"{runs[0].downtime_s:>9g} {len(runs):>5} {covered:>5} of {len(runs):<3} {middle:>9.3f} {widest:>9.3f} | "
        f"{sum(run.paused_covered for run in runs):>5} of {len(runs):<3} {known:>8} {paused:>10.3f}"
    )


def tell_cost(cost: Cost) -> str:
    return (
        f"{cost.services} services, {cost.closely} of them closely: {cost.looks / cost.seconds:.0f} looks/s, "
        f"{cost.cpu_cores:.3f} cores, {cost.skipped} looks left out"
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table, write the JSON file; 1 if some bounds did not hold the truth."""
    parser = argparse.ArgumentParser(prog="benchmarks.recovery", description=__doc__)
    parser.add_argument("--downtimes", default="0.5,3,12", help="seconds (default %(default)s)")
    parser.add_argument("--runs", type=int, default=30, help="of each downtime (default %(default)s)")
    parser.add_argument("--at-once", type=int, default=10, help="runs side by side (default %(default)s)")
    parser.add_argument("--pause", type=positive, default=15.0, help="of the peer's way, s (default %(default)s)")
    parser.add_argument("--seconds", type=positive, default=10.0, help="of measuring cost (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output-dir", type=Path, default=Path("artifacts/bench"), help="(default %(default)s)")
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    costs = [measure_cost(_LAB_SERVICES, closely, options.seconds) for closely in (0, 2, _LAB_SERVICES)]
    print(*map(tell_cost, costs), sep="\n")
    print(f"{f'samples every {INTERVAL_S:g} s':^51} | probe, act, pause {options.pause:g} s, probe")
    print(" downtime  runs  covered width p50 width max |  covered     back  width max")
    everything: list[Run] = []
    with ThreadPoolExecutor(options.at_once) as pool:
        for downtime_s in map(float, options.downtimes.split(",")):
            seeds = [random.Random(rng.random()) for _ in range(options.runs)]
            runs = list(pool.map(lambda own, down=downtime_s: measure(down, options.pause, own), seeds))
            print(describe(runs), flush=True)
            everything += runs
    path = options.output_dir / f"recovery-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "interval_s": INTERVAL_S,
        "pause_s": options.pause,
        "cost": [asdict(cost) for cost in costs],
        "runs": [asdict(run) | {"covered": run.covered, "paused_covered": run.paused_covered} for run in everything],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(path)
    return 0 if all(run.covered for run in everything) else 1


if __name__ == "__main__":
    raise SystemExit(main())

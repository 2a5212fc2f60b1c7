# SPDX-License-Identifier: Apache-2.0
"""Crash test of a running lab: ``python -m k2lab.crash_test --lab-dir .lab --rounds 5``. Exit code 0: exact, 1: not."""

from __future__ import annotations

import argparse
import json
import logging
import secrets
from dataclasses import asdict
from pathlib import Path

from k2lab.common.clock import now_us
from k2lab.common.errors import LabError, run_program
from k2lab.common.logs import configure_logging
from k2lab.common.options import positive
from k2lab.crash_test.rounds import End, Kill, run_rounds
from k2lab.crash_test.target import Target
from k2lab.crash_test.verdict import gaps, recoveries
from k2lab.ground_truth import compare

log = logging.getLogger("k2lab.crash_test")

_COMPARE_TIMEOUT_S = 120.0
_DRAIN_TIMEOUT_S = 120.0


def main(arguments: list[str] | None = None) -> int:
    """End services, drain, compare; returns the exit code. The result file is written whatever happened."""
    options = _parser().parse_args(arguments)
    configure_logging()
    seed = options.seed if options.seed is not None else secrets.randbelow(2**31)
    result: dict[str, object] = {
        "seed": seed,
        "rate": options.rate,
        "rounds": options.rounds,
        "exact": False,
        "error": None,
    }
    kills: list[Kill] = []
    try:
        problems = _test(options, seed, kills, result)
    except LabError as error:
        result["error"] = str(error)
        raise
    finally:
        result["kills"] = [asdict(kill) | {"end": kill.end.value} for kill in kills]
        result["recovery"] = {ended: asdict(recovery) for ended, recovery in recoveries(kills).items()}
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=2) + "\n")
    for ended, recovery in recoveries(kills).items():
        print(
            f"{ended}: recovered after {recovery.min_s:.1f} / {recovery.median_s:.1f} / {recovery.max_s:.1f} s "
            f"(min / median / max, n={recovery.n})"
        )
    for problem in problems:
        print(f"NOT EXACT: {problem}")
    print(f"{len(kills)} ends, seed {seed}: {'exact' if not problems else 'not exact'}; result in {options.output}")
    return 1 if problems else 0


def _test(options: argparse.Namespace, seed: int, kills: list[Kill], result: dict[str, object]) -> list[str]:
    target = Target(options.lab_dir)
    services = options.services.split(",") if options.services else list(target.services)
    unknown = sorted(set(services) - set(target.services))
    if unknown:
        raise LabError(
            f"services of the hot path ({', '.join(target.services)})", ", ".join(unknown), "correct --services"
        )
    # Before the first trade that counts: what an earlier use of the lab lost is not this test's.
    target.stop_load()
    target.drain(_DRAIN_TIMEOUT_S)
    since_us = now_us()
    target.set_rate(options.rate)

    def report(kill: Kill, number: int, total: int) -> None:
        kills.append(kill)
        log.info(
            "%d of %d: %s %s, recovered after %.1f s, found %s",
            number,
            total,
            kill.service,
            kill.end.value,
            kill.recovery_s,
            kill.found,
        )

    ends = [End(options.end)] if options.end else list(End)
    try:
        run_rounds(target, services, ends, options.rounds, options.rate, seed, options.deadline_s, report)
    finally:
        target.stop_load()
    target.drain(_DRAIN_TIMEOUT_S)
    with target.clickhouse(_COMPARE_TIMEOUT_S) as clickhouse:
        comparison = compare(
            target.lab.truth,
            clickhouse,
            target.plan.broker,
            database=target.plan.clickhouse_database,
            gaps=gaps(kills, target.exchanges),
            exchanges=target.exchanges,
            since_us=since_us,
        )
    target.set_rate(options.rate_after)
    problems = comparison.problems()
    result |= {"exact": not problems, "problems": problems, "comparison": asdict(comparison)}
    return problems


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="k2lab.crash_test", description=__doc__)
    parser.add_argument("--lab-dir", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5, help="ends of each service, in each way (default %(default)s)")
    parser.add_argument("--end", choices=[end.value for end in End], help="only this way (default: both)")
    parser.add_argument("--services", help="separated by commas (default: all of the hot path)")
    parser.add_argument("--rate", type=positive, default=500.0, help="trades/s during the test (default %(default)s)")
    parser.add_argument("--rate-after", type=positive, default=50.0, help="trades/s after it (default %(default)s)")
    parser.add_argument("--seed", type=int, help="repeat an earlier run's order and phases")
    parser.add_argument("--deadline-s", type=positive, default=90.0, help="for each recovery (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("artifacts/crash-test.json"), help="(default %(default)s)")
    return parser


if __name__ == "__main__":
    run_program(main)

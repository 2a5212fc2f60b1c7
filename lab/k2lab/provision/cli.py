# SPDX-License-Identifier: Apache-2.0
"""Command line of set-up: runs its parts side by side, shows them, and ends cleanly when interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType

from k2lab.provision import environment, kafka
from k2lab.provision.environment import Purpose
from k2lab.provision.errors import CancelledError, SetupError
from k2lab.provision.lock import exclusive
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner
from k2lab.provision.progress import Progress
from k2lab.provision.record import PartRecord, SetupRecord, utc_now, write_record
from k2lab.provision.system import check_disk

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
LOCK_TIMEOUT_S = 1800.0

Part = Callable[[Callable[[str], None]], tuple[str, bool]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up the clone. Returns 0, 1 after a failure, 130 after an interrupt."""
    parser = argparse.ArgumentParser(
        prog="python3 -m k2lab.provision", description="Set up this clone; safe to repeat."
    )
    parser.add_argument(
        "--for", dest="purpose", type=Purpose, choices=list(Purpose), default=Purpose.RUN, help="what to install for"
    )
    parser.add_argument(
        "--write-kafka-manifest",
        action="store_true",
        help="after a change of lab/kafka/pom.xml: fetch its jars, record their checksums, end",
    )
    options = parser.parse_args(arguments)
    paths = Paths.discover()
    runner = Runner(paths.work / "setup")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.write_kafka_manifest:
            print(f"{kafka.write_manifest(paths, runner)} jars in {paths.kafka_sources / 'jars.sha256'}")
            return 0
        with exclusive(
            paths.work / "setup.lock", timeout_s=LOCK_TIMEOUT_S, waiting=_say, cancelled=lambda: runner.cancelled
        ):
            return _set_up(paths, options.purpose, runner)
    except SetupError as error:
        _say(f"set-up failed: {error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        _say("set-up interrupted; nothing is left running, run it again to go on")
        return EXIT_INTERRUPTED


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _set_up(paths: Paths, purpose: Purpose, runner: Runner) -> int:
    parts: dict[str, Part] = {
        "environment": lambda doing: environment.ensure_environment(paths, purpose, runner, doing),
        "kafka": lambda doing: kafka.ensure_kafka(paths, runner, doing),
    }
    _check_disk(paths, purpose)
    started, begun = utc_now(), time.monotonic()
    records: list[PartRecord] = []
    errors: list[SetupError] = []
    outcome = "interrupted"
    try:
        with Progress(sys.stdout, len(parts)) as progress, ThreadPoolExecutor(len(parts)) as pool:
            futures = [pool.submit(_one, name, part, progress, records, errors, runner) for name, part in parts.items()]
            try:
                wait(futures)
            except KeyboardInterrupt:
                runner.cancel()
                raise
            for future in futures:
                future.result()  # an error nobody foresaw must not pass for success
        outcome = "failed" if errors else "ok"
    finally:
        seconds = round(time.monotonic() - begun, 3)
        write_record(paths.work / "setup.json", SetupRecord(purpose, started, seconds, outcome, tuple(records)))
    for error in errors:
        _say(f"set-up failed: {error}")
    if not errors:
        print(f"set-up for {purpose} is complete after {seconds:.1f} s")
    return EXIT_FAILED if errors else 0


def _check_disk(paths: Paths, purpose: Purpose) -> None:
    needs = {}
    if not environment.is_current(paths, purpose):
        needs[paths.venv] = environment.DISK_BYTES[purpose]
    if not kafka.kafka_home(paths).is_dir():
        needs[paths.cache] = kafka.DISK_BYTES
    check_disk(needs)


def _one(
    name: str, part: Part, progress: Progress, records: list[PartRecord], errors: list[SetupError], runner: Runner
) -> None:
    """Run one part in its thread. A failure stops the other parts too: the user has to act first anyway."""
    progress.start(name, "checking")
    try:
        detail, built = part(lambda doing: progress.doing(name, doing))
    except CancelledError:
        records.append(PartRecord(name, round(progress.stopped(name), 3), "cancelled", ""))
    except SetupError as error:
        errors.append(error)
        records.append(PartRecord(name, round(progress.failed(name, error.problem), 3), "failed", error.problem))
        runner.cancel()
    else:
        outcome = "built" if built else "reused"
        records.append(PartRecord(name, round(progress.done(name, detail), 3), outcome, detail))

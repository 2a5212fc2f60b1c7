# SPDX-License-Identifier: Apache-2.0
"""Command line of set-up: runs its parts side by side, shows them, and ends cleanly when interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType

from k2lab.provision import kafka
from k2lab.provision.environment import Purpose
from k2lab.provision.errors import CancelledError, SetupError
from k2lab.provision.failures import forget_failure, record_failure
from k2lab.provision.golang.modules import write_modules
from k2lab.provision.lock import exclusive
from k2lab.provision.parts import Dispensable, Lane, Part, plan, present, waits
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner
from k2lab.provision.progress import Progress
from k2lab.provision.record import PartRecord, SetupRecord, utc_now, write_record

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
LOCK_TIMEOUT_S = 1800.0
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


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
    parser.add_argument(
        "--write-go-modules",
        action="store_true",
        help="after a change of a version in lab/go/*/go.mod: pin what it needs, with checksums, end",
    )
    parser.add_argument(
        "--retry",
        action="store_true",
        help="attempt again, however soon, what could not be had the last time",
    )
    parser.add_argument(
        "--no-lab", dest="lab", action="store_false", help="for another platform: without the programs of the lab"
    )
    parser.add_argument(
        "--docker", action="store_true", help="with a Docker Engine and Compose, for the lab in containers"
    )
    options = parser.parse_args(arguments)
    paths = Paths.discover()
    runner = Runner(paths.work / "setup")
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)
    try:
        if options.write_kafka_manifest:
            print(f"{kafka.write_manifest(paths, runner)} jars in {paths.kafka_sources / 'jars.sha256'}")
            return 0
        if options.write_go_modules:
            print(f"{write_modules(paths, runner, _say)} modules pinned below {paths.go_sources}")
            return 0
        with exclusive(
            paths.work / "setup.lock", timeout_s=LOCK_TIMEOUT_S, waiting=_say, cancelled=lambda: runner.cancelled
        ):
            return _set_up(paths, options.purpose, runner, lab=options.lab, docker=options.docker, retry=options.retry)
    except SetupError as error:
        _say(f"set-up failed: {error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        _say("set-up interrupted; nothing is left running, run it again to go on")
        return EXIT_INTERRUPTED


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    # The end takes seconds: children are ended, what is half built is removed. No second interrupt may cut it short.
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _set_up(paths: Paths, purpose: Purpose, runner: Runner, *, lab: bool, docker: bool, retry: bool) -> int:
    lanes = plan(paths, purpose, runner, lab=lab, docker=docker, retry=retry)
    started, begun = utc_now(), time.monotonic()
    shift = _Shift(paths, runner, retry)
    outcome = "interrupted"
    try:
        names = [part.name for lane in lanes for part in lane.parts]
        with Progress(sys.stdout, names) as progress, ThreadPoolExecutor(len(lanes)) as pool:
            futures = [pool.submit(shift.work, lane, progress) for lane in lanes]
            try:
                wait(futures)
            except KeyboardInterrupt:
                runner.cancel()
                raise
            for future in futures:
                future.result()  # an error nobody foresaw must not pass for success
        outcome = "failed" if shift.errors else "ok"
    finally:
        seconds = round(time.monotonic() - begun, 3)
        write_record(paths.work / "setup.json", SetupRecord(purpose, started, seconds, outcome, tuple(shift.records)))
    for error in shift.errors:
        _say(f"set-up failed: {error}")
    if shift.errors:
        return EXIT_FAILED
    without = ", ".join(record.name for record in shift.records if record.outcome in {"unavailable", "waits"})
    print(f"set-up for {purpose} is complete after {seconds:.1f} s" + (f", without {without}" if without else ""))
    return 0


class _Shift:
    """Runs the parts of lanes and keeps what became of them."""

    def __init__(self, paths: Paths, runner: Runner, retry: bool) -> None:
        self._paths = paths
        self._runner = runner
        self._retry = retry
        self.records: list[PartRecord] = []
        self.errors: list[SetupError] = []

    def work(self, lane: Lane, progress: Progress) -> None:
        """Run the parts of a lane, in a thread of its own."""
        try:
            for part in lane.parts:
                if self._runner.cancelled:
                    return
                progress.start(part.name)
                try:
                    if part.dispensable is None:
                        self._necessary(part, progress)
                    else:
                        self._dispensable(part, part.dispensable, progress)
                except CancelledError:
                    self._record(part, progress.stopped(part.name), "cancelled", "")
        finally:
            with progress.aside("removing what only the builds needed"):
                lane.close()

    def _necessary(self, part: Part, progress: Progress) -> None:
        """A failure stops the other parts too: the user has to act first anyway."""
        try:
            self._ensure(part, progress)
        except SetupError as error:
            self.errors.append(error)
            self._record(part, progress.failed(part.name, error.problem), "failed", error.problem)
            self._runner.cancel()

    def _dispensable(self, part: Part, dispensable: Dispensable, progress: Progress) -> None:
        """A failure is kept as the reason why the lab does without."""
        if detail := present(self._paths, dispensable):
            self._record(part, progress.reused(part.name), "reused", detail)
        elif reason := waits(self._paths, dispensable, retry=self._retry):
            self._record(part, progress.unavailable(part.name, reason), "waits", reason)
            return
        else:
            try:
                self._ensure(part, progress)
            except (SetupError, OSError) as error:
                reason = error.line if isinstance(error, SetupError) else str(error)
                seconds = progress.unavailable(part.name, reason)
                record_failure(self._paths.cache, dispensable.key, reason, seconds)
                self._record(part, seconds, "unavailable", str(error))
                return
        forget_failure(self._paths.cache, dispensable.key)

    def _ensure(self, part: Part, progress: Progress) -> None:
        detail, built = part.ensure(lambda doing: progress.doing(part.name, doing))
        seconds = progress.built(part.name, detail) if built else progress.reused(part.name)
        self._record(part, seconds, "built" if built else "reused", detail)

    def _record(self, part: Part, seconds: float, outcome: str, detail: str) -> None:
        self.records.append(PartRecord(part.name, round(seconds, 3), outcome, detail))

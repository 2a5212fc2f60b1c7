# SPDX-License-Identifier: Apache-2.0
"""Steps that depend on each other, each begun as soon as what it needs is done.

The first failure of a required step stops the rest. Any other failure costs that step and what needs it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from k2lab.common.errors import LabError


class StoppedError(Exception):
    """Another step failed first, or the user interrupted."""


@dataclass(frozen=True)
class Step:
    """One step: done when `action` returns. `needs` are names of steps.

    One that is not `required` may fail with a LabError, and be done without.
    """

    name: str
    needs: tuple[str, ...]
    action: Callable[[], None]
    required: bool = True


class Steps:
    """Runs steps. Actions call check() in their waiting loops: it raises StoppedError when there is no more point."""

    def __init__(self, report: Callable[[str, float, Iterable[str]], None]) -> None:
        self._report = report
        self._stop = threading.Event()
        self.seconds: dict[str, float] = {}
        self.failed: dict[str, LabError] = {}
        # Name of a step that was not begun -> what it needs and cannot have.
        self.skipped: dict[str, str] = {}

    def check(self) -> None:
        """Raise StoppedError once the run is given up."""
        if self._stop.is_set():
            raise StoppedError

    def run(self, steps: Sequence[Step]) -> None:
        """Run all; raises the error of the required step that failed first."""
        required = {step.name for step in steps if step.required}
        waiting = {step.name: step for step in steps}
        unknown = {need for step in steps for need in step.needs} - waiting.keys()
        if unknown:
            raise ValueError(f"steps need what no step does: {', '.join(sorted(unknown))}")
        running: dict[Future[float], str] = {}
        with ThreadPoolExecutor(len(steps)) as pool:
            try:
                while waiting or running:
                    self._skip(waiting)
                    for step in [step for step in waiting.values() if self.seconds.keys() >= set(step.needs)]:
                        running[pool.submit(self._one, waiting.pop(step.name))] = step.name
                    if not running and waiting:
                        raise ValueError(f"steps wait for each other: {', '.join(waiting)}")
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        name = running.pop(future)
                        error = future.exception()
                        if isinstance(error, LabError) and name not in required:
                            self.failed[name] = error
                            continue
                        self.seconds[name] = future.result()
                        self._report(name, self.seconds[name], [*running.values(), *waiting])
            except BaseException:
                self._stop.set()
                raise

    def _skip(self, waiting: dict[str, Step]) -> None:
        """Take out what can no longer be done, down to the last that depends on it."""
        while True:
            lost = {
                step.name: need
                for step in waiting.values()
                for need in step.needs
                if need in self.failed or need in self.skipped
            }
            if not lost:
                return
            for name, need in lost.items():
                if waiting.pop(name).required:
                    raise ValueError(f"step {name} is required, and needs {need}, which is not")
                self.skipped[name] = need

    @staticmethod
    def _one(step: Step) -> float:
        begun = time.monotonic()
        step.action()
        return round(time.monotonic() - begun, 2)

# SPDX-License-Identifier: Apache-2.0
"""Steps that depend on each other, each begun as soon as what it needs is done; the first failure stops the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass


class StoppedError(Exception):
    """Another step failed first, or the user interrupted."""


@dataclass(frozen=True)
class Step:
    """One step: done when `action` returns. `needs` are names of steps."""

    name: str
    needs: tuple[str, ...]
    action: Callable[[], None]


class Steps:
    """Runs steps. Actions call check() in their waiting loops: it raises StoppedError when there is no more point."""

    def __init__(self, report: Callable[[str, float, Iterable[str]], None]) -> None:
        self._report = report
        self._stop = threading.Event()
        self.seconds: dict[str, float] = {}

    def check(self) -> None:
        """Raise StoppedError once the run is given up."""
        if self._stop.is_set():
            raise StoppedError

    def run(self, steps: Sequence[Step]) -> None:
        """Run all; raises the error of the step that failed first."""
        waiting = {step.name: step for step in steps}
        unknown = {need for step in steps for need in step.needs} - waiting.keys()
        if unknown:
            raise ValueError(f"steps need what no step does: {', '.join(sorted(unknown))}")
        running: dict[Future[float], str] = {}
        with ThreadPoolExecutor(len(steps)) as pool:
            try:
                while waiting or running:
                    for step in [step for step in waiting.values() if self.seconds.keys() >= set(step.needs)]:
                        running[pool.submit(self._one, waiting.pop(step.name))] = step.name
                    if not running:
                        raise ValueError(f"steps wait for each other: {', '.join(waiting)}")
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        name = running.pop(future)
                        self.seconds[name] = future.result()
                        self._report(name, self.seconds[name], [*running.values(), *waiting])
            except BaseException:
                self._stop.set()
                raise

    @staticmethod
    def _one(step: Step) -> float:
        begun = time.monotonic()
        step.action()
        return round(time.monotonic() - begun, 2)

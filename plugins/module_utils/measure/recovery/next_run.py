# SPDX-License-Identifier: Apache-2.0
"""The search, look by look, for the run that puts the cold tier right again after a fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Optional

from ...core.clock import Deadline, monotonic_ns
from ...core.errors import K2Error
from ...platform.prefect import COMPLETED
from ...platform.prefect_runs import FlowRun
from .cold_marks import Marks, advanced

# Start of the last look that did not show a thing, end of the first that did (CLOCK_MONOTONIC, ns).
Bracket = tuple[int, int]


class NextRun:
    """A run counts if it began after the fault; the cold tier has caught up once every watermark has moved on, too."""

    def __init__(
        self,
        list_runs: Callable[[], tuple[FlowRun, ...]],
        read: Callable[[], Marks],
        before: Marks,
        since_us: int,
        since_ns: int,
        ask: Optional[Callable[[], str]] = None,
    ) -> None:
        """:arg list_runs: the runs since well before the fault. :arg read: the watermarks. :arg before: as they were.

        :arg since_us: the end of the fault by the orchestrator's clock, which is taken to be the target's.
        :arg since_ns: the same by CLOCK_MONOTONIC. :arg ask: has a run made and returns its id.
        """
        self._list_runs = list_runs
        self._read = read
        self._before = before
        self._since_us = since_us
        self._last_ns = since_ns
        self._ask = ask
        self._error = ""
        self._behind: tuple[str, ...] = ()
        self.runs: dict[str, FlowRun] = {}
        self.asked: list[str] = []
        self.next_run: Optional[FlowRun] = None
        self.marks: Optional[Marks] = None
        self.caught_up: Optional[Bracket] = None

    @property
    def why(self) -> str:
        """Why the cold tier has not caught up; empty when it has."""
        if self.caught_up is not None:
            return ""
        last = f"; last error: {self._error}" if self._error else ""
        if self.next_run is None:
            return f"no run that began after the fault completed in time{last}"
        return f"a run completed, but these watermarks did not move on: {', '.join(self._behind) or 'unread'}{last}"

    def first_look(self) -> Optional[Marks]:
        """The watermarks before any later run has begun; None where that is too late, or they cannot be read."""
        try:
            marks = self._read()
            # Listed after the reading: a run that began in between may have moved them.
            self._list()
        except K2Error as error:
            self._error = str(error)
            return None
        return None if any(self._later(run) for run in self.runs.values()) else marks

    def until(self, deadline: Deadline, poll_s: float) -> None:
        """Look until caught up, or ``deadline``; always once."""
        while not self._look() and not deadline.passed:
            time.sleep(min(poll_s, deadline.remaining()))

    def _look(self) -> bool:
        began_ns = monotonic_ns()
        try:
            self._list()
            self._take_completed()
            if self.next_run is not None:
                self.marks = self._read()
                self._behind = tuple(sorted(set(self._before) - set(advanced(self._before, self.marks))))
                if not self._behind:
                    self.caught_up = (self._last_ns, monotonic_ns())
            else:
                self._ask_once()
        except K2Error as error:
            # A look that failed shows nothing, so the bracket stays as wide as it was.
            self._error = str(error)
        else:
            self._error = ""
            self._last_ns = began_ns
        return self.caught_up is not None

    def _list(self) -> None:
        self.runs.update((run.id, run) for run in self._list_runs())

    def _later(self, run: FlowRun) -> bool:
        return run.started_us is not None and run.started_us >= self._since_us

    def _take_completed(self) -> None:
        if self.next_run is not None:
            return
        done = [run for run in self.runs.values() if run.state == COMPLETED and self._later(run)]
        if done:
            self.next_run = min(done, key=lambda run: (run.ended_us or 0, run.id))

    def _ask_once(self) -> None:
        """Have a run made unless one is at work, or the last that was made is still to come."""
        at_work = any(not run.ended and self._later(run) for run in self.runs.values())
        to_come = any(run_id not in self.runs or not self.runs[run_id].ended for run_id in self.asked)
        if self._ask is not None and not at_work and not to_come:
            self.asked.append(self._ask())

# SPDX-License-Identifier: Apache-2.0
"""What a fault did to the cold tier: the run it hit, the watermarks, the next run that completed, the rows.

Nothing here takes part in the fault. ``before`` is called ahead of it, ``during`` as often as wanted while it is held,
``observe`` when it is over. The cold tier has caught up (T4) when a run that began after the fault has COMPLETED and
every watermark lies beyond where it was before; the moment lies between two looks, both by CLOCK_MONOTONIC.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ...core.clock import Deadline, monotonic_ns, utc_us
from ...core.errors import K2Error
from ...platform.prefect import COMPLETED
from ...platform.prefect_runs import FlowRun, PrefectRuns
from ...profile.model import Profile
from ..watermarks import Reading, read_watermarks
from .cold_marks import Looks, Marks, held, partial_commit, shown
from .cold_rows import RowCounts, comparable, compare_rows
from .flow_run import Runs, await_running
from .next_run import Bracket, NextRun

# A run that began a little before the fault and was missed by the first list is still found by the second.
_MARGIN_US = 3_600_000_000


@dataclass(frozen=True)
class ColdOptions:
    """How to watch.

    ``ask_for_run`` has a run made instead of waiting for the schedule, which the result tells. ``nothing_commits`` says
    that while the fault is held no run can commit, as with a dead object store. ``poll_s`` lies between two looks.
    """

    ask_for_run: bool = False
    nothing_commits: bool = False
    poll_s: float = 0.5


@dataclass(frozen=True)
class ColdSeen:
    """What was seen. ``plain`` is the result's ``cold``, ``caught_up`` when that was (T4, monotonic ns)."""

    plain: Mapping[str, Any]
    caught_up: Optional[Bracket]


class ColdWatch:
    """Watches the profile's first deployment and the watermarks around one fault."""

    def __init__(
        self,
        profile: Profile,
        options: Optional[ColdOptions] = None,
        *,
        runs: Optional[Runs] = None,
        read: Optional[Callable[[], Reading]] = None,
        compare: Optional[Callable[[Marks, Marks], RowCounts]] = None,
    ) -> None:
        """:arg runs: asks the orchestrator. :arg read: reads the watermarks. :arg compare: compares rows, given the
        watermarks before the fault and those after the next run. Each by default as the profile says.

        :raises K2Error: the profile describes no cold tier.
        """
        section, marks = profile.orchestrator, profile.watermarks
        if section is None or marks is None or not section.deployments:
            raise K2Error(
                "there is no cold tier to watch",
                expected="k2_orchestrator with a deployment, and k2_watermarks",
                seen="a profile without",
                action="describe them, or mark the failure mode as not_applicable",
            )
        self._options = options or ColdOptions()
        self._name = section.deployments[0].name
        self._sources = marks.sources
        self._runs: Runs = runs if runs is not None else PrefectRuns(section.url)
        self._read = read if read is not None else lambda: read_watermarks(marks)
        self._compare = compare
        if compare is None and comparable(profile):
            self._compare = lambda before, after: compare_rows(profile, before, after)
        self._deployment_id = ""
        self._began_us = 0
        self._before: Marks = {}
        self._during: list[Marks] = []
        self._unread = ""
        self._ended_before: frozenset[str] = frozenset()
        self._usual_s: Optional[float] = None
        self._asked: list[str] = []

    def before(self) -> None:
        """Note how things stand, ahead of the fault.

        :raises K2Error: the orchestrator or the watermarks cannot be read, so nothing could be said afterwards.
        """
        self._deployment_id = self._runs.deployment(self._name).id
        self._began_us = utc_us()
        took = [
            (run.ended_us - run.started_us) / 1e6
            for run in self._note()
            if run.state == COMPLETED and run.ended_us is not None and run.started_us is not None
        ]
        self._usual_s = statistics.median(took) if took else None

    def _note(self, besides: str = "") -> tuple[FlowRun, ...]:
        """Note which runs are over, but for ``besides``, and where the watermarks are; returns an hour's runs."""
        recent = self._runs.since(self._deployment_id, self._began_us - _MARGIN_US)
        self._ended_before = frozenset(run.id for run in recent if run.ended and run.id != besides)
        self._before = self._marks()
        return recent

    def await_running(self, deadline: Deadline) -> FlowRun:
        """A run that is at work now, half done by what runs of the last hour took; ``before`` comes first.

        :raises DeadlineExceeded: none began. :raises PrefectError: the orchestrator cannot be asked.
        """
        while True:
            known = {run.id for run in self._runs.under_way(self._deployment_id)}
            run = await_running(self._runs, self._deployment_id, deadline, ask=self._options.ask_for_run)
            if self._options.ask_for_run and run.id not in known:
                self._asked.append(run.id)
            into_s = 0.0 if run.started_us is None else (utc_us() - run.started_us) / 1e6
            half_s = 0.0 if self._usual_s is None else self._usual_s / 2
            if into_s <= half_s or self._usual_s is None:
                # At its beginning it has done nothing yet that could be left half done.
                time.sleep(min(half_s - into_s if half_s else 0.0, deadline.remaining()))
                # What runs did meanwhile is neither the fault's doing nor the next run's.
                self._note(besides=run.id)
                return run
            time.sleep(min(self._options.poll_s, deadline.remaining()))  # it may be over any moment: the next one

    def during(self) -> None:
        """Look at the watermarks while the fault is held; the result tells where that was not possible.

        Never raises K2Error.
        """
        try:
            self._during.append(self._marks())
        except K2Error as error:
            self._unread = f"the watermarks could not be read while it was held: {error}"

    def observe(self, deadline: Deadline, since_ns: int) -> ColdSeen:
        """Watch until the cold tier has caught up or ``deadline`` passes, then compare rows. Never raises K2Error.

        :arg since_ns: when the fault was brought about or healed (CLOCK_MONOTONIC), at the earliest: only a run that
            began then or later is the next one.
        """
        since_us = utc_us() - (monotonic_ns() - since_ns) // 1000
        hunt = NextRun(
            lambda: self._runs.since(self._deployment_id, self._began_us - _MARGIN_US),
            self._marks,
            self._before,
            since_us,
            since_ns,
            (lambda: self._runs.ask_for_run(self._deployment_id).id) if self._options.ask_for_run else None,
        )
        after = hunt.first_look()
        hunt.until(deadline, self._options.poll_s)
        return self._result(hunt, after)

    def _marks(self) -> Marks:
        rows = self._read().rows
        return {name: rows.get(name) for name in self._sources} if self._sources else dict(rows)

    def _result(self, hunt: NextRun, after: Optional[Marks]) -> ColdSeen:
        counts = self._counted(hunt)
        looks = Looks(self._before, tuple(self._during), after)
        good, why_held = held(looks, counts.missing, self._options.nothing_commits)
        failed = sorted(
            (run for run in hunt.runs.values() if run.failed and run.id not in self._ended_before),
            key=lambda run: run.started_us or 0,
        )
        notes = [hunt.why, f"watermarks: {why_held}", self._unread, counts.why]
        plain = {
            "deployment": self._name,
            "watermark_before": shown(self._before),
            "watermark_after": None if hunt.marks is None else shown(hunt.marks),
            "watermark_held": good,
            "failed_run": failed[0].plain() if failed else None,
            "failed_runs": len(failed),
            "next_run": None if hunt.next_run is None else hunt.next_run.plain(),
            "asked_for": [*self._asked, *hunt.asked],
            "duplicates": counts.duplicates,
            "missing": counts.missing,
            "differing": counts.differing,
            "tables": [dict(table) for table in counts.tables],
            "partial_commit": partial_commit(looks, tuple(self._before)) if failed else None,
            "why": "; ".join(note for note in notes if note),
        }
        return ColdSeen(plain, hunt.caught_up)

    def _counted(self, hunt: NextRun) -> RowCounts:
        if self._compare is None:
            return RowCounts(None, None, "rows were not compared: k2_tiers has none with store object_store")
        if hunt.next_run is None or hunt.marks is None:
            return RowCounts(None, None, "rows were not compared: no run completed after the fault")
        try:
            return self._compare(self._before, hunt.marks)
        except K2Error as error:
            return RowCounts(None, None, f"rows could not be compared: {error}")

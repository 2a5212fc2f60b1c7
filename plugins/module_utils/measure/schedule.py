# SPDX-License-Identifier: Apache-2.0
"""Whether the orchestrator keeps its schedule: each deployment is there, is not paused, and completed a run lately.

Age is taken between the end that the orchestrator recorded and its own clock (see ``platform.prefect.Runs``). A run
may be missed once without harm, so a deployment is late when its newest completed run is older than twice its interval
and a slack for what a run itself takes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Optional

from ..core.clock import Deadline, rfc3339, utc_us
from ..core.errors import K2Error
from ..platform.prefect import COMPLETED, ENDED, NoSuchDeployment, PrefectClient, Runs
from ..profile.model import Orchestrator

POLL_INTERVAL_S = 3.0
SLACK_S = 60.0
# How many of the last runs are counted by how they ended: enough to tell a bad moment from a bad day.
RECENT = 10
# The server's clock is known in whole seconds only.
CLOCK_STEP_S = 1.0


@dataclass(frozen=True)
class DeploymentSight:
    """What was last seen of one deployment.

    ``age_s`` is how long ago its newest completed run ended, by the clock named in ``clock``; ``recent`` counts its
    last runs by how they ended. ``missing`` is the server's word that there is no such deployment, ``error`` why
    nothing could be seen.
    """

    name: str
    interval_s: float
    max_age_s: float
    max_ahead_s: float
    paused: Optional[bool] = None
    active_schedules: Optional[int] = None
    completed: Optional[str] = None
    age_s: Optional[float] = None
    clock: Optional[str] = None
    recent: Mapping[str, int] = field(default_factory=dict)
    watched_s: float = 0.0
    missing: Optional[str] = None
    error: Optional[str] = None

    @property
    def on_time(self) -> bool:
        """It will be started again, and completed a run lately."""
        return (
            self.error is None
            and self.paused is False
            and bool(self.active_schedules)
            and self.age_s is not None
            and -self.max_ahead_s <= self.age_s <= self.max_age_s
        )


def unseen(section: Orchestrator, max_skew_s: float, why: str) -> tuple[DeploymentSight, ...]:
    """The deployments of ``section`` before anybody looked, ``why`` being the reason."""
    return tuple(
        DeploymentSight(
            deployment.name,
            deployment.interval_s,
            max_age_s=2 * deployment.interval_s + SLACK_S,
            max_ahead_s=max_skew_s + CLOCK_STEP_S,
            error=why,
        )
        for deployment in section.deployments
    )


def watch_schedule(
    section: Orchestrator,
    max_skew_s: float,
    client: PrefectClient,
    deadline: Deadline,
    progress: Optional[Callable[[int, int], None]] = None,
) -> tuple[DeploymentSight, ...]:
    """Look until every deployment is on time or ``deadline`` passes; returns the last sight of each.

    ``progress`` is called with (on time, all). What goes wrong is part of the result and never raised.
    """
    began = time.monotonic()
    sights = unseen(section, max_skew_s, "not asked yet")
    while True:
        sights = tuple(
            sight if sight.on_time else replace(_look(sight, client), watched_s=time.monotonic() - began)
            for sight in sights
        )
        on_time = sum(sight.on_time for sight in sights)
        if progress is not None:
            progress(on_time, len(sights))
        if on_time == len(sights) or deadline.passed:
            return sights
        time.sleep(min(POLL_INTERVAL_S, deadline.remaining()))


def _look(sight: DeploymentSight, client: PrefectClient) -> DeploymentSight:
    blank = DeploymentSight(sight.name, sight.interval_s, sight.max_age_s, sight.max_ahead_s)
    try:
        deployment = client.deployment(sight.name)
        completed = client.latest_runs(deployment.id, (COMPLETED,), 1)
        ended = client.latest_runs(deployment.id, ENDED, RECENT)
    except NoSuchDeployment as error:
        return replace(blank, missing=str(error))
    except K2Error as error:
        return replace(blank, error=str(error))
    seen = replace(
        blank,
        paused=deployment.paused,
        active_schedules=deployment.active_schedules,
        recent=dict(Counter(run.state for run in ended.runs)),
    )
    return _aged(seen, completed)


def _aged(sight: DeploymentSight, completed: Runs) -> DeploymentSight:
    if not completed.runs:
        return sight
    ended_us = completed.runs[0].ended_us
    now_us, clock = (utc_us(), "target") if completed.server_us is None else (completed.server_us, "orchestrator")
    return replace(sight, completed=rfc3339(ended_us), age_s=(now_us - ended_us) / 1e6, clock=clock)

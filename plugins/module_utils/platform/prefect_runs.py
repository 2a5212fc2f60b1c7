# SPDX-License-Identifier: Apache-2.0
"""Single flow runs of a deployment in Prefect: those under way, those since a time, and one made to order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..core.clock import microseconds, rfc3339
from .prefect import COMPLETED, ENDED, PrefectClient

RUNNING = "RUNNING"
# A worker has taken such a run and not let go of it.
AT_WORK = ("PENDING", RUNNING, "CANCELLING")
# Ended, and not as it should.
NOT_COMPLETED = tuple(state for state in ENDED if state != COMPLETED)
_MOST = 200


@dataclass(frozen=True)
class FlowRun:
    """One run; times are microseconds since the epoch by the orchestrator's clock, None where it has none yet.

    A run that never left its schedule has no start, not even when it was cancelled.
    """

    id: str
    name: str
    state: str
    started_us: Optional[int] = None
    ended_us: Optional[int] = None
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether its state is one for good."""
        return self.state in ENDED

    @property
    def failed(self) -> bool:
        """Whether it began to work and did not complete; one that was only struck off the schedule did not fail."""
        return self.state in NOT_COMPLETED and self.started_us is not None

    def plain(self) -> dict[str, Any]:
        """As data."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "started_us": self.started_us,
            "ended_us": self.ended_us,
            "message": self.message,
        }


class PrefectRuns(PrefectClient):
    """Questions about runs, and the two requests that change something: ``ask_for_run``, ``pause``."""

    def under_way(self, deployment_id: str) -> tuple[FlowRun, ...]:
        """The runs that a worker has taken and that have not ended, the latest first.

        After a kill the server goes on saying so of a dead run until somebody tells it. Raises PrefectError.
        """
        return self._filtered(deployment_id, AT_WORK, {})

    def since(self, deployment_id: str, since_us: int) -> tuple[FlowRun, ...]:
        """The runs that began at ``since_us`` or later, as far as they began, the latest first.

        Raises PrefectError.
        """
        # Both bounds count in the API ("after" is >=). Of a run without a start it takes the time it was due.
        return self._filtered(deployment_id, (*AT_WORK, *ENDED), {"start_time": {"after_": rfc3339(since_us)}})

    def every_since(self, deployment_id: str, since_us: int, most: int) -> tuple[FlowRun, ...]:
        """As ``since``, page by page, ``most`` runs at most. Raises PrefectError."""
        bound = {"start_time": {"after_": rfc3339(since_us)}}
        found: dict[str, FlowRun] = {}
        asked = 0
        while asked < most:
            page = self._filtered(deployment_id, (*AT_WORK, *ENDED), bound, asked)
            # A run that begins meanwhile moves all others by one: some come twice.
            found.update((run.id, run) for run in page)
            asked += _MOST
            if len(page) < _MOST:
                break
        return tuple(found.values())[:most]

    def run(self, run_id: str) -> FlowRun:
        """One run by its id.

        Raises PrefectError.
        """
        return self._read(self._mapping(self._ask("GET", f"/flow_runs/{run_id}")[2]))

    def ask_for_run(self, deployment_id: str) -> FlowRun:
        """Have a run made that is due now, beside those of the schedule.

        Raises PrefectError.
        """
        return self._read(self._mapping(self._ask("POST", f"/deployments/{deployment_id}/create_flow_run", {})[2]))

    def pause(self, deployment_id: str) -> None:
        """Have the schedule make no more runs; one that is asked for is made all the same.

        Raises PrefectError.
        """
        self._ask("PATCH", f"/deployments/{deployment_id}", {"paused": True})

    def _filtered(
        self, deployment_id: str, states: Sequence[str], also: Mapping[str, Any], offset: int = 0
    ) -> tuple[FlowRun, ...]:
        question = {
            "flow_runs": {
                "deployment_id": {"any_": [deployment_id]},
                "state": {"type": {"any_": list(states)}},
                **also,
            },
            "sort": "START_TIME_DESC",
            "limit": _MOST,
            "offset": offset,
        }
        return tuple(self._read(each) for each in self._listed(self._ask("POST", "/flow_runs/filter", question)[2]))

    def _read(self, run: Mapping[str, Any]) -> FlowRun:
        try:
            state = run.get("state") or {}
            started, ended = run.get("start_time"), run.get("end_time")
            return FlowRun(
                str(run["id"]),
                str(run["name"]),
                str(run["state_type"]),
                None if started is None else microseconds(started),
                None if ended is None else microseconds(ended),
                str(state.get("message") or ""),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._unreadable(f"a flow run that cannot be read ({type(error).__name__}: {error})") from error

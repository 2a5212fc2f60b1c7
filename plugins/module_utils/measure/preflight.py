# SPDX-License-Identifier: Apache-2.0
"""What a preflight looks at on the target, in one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..core.clock import Deadline
from ..core.errors import K2Error
from ..core.progress import Progress
from ..measure.clock_skew import TIME_LIMIT_S, Skew, measure_skew
from ..measure.data_flow import Flow, database_now_us, watch_flow
from ..measure.leftovers import Place, search_journal, search_silences
from ..platform.clickhouse import ClickHouseClient
from ..profile.model import Profile


@dataclass(frozen=True)
class Preflight:
    """Flows of records, skews of clocks, and places where an earlier run may have left something open."""

    flows: tuple[Flow, ...]
    clocks: tuple[Skew, ...]
    places: tuple[Place, ...]


def observe(profile: Profile, flow_timeout_s: float, state_dir: Path, progress_file: Optional[Path]) -> Preflight:
    """Look at the platform without changing it; takes at most ``flow_timeout_s``, the time limit of the clock
    readings and a query timeout.

    Raises K2Error when the profile names no database to look into.
    """
    if profile.clickhouse is None:
        raise K2Error(
            "the preflight cannot watch data flow",
            expected="a section k2_clickhouse in the profile",
            seen="none",
            action="add k2_clickhouse to the inventory",
        )
    database = ClickHouseClient(profile.clickhouse)
    progress = Progress(progress_file, "watching trades flow through the tiers", unit="tier x exchange")
    flows = watch_flow(profile, database, Deadline.after(flow_timeout_s), progress.update)
    progress.finish()
    places = [search_journal(state_dir / profile.platform.name / "undo")]
    if profile.alerting is not None and profile.alerting.alertmanager_url:
        places.append(search_silences(profile.alerting.alertmanager_url))
    skew = measure_skew(
        "clickhouse against target",
        lambda: database_now_us(database),
        profile.platform.clock.max_skew_ms,
        Deadline.after(TIME_LIMIT_S),
    )
    return Preflight(flows, (skew,), tuple(places))

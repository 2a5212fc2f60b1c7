# SPDX-License-Identifier: Apache-2.0
"""What a preflight looks at on the target, in one call. Whatever takes time is watched side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ..core.background import in_background
from ..core.clock import Deadline
from ..core.errors import K2Error
from ..core.progress import Progress
from ..measure.clock_skew import TIME_LIMIT_S, Skew, measure_skew
from ..measure.data_flow import Flow, database_now_us, watch_flow
from ..measure.leftovers import Place, search_journal, search_silences
from ..measure.mismatch import Mismatch
from ..measure.names import compare_clickhouse, compare_postgres
from ..measure.schedule import DeploymentSight, unseen, watch_schedule
from ..measure.setup import compare_setup
from ..measure.watermarks import WatermarkWatch, not_watched, read_watermarks, watch_watermarks
from ..platform.clickhouse import ClickHouseClient
from ..platform.prefect import PrefectClient
from ..profile.model import ClickHouse, Profile


@dataclass(frozen=True)
class Preflight:
    """Flows of records, the cold tier's watermarks and schedule (None without their section in the profile), skews of
    clocks, places where an earlier run may have left something open, and where the platform is not as described.
    """

    flows: tuple[Flow, ...]
    watermarks: Optional[WatermarkWatch]
    schedule: Optional[tuple[DeploymentSight, ...]]
    clocks: tuple[Skew, ...]
    places: tuple[Place, ...]
    mismatches: tuple[Mismatch, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "mismatches": [mismatch.as_dict() for mismatch in self.mismatches]}


def observe(
    profile: Profile,
    flow_timeout_s: float,
    offload_timeout_s: float,
    state_dir: Path,
    progress_file: Optional[Path],
) -> Preflight:
    """Look at the platform without changing it.

    Takes at most the longer of ``flow_timeout_s`` (data flow) and ``offload_timeout_s`` (watermarks and schedule), the
    time limit of the clock readings and a query timeout. Raises K2Error when the profile names no database to look
    into.
    """
    clickhouse = profile.clickhouse
    if clickhouse is None:
        raise K2Error(
            "the preflight cannot watch data flow",
            expected="a section k2_clickhouse in the profile",
            seen="none",
            action="add k2_clickhouse to the inventory",
        )
    mismatches = in_background(lambda: _mismatches(profile, ClickHouseClient(clickhouse)))
    offload = Deadline.after(offload_timeout_s)
    watermarks = in_background(lambda: _watermarks(profile, offload, progress_file))
    schedule = in_background(lambda: _schedule(profile, offload, progress_file))
    flows = _flows(profile, clickhouse, Deadline.after(flow_timeout_s), progress_file)
    places = [search_journal(state_dir / profile.platform.name / "undo")]
    if profile.alerting is not None and profile.alerting.alertmanager_url:
        places.append(search_silences(profile.alerting.alertmanager_url))
    database = ClickHouseClient(clickhouse)
    skew = measure_skew(
        "clickhouse against target",
        lambda: database_now_us(database),
        profile.platform.clock.max_skew_ms,
        Deadline.after(TIME_LIMIT_S),
    )
    return Preflight(flows, watermarks.result(), schedule.result(), (skew,), tuple(places), mismatches.result())


def _mismatches(profile: Profile, clickhouse: ClickHouseClient) -> tuple[Mismatch, ...]:
    """Where runtimes and stores differ from the profile. A store whose services cannot be had is not asked."""
    found = [*compare_setup(profile), *compare_clickhouse(profile, clickhouse)]
    if profile.watermarks is not None and not _not_available(profile, profile.watermarks.needs):
        found += compare_postgres(profile.watermarks)
    return tuple(found)


def _flows(
    profile: Profile, clickhouse: ClickHouse, deadline: Deadline, progress_file: Optional[Path]
) -> tuple[Flow, ...]:
    with Progress(progress_file, "watching trades flow through the tiers", unit="tier x exchange") as progress:
        return watch_flow(profile, ClickHouseClient(clickhouse), deadline, progress.update)


def _watermarks(profile: Profile, deadline: Deadline, progress_file: Optional[Path]) -> Optional[WatermarkWatch]:
    section = profile.watermarks
    if section is None:
        return None
    without = _not_available(profile, section.needs)
    if without:
        return not_watched(section, without)
    max_ahead_s = profile.platform.clock.max_skew_ms / 1000
    with Progress(progress_file, "watching the offload's watermarks", unit="watermarks") as progress:
        return watch_watermarks(section, max_ahead_s, lambda: read_watermarks(section), deadline, progress.update)


def _schedule(
    profile: Profile, deadline: Deadline, progress_file: Optional[Path]
) -> Optional[tuple[DeploymentSight, ...]]:
    section = profile.orchestrator
    if section is None:
        return None
    max_skew_s = profile.platform.clock.max_skew_ms / 1000
    without = _not_available(profile, section.needs)
    if without:
        return unseen(section, max_skew_s, without)
    with Progress(progress_file, "watching the orchestrator's schedule", unit="deployments") as progress:
        return watch_schedule(section, max_skew_s, PrefectClient(section.url), deadline, progress.update)


def _not_available(profile: Profile, needs: Iterable[str]) -> str:
    """Why it is of no use to ask: the needed services that cannot be had, with their reasons; empty when all can."""
    names: dict[str, list[str]] = {}
    for name in needs:
        reason = profile.services[name].not_available
        if reason is not None:
            names.setdefault(reason, []).append(name)
    absent = [f"not available: {', '.join(those)}: {reason}" for reason, those in names.items()]
    return f"not asked, {'; '.join(absent)}" if absent else ""

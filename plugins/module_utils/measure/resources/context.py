# SPDX-License-Identifier: Apache-2.0
"""What went on during a window besides: how many records came, and when the orchestrator's runs were at work.

Without traffic a platform fits any budget, so nobody may conclude from a window before knowing how many records came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ...core.errors import K2Error
from ...platform.clickhouse import ClickHouseClient
from ...platform.prefect_runs import PrefectRuns
from ...profile.model import Profile
from ..data_flow import watched_tiers

_TIMEOUT_S = 30.0
# A day has 96 quarters of an hour: enough to find a night without traffic.
_STRETCHES = 96
_SHORTEST_S = 10
# A run each minute for a week.
_MOST_RUNS = 10_000


@dataclass(frozen=True)
class Traffic:
    """Records that entered the platform in a window. ``per_stretch`` counts them by stretches of ``stretch_s``, the
    first of which begins with the window; the last may be shorter. ``error`` says why nobody can tell.
    """

    tier: Optional[str]
    records: int
    seconds: float
    stretch_s: int
    per_stretch: tuple[int, ...]
    error: str = ""


def traffic_of(profile: Profile, start_us: int, end_us: int) -> Traffic:
    """Rows that arrived in the first watched tier of ClickHouse between two times of its clock."""
    seconds = (end_us - start_us) / 1e6
    stretch_s = max(_SHORTEST_S, int(seconds / _STRETCHES) + 1)
    tiers = watched_tiers(profile)
    if profile.clickhouse is None or not tiers:
        why = "the profile has no tier in ClickHouse whose freshness it states"
        return Traffic(None, 0, seconds, stretch_s, (), why)
    freshness = tiers[0].freshness
    assert freshness is not None
    # All tables of the first stage: some platforms have one for each exchange.
    first = [tier for tier in tiers if tier.freshness and tier.freshness.hop == freshness.hop and tier.exchange]
    stage = first if tiers[0].exchange else [tiers[0]]
    counts = [0] * (int(seconds // stretch_s) + 1)
    try:
        client = ClickHouseClient(profile.clickhouse)
        for tier in stage:
            assert tier.freshness is not None
            column = tier.time_columns[tier.freshness.hop].column
            moment = f"toUnixTimestamp64Micro(toDateTime64({column}, 6))"
            rows = client.query(
                f"SELECT intDiv({moment} - {start_us}, {stretch_s * 1_000_000}) AS k2_stretch, count() "
                f"FROM {tier.table} WHERE {column} >= toDateTime(intDiv({start_us}, 1000000)) "
                f"AND {moment} >= {start_us} AND {moment} < {end_us} GROUP BY k2_stretch",
                timeout_s=_TIMEOUT_S,
            ).rows
            for stretch, count in rows:
                counts[int(str(stretch))] += int(str(count))
    except K2Error as error:
        return Traffic(tiers[0].name, 0, seconds, stretch_s, (), str(error))
    return Traffic(tiers[0].name, sum(counts), seconds, stretch_s, tuple(counts))


@dataclass(frozen=True)
class ScheduledRun:
    """One run of a deployment, in microseconds since the epoch by the orchestrator's clock."""

    deployment: str
    name: str
    state: str
    started_us: int
    ended_us: Optional[int]


def runs_of(profile: Profile, start_us: int) -> tuple[tuple[ScheduledRun, ...], str]:
    """Runs of the profile's deployments since ``start_us``, and why some may be missing (empty if none can be)."""
    if profile.orchestrator is None:
        return (), ""
    found: list[ScheduledRun] = []
    problems = []
    client = PrefectRuns(profile.orchestrator.url)
    for deployment in profile.orchestrator.deployments:
        try:
            runs = client.every_since(client.deployment(deployment.name).id, start_us, _MOST_RUNS)
        except K2Error as error:
            problems.append(str(error))
            continue
        if len(runs) >= _MOST_RUNS:
            problems.append(f"of {deployment.name} the last {_MOST_RUNS} runs only are known")
        found += [
            ScheduledRun(deployment.name, run.name, run.state, run.started_us, run.ended_us)
            for run in runs
            if run.started_us is not None
        ]
    return tuple(sorted(found, key=lambda run: run.started_us)), "; ".join(problems)

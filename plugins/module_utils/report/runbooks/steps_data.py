# SPDX-License-Identifier: Apache-2.0
"""Commands about what flows: records, backlogs, runs of the offload, and candles whose views are the database's own."""

from __future__ import annotations

from typing import Optional

from ...measure.runbook.expectation import Condition, Expectation, Kind
from ...profile.failures import affected_exchanges, on_hot_path
from ...profile.model import FailureMode, Profile, Service, ServiceKind, Store, Tier
from .shown import Shown, Subject, line

DATA_S, FLOW_S, RUN_S, VIEW_S = 40, 60, 180, 60


def data_stopped(profile: Profile, mode: FailureMode, subject: Subject) -> Optional[Shown]:
    """Whether records have stopped; None where the failure stops none, or who would have to be asked is down."""
    query = _flow_query(profile, mode, subject)
    if query is None or _holds_records(profile, subject.service):
        return None
    return Shown(
        "See whether records have stopped",
        "",
        query,
        (line(Kind.SYMPTOM, Condition.CONTAINS, "STALE", within_s=DATA_S),),
    )


def data_again(profile: Profile, mode: FailureMode, subject: Subject) -> Optional[Shown]:
    """Whether records flow again; None where they never stopped."""
    query = _flow_query(profile, mode, subject)
    if query is None:
        return None
    wanted = (line(Kind.DONE, Condition.CONTAINS, "FRESH", within_s=FLOW_S),)
    return Shown("Wait until records flow again", "", query, wanted)


def _flow_query(profile: Profile, mode: FailureMode, subject: Subject) -> Optional[str]:
    """Whether the last tier before the candles has new rows, of the exchanges that the failure stops."""
    exchanges = affected_exchanges(profile, mode, subject.service)
    tier = _fresh_tier(profile)
    if not exchanges or tier is None:
        return None
    one = subject.exchange if len(exchanges) == 1 and subject.exchange else ""
    return _fresh(profile, tier, one)


def _fresh(profile: Profile, tier: Tier, exchange: str) -> str:
    assert profile.clickhouse is not None
    assert tier.freshness is not None
    column = tier.time_columns[tier.freshness.hop].column
    table = f"{profile.clickhouse.database}.{tier.table}"
    stale = f"{profile.runbooks.stale_s:g}"
    where = f"{column} > now() - INTERVAL {stale} SECOND"
    if exchange and tier.exchange_column:
        where += f" AND {tier.exchange_column} = '{exchange}'"
    sql = f"SELECT if(count() > 0, 'FRESH', 'STALE'), count() AS new_rows FROM {table} WHERE {where}"
    return f'ch "{sql}"'


def _fresh_tier(profile: Profile) -> Optional[Tier]:
    if profile.clickhouse is None:
        return None
    tiers = [t for t in profile.tiers if t.store is Store.CLICKHOUSE and t.freshness is not None and not t.timeframe]
    return tiers[-1] if tiers else None


def _holds_records(profile: Profile, service: Service) -> bool:
    """Whether it is the database that would have to be asked."""
    store = profile.clickhouse
    return store is not None and service.port == store.port and service.kind is ServiceKind.DATABASE


def _groups_of(profile: Profile, subject: Subject) -> bool:
    groups = profile.broker.groups if profile.broker is not None else ()
    return any(group.service == subject.service.name for group in groups)


def lag_grows(profile: Profile, subject: Subject) -> Optional[Shown]:
    """Whether the backlog grows that the service works off; None where it reads none."""
    if profile.runbooks.lag is None or not _groups_of(profile, subject):
        return None
    high = profile.runbooks.lag_high
    return Shown(
        "See whether its backlog grows",
        "The broker keeps what nobody takes: nothing is lost yet.",
        f'[ "$(lag)" -gt {high} ] && echo BEHIND || lag',
        (line(Kind.SYMPTOM, Condition.CONTAINS, "BEHIND", within_s=DATA_S),),
    )


def caught_up(profile: Profile, subject: Subject) -> Optional[Shown]:
    """Whether that backlog is worked off; None where nothing of it could have piled up."""
    groups = profile.broker.groups if profile.broker is not None else ()
    hot = on_hot_path(profile, subject.service) and subject.service.kind is not ServiceKind.FEED_HANDLER
    if profile.runbooks.lag is None or not groups or not hot:
        return None
    return Shown(
        "Wait until the backlog is worked off",
        "",
        f'[ "$(lag)" -le {profile.runbooks.lag_high} ] && echo CAUGHT-UP || lag',
        (line(Kind.DONE, Condition.CONTAINS, "CAUGHT-UP", within_s=FLOW_S),),
    )


def run_failed() -> Shown:
    """How the newest run ended."""
    wanted = (line(Kind.SYMPTOM, Condition.CONTAINS, "CRASHED", "FAILED", within_s=DATA_S),)
    return Shown("See how the newest run ended", "", "offload_last", wanted)


def ask_for_run() -> Shown:
    """Have a run made, and see that it completes."""
    why = (
        "The watermark has held: the next run takes over all that the last one left, and need not wait to be due. This "
        "asks for one, and waits for its end."
    )
    wanted = (line(Kind.DONE, Condition.CONTAINS, "COMPLETED", within_s=RUN_S),)
    return Shown("Have a run made, and wait until it has completed", why, "offload_now", wanted)


def views(profile: Profile) -> tuple[Shown, ...]:
    """Whether candles stand still though what they are made of goes on."""
    query = _view_query(profile)
    if query is None:
        return ()
    return (
        Shown(
            "Compare the age of candles with that of what they are made of",
            "Candles that stand still while their source goes on have lost their view.",
            query,
            (line(Kind.SYMPTOM, Condition.CONTAINS, "STALLED"),),
        ),
    )


def views_again(profile: Profile) -> tuple[Shown, ...]:
    """Have them go on."""
    query = _view_query(profile)
    if query is None or profile.clickhouse is None:
        return ()
    database = profile.clickhouse.database
    listed = f"SELECT name, 'detached' FROM system.detached_tables WHERE database = '{database}'"
    return (
        Shown(
            "See which view is detached",
            "Attach it again (`ATTACH TABLE`), as a user who may. Rows of the meantime are not in its candles: make"
            " those windows anew from their source.",
            f'ch "{listed}"',
            (Expectation(Kind.EXPECTED, Condition.SUCCEEDS),),
        ),
        Shown(
            "Wait until candles follow again",
            "",
            query,
            (line(Kind.DONE, Condition.LACKS, "STALLED", within_s=VIEW_S),),
        ),
    )


def _view_query(profile: Profile) -> Optional[str]:
    candles = [tier for tier in profile.tiers if tier.timeframe and tier.freshness and tier.store is Store.CLICKHOUSE]
    if profile.clickhouse is None or not candles:
        return None
    tier = candles[0]
    hop = tier.freshness.hop if tier.freshness else ""
    column = tier.time_columns[hop].column
    sql = (
        f"SELECT if(max({column}) < now() - INTERVAL 60 SECOND, 'STALLED', 'GOES ON') "
        f"FROM {profile.clickhouse.database}.{tier.table}"
    )
    return f'ch "{sql}"'

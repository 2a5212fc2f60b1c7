"""Watching trades flow: what counts as flowing, and that a sick platform is an answer, not an exception."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.measure.data_flow import (
    UNDIVIDED,
    Flow,
    flow_query,
    watch_flow,
    watched_tiers,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.clickhouse import (
    ClickHouseUnreachable,
    Column,
    QueryResult,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

NOW_US = 1_700_000_000_123_456


def profile(**tier):
    shared = {
        "store": "clickhouse",
        "time_columns": {"in": {"column": "arrived"}},
        "freshness": {"hop": "in", "max_age_s": 5},
    }
    return parse_profile(
        {
            "k2_platform": {
                "name": "p",
                "scale": "lab",
                "runtime": "supervisor",
                "runtimes": {"supervisor": {"socket": "/run/s.sock", "timeout_s": 1}},
                "clock": {"host": "localhost", "max_skew_ms": 5},
            },
            "k2_services": {
                "handler-a": {"kind": "feed-handler", "exchange": "a", "probe": {"tcp": {"host": "h", "port": 1}}},
                "handler-b": {"kind": "feed-handler", "exchange": "b", "probe": {"tcp": {"host": "h", "port": 2}}},
            },
            "k2_clickhouse": {"host": "h", "port": 1, "username": "u", "password": "", "database": "d"},
            "k2_tiers": [
                {"name": "trades", "table": "t_all", "exchange_column": "venue", **shared},
                {"name": "only_b", "table": "t_b", "exchange": "b", **shared},
                {"name": "raw", "table": "t_raw", **shared},
                {"name": "unwatched", "table": "t_none", "store": "clickhouse", "exchange_column": "venue"},
            ],
        }
    )


class FakeDatabase:
    """Answers from a table of rows by table name; an exception instead of rows is raised."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def query(self, sql):
        table = re.search(r"FROM (\S+)", sql)
        if table is None:
            return QueryResult((Column("now", "Int64"),), ((NOW_US,),), Decimal(0))
        self.asked.append(table[1])
        answer = self.answers[table[1]]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        return QueryResult((), answer, Decimal(0))


FRESH = 1_000_000


def watch(answers, seconds=0.0):
    flows = watch_flow(profile(), FakeDatabase(answers), Deadline.after(seconds))
    return {(flow.tier, flow.exchange): flow for flow in flows}


def test_tiers_without_freshness_are_not_watched():
    assert [tier.name for tier in watched_tiers(profile())] == ["trades", "only_b", "raw"]


def test_everything_flows():
    flows = watch(
        {"t_all": (("a", 3, FRESH), ("b", 1, FRESH)), "t_b": (("b", 2, FRESH),), "t_raw": ((UNDIVIDED, 9, FRESH),)}
    )
    assert all(flow.flowing for flow in flows.values())
    assert set(flows) == {("trades", "a"), ("trades", "b"), ("only_b", "b"), ("raw", UNDIVIDED)}


def test_an_exchange_without_rows_stands_still():
    flows = watch({"t_all": (("a", 3, FRESH),), "t_b": (), "t_raw": ((UNDIVIDED, 9, FRESH),)})
    assert flows["trades", "a"].flowing
    assert flows["trades", "b"] == Flow("trades", "t_all", "b", 5.0, 0, None, flows["trades", "b"].watched_s)
    assert not flows["trades", "b"].flowing


@pytest.mark.parametrize(("rows", "age_us", "flowing"), [(1, 5_000_000, True), (1, 5_000_001, False), (0, 100, False)])
def test_flowing_needs_new_and_fresh_rows(rows, age_us, flowing):
    flows = watch({"t_all": (("a", rows, age_us),), "t_b": (), "t_raw": ()})
    assert flows["trades", "a"].flowing is flowing


def test_a_failing_query_is_an_answer():
    flows = watch({"t_all": ClickHouseUnreachable("down"), "t_b": (("b", 2, FRESH),), "t_raw": ()})
    assert "down" in flows["trades", "a"].error
    assert not flows["trades", "a"].flowing
    assert flows["only_b", "b"].flowing


def test_what_recovers_while_watched_flows():
    answers = {
        "t_all": [ClickHouseUnreachable("down"), (("a", 1, FRESH), ("b", 1, FRESH))],
        "t_b": (("b", 2, FRESH),),
        "t_raw": ((UNDIVIDED, 9, FRESH),),
    }
    flows = watch(answers, seconds=30.0)
    assert all(flow.flowing for flow in flows.values())


def test_a_tier_that_flows_is_not_asked_again():
    database = FakeDatabase(
        {
            "t_all": [(), (("a", 1, FRESH), ("b", 1, FRESH))],
            "t_b": (("b", 2, FRESH),),
            "t_raw": ((UNDIVIDED, 9, FRESH),),
        }
    )
    watch_flow(profile(), database, Deadline.after(30.0))
    assert database.asked == ["t_all", "t_b", "t_raw", "t_all"]


def test_the_query_is_bounded_below():
    (tier, *_) = watched_tiers(profile())
    assert f"WHERE arrived >= toDateTime(intDiv({NOW_US}, 1000000) - 6)" in flow_query(tier, NOW_US)

# SPDX-License-Identifier: Apache-2.0
"""The profile refuses what is wrong, all of it at once, and takes any platform's names."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.profile.model import MASK, Lifecycle, RuntimeKind, TcpProbe
from ansible_collections.k2.hardening.plugins.module_utils.profile.names import check_names
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import ProfileError, parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.references import contradictions

# Not K2 on purpose: no name in here may mean anything to the code.
BETTING: dict[str, Any] = {
    "k2_platform": {"name": "betting", "scale": "full", "runtime": "docker"},
    "k2_services": {
        "odds-feed": {"kind": "feed-handler", "exchange": "bookie", "port": "8080", "allow_faults": True},
        "log": {
            "kind": "broker",
            "unit": "kafka_1",
            "probe": {"tcp": {"port": 9092}, "timeout_s": 1},
            "budget": {"cpus": 1, "memory": "512M"},
            "limit": {"cpus": 0.5, "memory": "1G"},
        },
        "seed": {"kind": "service", "lifecycle": "one-shot"},
    },
    "k2_broker": {
        "bootstrap": "10.0.0.1:9092,10.0.0.2:9092",
        "topics": {"bookie": {"raw": "odds.in", "partitions": 3}},
        "groups": [{"name": "settler", "service": "odds-feed", "topics": ["odds.in"]}],
    },
    "k2_clickhouse": {"host": "db", "port": 8123, "username": "ro", "password": "hunter2", "database": "bets"},
    "k2_tiers": [
        {
            "name": "slips",
            "store": "clickhouse",
            "table": "bet_slips",
            "exchange_column": "bookmaker",
            "time_columns": {"placed": {"column": "placed_at", "resolution": "ms"}},
            "freshness": {"hop": "placed", "max_age_s": 30},
        },
        {"name": "hourly", "store": "clickhouse", "table": "turnover", "source": "slips", "timeframe": "1h"},
    ],
    "k2_load": {"rates": {"calm": 5, "derby": 500}, "targets": {"derby": 900}},
    "k2_budget": {"cpus": 1, "memory": "512M"},
    "k2_failure_modes": {"feed_crash": {"services": ["odds-feed"], "action": "kill", "max_recovery_s": 5}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """BETTING with one value replaced; ``path`` has dots and list indices."""
    data = copy.deepcopy(BETTING)
    *parents, last = path.split(".")
    target: Any = data
    for key in parents:
        target = target[int(key) if isinstance(target, list) else key]
    target[int(last) if isinstance(target, list) else last] = value
    return data


def problems(data: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ProfileError) as caught:
        parse_profile(data)
    return {problem.path: str(problem) for problem in caught.value.problems}


def test_another_platform_needs_no_code() -> None:
    profile = parse_profile(BETTING)
    assert profile.exchanges == ("bookie",)
    assert profile.services["odds-feed"].runtime is RuntimeKind.DOCKER
    assert profile.services["odds-feed"].port == 8080
    assert profile.services["log"].probe == TcpProbe("127.0.0.1", 9092, 1.0)
    assert profile.services["seed"].lifecycle is Lifecycle.ONE_SHOT
    assert not profile.services["seed"].restart_expected
    assert profile.watermarks is None
    assert profile.orchestrator is None


def test_minimal_profile_is_one_service() -> None:
    profile = parse_profile({"k2_platform": BETTING["k2_platform"], "k2_services": {"a": {"kind": "service"}}})
    assert profile.services["a"].unit == "a"
    assert profile.tiers == ()


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        ("k2_servces", {}, "k2_servces", "did you mean 'k2_services'"),
        ("k2_services.log.budgett", {}, "k2_services.log.budgett", "did you mean 'budget'"),
        ("k2_services.log.budget.memroy", 1, "k2_services.log.budget.memroy", "did you mean 'memory'"),
        ("k2_services.log.probe.tcp.prot", 1, "k2_services.log.probe.tcp.prot", "did you mean 'port'"),
        ("k2_tiers.0.tabel", "x", "k2_tiers[0].tabel", "did you mean 'table'"),
        ("k2_tiers.0.time_columns.placed.colum", "x", "k2_tiers[0].time_columns.placed.colum", "did you mean 'column'"),
        ("k2_services.log.kind", "brokr", "k2_services.log.kind", "did you mean 'broker'"),
        ("k2_services.log.port", 70000, "k2_services.log.port", "from 1 to 65535"),
        ("k2_services.log.port", True, "k2_services.log.port", "whole number"),
        ("k2_services.log.allow_faults", "false", "k2_services.log.allow_faults", "true or false"),
        ("k2_services.log.budget.memory", "2 GBs", "k2_services.log.budget.memory", "512M"),
        ("k2_services.log.budget.cpus", -1, "k2_services.log.budget.cpus", "from 0"),
        ("k2_services.log.budget.cpus", "nan", "k2_services.log.budget.cpus", "a number"),
        ("k2_services.log.probe", {}, "k2_services.log.probe", "exactly one of"),
        ("k2_services.log.probe.http", {"url": "x"}, "k2_services.log.probe", "exactly one of"),
        ("k2_services.log", None, "k2_services.log", "a mapping"),
        ("k2_services.log", "up", "k2_services.log", "a mapping"),
        ("k2_services", {}, "k2_services", "at least one service"),
        ("k2_services.log.exchange", "bokie", "k2_services.log.exchange", "did you mean 'bookie'"),
        ("k2_services.log.runtime", "supervisor", "k2_services.log.runtime", "k2_platform.runtimes"),
        ("k2_services.log.unit", "odds-feed", "k2_services.log.unit", "also of odds-feed"),
        ("k2_services.log.ipv4", "172.28.0.300", "k2_services.log.ipv4", "an IPv4 address"),
        ("k2_services.log.ipv4", "172.28.0.3", "k2_services.log.ipv4", "docker.networks to be described"),
        (
            "k2_platform.runtimes",
            {"docker": {"subnet": "172.28.0.1/16"}},
            "k2_platform.runtimes.docker.subnet",
            "host bits set",
        ),
        ("k2_services.log.labels", {"tier": 1}, "k2_services.log.labels.tier", "a text"),
        ("k2_services.log.not_available", True, "k2_services.log.not_available", "a text"),
        ("k2_services.log.not_available", "", "k2_services.log.not_available", "a text"),
        ("k2_platform.scale", "big", "k2_platform.scale", "full, lab"),
        ("k2_platform.runtime", "podman", "k2_platform.runtime", "supervisor, docker"),
        ("k2_broker.bootstrap", "no-port", "k2_broker.bootstrap", "host:port"),
        ("k2_broker.groups.0.service", "log2", "k2_broker.groups[0].service", "did you mean 'log'"),
        ("k2_broker.groups.0.topics", ["odds.on"], "k2_broker.groups[0].topics", "did you mean 'odds.in'"),
        ("k2_clickhouse", None, "k2_tiers[0].store", "k2_clickhouse"),
        ("k2_tiers.1.name", "slips", "k2_tiers[1].name", "a second time"),
        ("k2_tiers.1.source", "slip", "k2_tiers[1].source", "did you mean 'slips'"),
        ("k2_tiers.1.timeframe", "1 hour", "k2_tiers[1].timeframe", "1m, 4h or 1d"),
        ("k2_tiers.0.store", "object_store", "k2_tiers[0].store", "k2_object_store"),
        ("k2_tiers.0.exchange", "bookie", "k2_tiers[0]", "both"),
        ("k2_tiers.0.freshness.hop", "place", "k2_tiers[0].freshness.hop", "did you mean 'placed'"),
        ("k2_load.targets.darby", 5, "k2_load.targets.darby", "did you mean 'derby'"),
        ("k2_failure_modes.feed_crash.services", ["odds"], "k2_failure_modes.feed_crash.services", "k2_services"),
        ("k2_failure_modes.feed_crash.services", [], "k2_failure_modes.feed_crash.services", "at least one"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(path: str, value: Any, where: str, says: str) -> None:
    found = problems(changed(path, value))
    assert where in found, found
    assert says in found[where]


def test_addresses_are_of_the_network_and_no_two_are_alike() -> None:
    data = changed("k2_platform.runtimes", {"docker": {"networks": ["odds"], "subnet": "172.28.0.0/16"}})
    for name in ("odds-feed", "log"):
        data["k2_services"][name]["ipv4"] = "172.29.0.3"
    found = problems(data)
    assert "172.28.0.0/16" in found["k2_services.odds-feed.ipv4"]
    assert "also of odds-feed" in found["k2_services.log.ipv4"]


def test_all_problems_are_told_at_once() -> None:
    data = changed("k2_services.log.port", "x")
    data["k2_tiers"][0]["store"] = "clickhose"
    data["k2_load"]["targets"]["darby"] = 1
    data["k2_extra"] = 1
    assert {"k2_services.log.port", "k2_tiers[0].store", "k2_load.targets.darby", "k2_extra"} <= set(problems(data))


def test_a_password_of_the_wrong_type_is_not_shown() -> None:
    assert "31337" not in problems(changed("k2_clickhouse.password", 31337))["k2_clickhouse.password"]


def test_missing_required_key_names_a_similar_one_that_is_there() -> None:
    data = changed("k2_clickhouse.databse", "bets")
    del data["k2_clickhouse"]["database"]
    assert "'databse'" in problems(data)["k2_clickhouse.database"]


def test_null_counts_as_absent() -> None:
    assert parse_profile(changed("k2_load", None)).load is None
    assert parse_profile(changed("k2_services.log.limit", None)).services["log"].limit is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("512M", 512 * 1024**2), ("1.5GiB", 3 * 512 * 1024**2), ("1GB", 10**9), (7, 7), ("256 MB", 256 * 10**6)],
)
def test_sizes_are_read_as_compose_does(text: Any, size: int) -> None:
    budget = parse_profile(changed("k2_services.log.budget.memory", text)).services["log"].budget
    assert budget is not None
    assert budget.memory_bytes == size


def test_secrets_are_neither_shown_nor_digested() -> None:
    profile = parse_profile(BETTING)
    other = parse_profile(changed("k2_clickhouse.password", "other"))
    assert "hunter2" not in repr(profile) + json.dumps(profile.as_dict())
    assert profile.as_dict()["clickhouse"]["password"] == MASK
    assert profile.digest() == other.digest()


def test_digest_follows_meaning_not_spelling() -> None:
    profile = parse_profile(BETTING)
    assert profile.digest() == parse_profile(changed("k2_services.log.budget.memory", 512 * 1024**2)).digest()
    assert profile.digest() != parse_profile(changed("k2_services.log.budget.memory", "513M")).digest()


def test_contradictions_are_findings_not_refusals() -> None:
    data = changed("k2_budget.cpus", 2)
    data["k2_failure_modes"]["broker_crash"] = {"services": ["log"], "action": "kill", "max_recovery_s": 9}
    texts = {finding.path: finding.text for finding in contradictions(parse_profile(data))}
    assert texts == {
        "k2_services.log.budget.cpus": "1 cores exceed the limit of 0.5: the limit decides",
        "k2_budget.cpus": "2 cores, but the services' budgets sum to 1",
        "k2_failure_modes.broker_crash": "breaks log, which allow_faults does not permit: this mode will be refused",
    }


COLD: dict[str, Any] = {
    "k2_watermarks": {
        "host": "pg",
        "port": 5432,
        "database": "flows",
        "username": "ro",
        "password": "hunter3",
        "table": "archive.offload_watermarks",
        "name_column": "source_table",
        "time_column": "last_watermark",
        "max_age_s": 1800,
        "sources": ["slips"],
        "needs": ["log"],
    },
    "k2_orchestrator": {
        "url": "http://flows/api",
        "deployments": [{"name": "offload/hourly", "interval_s": 3600}],
        "needs": ["odds-feed", "log"],
    },
}


def test_the_cold_tier_of_another_platform_needs_no_code() -> None:
    profile = parse_profile({**BETTING, **COLD})
    assert profile.watermarks is not None
    assert profile.orchestrator is not None
    assert (profile.watermarks.name_column, profile.watermarks.time_column) == ("source_table", "last_watermark")
    assert (profile.watermarks.needs, profile.orchestrator.needs) == (("log",), ("odds-feed", "log"))
    assert "hunter3" not in repr(profile) + json.dumps(profile.as_dict())
    bare = copy.deepcopy(COLD)
    del bare["k2_watermarks"]["sources"], bare["k2_watermarks"]["needs"], bare["k2_orchestrator"]["needs"]
    profile = parse_profile({**BETTING, **bare})
    assert profile.watermarks is not None
    assert (profile.watermarks.sources, profile.watermarks.needs) == ((), ())


@pytest.mark.parametrize(
    ("section", "key", "value", "where", "says"),
    [
        ("k2_watermarks", "needs", ["lok"], "k2_watermarks.needs", "did you mean 'log'"),
        ("k2_orchestrator", "needs", ["flows"], "k2_orchestrator.needs", "a service of k2_services"),
        (
            "k2_orchestrator",
            "deployments",
            [{"name": "a/b", "interval_s": 1}] * 2,
            "k2_orchestrator.deployments[1].name",
            "a second time",
        ),
    ],
)
def test_what_is_wrong_with_the_cold_tier_is_named(section: str, key: str, value: Any, where: str, says: str) -> None:
    data = {**BETTING, **copy.deepcopy(COLD)}
    data[section][key] = value
    assert says in problems(data)[where]


def test_a_fault_in_a_service_that_cannot_be_had_is_a_finding() -> None:
    data = changed("k2_services.odds-feed.not_available", "no feed in this country")
    data["k2_services"]["odds-feed"]["allow_faults"] = False
    texts = {finding.path: finding.text for finding in contradictions(parse_profile(data))}
    assert texts["k2_failure_modes.feed_crash"] == (
        "breaks odds-feed, which is not available: no feed in this country: this mode cannot be brought about"
    )
    data["k2_failure_modes"]["feed_crash"]["not_applicable"] = "there is no feed"
    assert "k2_failure_modes.feed_crash" not in {f.path for f in contradictions(parse_profile(data))}


def test_unknown_variables_are_refused_with_the_nearest() -> None:
    found = check_names(["k2_plattform", "k2_confirm", "k2_lab_dir", "other"], ["k2_lab_dir"])
    assert [str(problem) for problem in found] == [
        "k2_plattform: expected a known variable; seen an unknown variable; did you mean 'k2_platform'?"
    ]

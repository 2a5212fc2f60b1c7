# SPDX-License-Identifier: Apache-2.0
"""The inventories that come with the collection are profiles, resolved as a play resolves them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.cli.inventory import InventoryError, load_profile
from ansible_collections.k2.hardening.plugins.module_utils.measure.setup import compare_setup
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Lifecycle, Profile, Resources
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.references import contradictions

from ..platform.engine import Engine, compose_labels, container, network, serve  # noqa: TID252 - tests are no package that has a name

M = 2**20
G = 2**30


class Row(NamedTuple):
    """One container of K2, as its Compose file and the plan have it; memory in bytes."""

    port: int | None
    ipv4: str | None
    service: str
    tier: str
    limit: Resources | None
    budget: Resources | None
    exchange: str | None = None
    heap: int | None = None


def handler(exchange: str, last: int) -> Row:
    limit, budget = Resources(0.5, 512 * M), Resources(0.5, 256 * M)
    return Row(None, f"172.28.0.{last}", "feed-handler", "hot", limit, budget, exchange, 512 * M)


CONTAINERS = {
    "redpanda": Row(9092, "172.28.0.10", "streaming", "hot", Resources(2.0, 2 * G), Resources(2.0, 4 * G)),
    "redpanda-console": Row(8080, None, "ui", "management", Resources(0.5, 256 * M), Resources(0.5, 256 * M)),
    "redpanda-init": Row(None, None, "init", "hot", None, None),
    "clickhouse": Row(8123, "172.28.0.20", "storage", "warm", Resources(4.0, 8 * G), Resources(4.0, 8 * G)),
    "minio": Row(9000, "172.28.0.21", "storage", "cold", Resources(1.0, G), Resources(0.5, G)),
    "prometheus": Row(9090, None, "monitoring", "observability", Resources(1.0, 2 * G), Resources(0.5, 2 * G)),
    "grafana": Row(3000, None, "monitoring", "observability", Resources(0.5, 512 * M), Resources(0.5, 512 * M)),
    "prefect-db": Row(5432, "172.28.0.30", "orchestration", "control-plane", Resources(1.0, G), Resources(0.5, G)),
    "prefect-server": Row(4200, "172.28.0.31", "orchestration", "control-plane", Resources(1.0, G), Resources(0.5, G)),
    "prefect-worker": Row(
        None, "172.28.0.32", "orchestration", "control-plane", Resources(0.5, 512 * M), Resources(0.5, 512 * M)
    ),
    "spark-iceberg": Row(18080, "172.28.0.40", "etl", "cold", Resources(2.0, 4 * G), Resources(2.0, 4 * G)),
    "feed-handler-binance": handler("binance", 50),
    "feed-handler-kraken": handler("kraken", 51),
    "feed-handler-coinbase": handler("coinbase", 52),
}
OVER_LIMIT = {"k2_services.redpanda.budget.memory": "4.00 GiB exceed the limit of 2.00 GiB: the limit decides"}
BELOW_HEAP = {
    f"k2_services.feed-handler-{exchange}.budget.memory": (
        "256 MiB lie below the Java heap of 512 MiB: it may outgrow its budget while nothing is wrong"
    )
    for exchange in ("binance", "kraken", "coinbase")
}
TOTALS = {
    "k2_budget.cpus": "15.5 cores, but the services' budgets sum to 13",
    "k2_budget.memory": "19.50 GiB, but the services' budgets sum to 23.00 GiB",
    "k2_budget.elsewhere.tracker.memory": "21.75 GiB, but k2_budget has 19.50 GiB",
}


def status(root: Path, inventory: str) -> dict[str, Any]:
    command: list[str | Path] = [
        sys.executable,
        root / "bin/k2h",
        "status",
        "-i",
        root / "inventory" / inventory,
        "--json",
    ]
    command += ["--sample-seconds", "0", "--timeout", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(name="k2")
def _k2(project_root: Path, k2_secrets: dict[str, str]) -> Profile:
    return load_profile(str(project_root / "inventory" / "k2_compose"), "localhost")


def test_lab_is_free_of_contradictions(project_root: Path) -> None:
    answer = status(project_root, "lab")
    assert answer["profile"] == "k2-lab"
    assert answer["findings"] == []
    assert answer["services"]["feed-handler-kraken"]["port"] - answer["services"]["kafka"]["port"] == 12 - 20


def test_k2_contradictions_are_told(project_root: Path, k2_secrets: dict[str, str]) -> None:
    answer = status(project_root, "k2_compose")
    assert len(answer["services"]) == 14
    found = {finding["path"]: finding["text"] for finding in answer["findings"]}
    assert found == {**OVER_LIMIT, **BELOW_HEAP, **TOTALS}
    assert len(answer["findings"]) == len(found)


def test_contradictions_follow_from_the_numbers() -> None:
    """Each goes away with the number that makes it, and comes back with it."""
    services = {
        "a": {"kind": "service", "budget": {"cpus": 2, "memory": "1G"}, "limit": {"cpus": 1, "memory": "1G"}},
        "b": {"kind": "service", "budget": {"cpus": 1, "memory": "1G"}, "heap": "1G", "limit": {"memory": "1023M"}},
    }
    data = {"k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"}, "k2_services": services}
    budget = {"cpus": 3, "memory": "2G", "elsewhere": {"plan": {"cpus": 3}, "wiki": {"cpus": 4, "memory": "2G"}}}
    assert {each.path: each.text for each in contradictions(parse_profile({**data, "k2_budget": budget}))} == {
        "k2_services.a.budget.cpus": "2 cores exceed the limit of 1: the limit decides",
        "k2_services.b.budget.memory": "1.00 GiB exceed the limit of 1023 MiB: the limit decides",
        "k2_services.b.limit.memory": (
            "1023 MiB lie below the Java heap of 1.00 GiB: the kernel will kill it before the heap is full"
        ),
        "k2_budget.elsewhere.wiki.cpus": "4 cores, but k2_budget has 3",
    }
    services["a"]["limit"] = {"cpus": 2}
    services["b"].pop("limit")
    budget["elsewhere"] = {}
    assert contradictions(parse_profile({**data, "k2_budget": budget})) == ()


@pytest.mark.parametrize("name", CONTAINERS)
def test_k2_describes_each_container_as_it_is(k2: Profile, name: str) -> None:
    service, row = k2.services[name], CONTAINERS[name]
    assert service.unit == f"k2-{name}"
    assert (service.port, service.ipv4, service.tier) == (row.port, row.ipv4, row.tier)
    assert (service.limit, service.budget, service.heap_bytes) == (row.limit, row.budget, row.heap)
    labels = {"com.k2.service": row.service, "com.k2.tier": row.tier, "com.k2.version": "v2"}
    assert service.labels == (labels if row.exchange is None else {**labels, "com.k2.exchange": row.exchange})
    assert service.exchange == row.exchange
    assert (service.lifecycle is Lifecycle.ONE_SHOT) == (name == "redpanda-init")
    assert service.restart_expected == (name != "redpanda-init")


def test_k2_describes_no_other_container(k2: Profile) -> None:
    assert set(k2.services) == set(CONTAINERS)
    docker = k2.platform.runtimes["docker"]
    assert (docker.networks, docker.subnet) == (("k2-net", "default"), "172.28.0.0/16")


@pytest.mark.parametrize(
    ("names", "network_name", "key"),
    [("k2-{}", "k2-net", ""), ("k2-{}", "k2_k2-net", "k2-net"), ("mine-{}-1", "mine_default", "default")],
)
def test_k2_finds_its_containers_whatever_compose_called_them(
    k2: Profile, tmp_path: Path, names: str, network_name: str, key: str
) -> None:
    """S0: a stack that differs from the profile by nothing but its names has no mismatch."""
    containers = [
        container(
            names.format(name),
            labels=compose_labels(name, **k2.services[name].labels),
            status="exited" if name == "redpanda-init" else "running",
            policy="no" if name == "redpanda-init" else "unless-stopped",
            cpus=(row.limit.cpus or 0) if row.limit else 0,
            memory=(row.limit.memory_bytes or 0) if row.limit else 0,
            networks={network_name: (row.ipv4, row.ipv4 or "172.28.0.200")},
            environment=("JAVA_OPTS=-Xmx512m -Xms256m",) if row.heap else (),
        )
        for name, row in CONTAINERS.items()
    ]
    docker = replace(k2.platform.runtimes["docker"], socket=str(tmp_path / "s"))
    k2 = replace(k2, platform=replace(k2.platform, runtimes={"docker": docker}))
    with serve(Engine(tmp_path / "s", containers, [network("bridge"), network(network_name, key=key)])) as engine:
        assert [str(mismatch) for mismatch in compare_setup(k2)] == []
        # What the plan's budgets are is no business of the engine: only what runs is compared.
        engine.containers.pop()
        (mismatch,) = compare_setup(k2)
        assert mismatch.subject == "feed-handler-coinbase"
        assert "docker compose -f docker-compose.v2.yml up -d" in mismatch.action


@pytest.mark.parametrize(
    "missing", ["CLICKHOUSE_PASSWORD", "PREFECT_DB_PASSWORD", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", None]
)
def test_a_secret_that_nobody_set_is_named_and_no_other(
    project_root: Path, k2_secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch, missing: str | None
) -> None:
    """All of them at once where none is set."""
    absent = list(k2_secrets) if missing is None else [missing]
    for name in absent:
        monkeypatch.delenv(name)
    with pytest.raises(InventoryError) as refused:
        load_profile(str(project_root / "inventory" / "k2_compose"), "localhost")
    told = str(refused.value)
    for name, value in k2_secrets.items():
        assert (f"set {name} in the environment" in told) == (name in absent)
        assert value not in told


def test_a_secret_may_come_from_elsewhere(
    project_root: Path, k2_secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A variable of the same name, as a vault has it, takes the place of the environment."""
    for name in k2_secrets:
        monkeypatch.delenv(name)
    inventory = tmp_path / "inventory"
    (inventory / "group_vars" / "platform").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("platform: {hosts: {localhost: {ansible_connection: local}}}\n")
    (inventory / "group_vars" / "all").symlink_to(project_root / "inventory" / "k2_compose" / "group_vars" / "all")
    (inventory / "group_vars" / "platform" / "vault.yml").write_text(
        "compose_clickhouse_password: one\n"
        "compose_prefect_db_password: two\n"
        "compose_minio_user: three\n"
        "compose_minio_password: four\n"
    )
    profile = load_profile(str(inventory), "localhost")
    assert profile.clickhouse is not None
    assert profile.watermarks is not None
    assert profile.object_store is not None
    assert (profile.clickhouse.password, profile.watermarks.password) == ("one", "two")
    assert (profile.object_store.access_key, profile.object_store.secret_key) == ("three", "four")


def test_no_secret_is_in_the_inventory(project_root: Path) -> None:
    """Every password of the profile is a variable, and every such variable is looked up."""
    directory = project_root / "inventory" / "k2_compose" / "group_vars" / "all"
    text = "".join(path.read_text() for path in directory.glob("*.yml"))
    values = [line.split(":", 1)[1].strip() for line in text.splitlines() if "password:" in line or "_key:" in line]
    assert values
    assert all(value == ">-" or value.startswith('"{{ compose_') for value in values), values

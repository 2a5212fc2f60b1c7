# SPDX-License-Identifier: Apache-2.0
"""Finding containers and networks whose names vary, and reading how a container was set up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import (
    NetworkMissing,
    State,
    UnitAmbiguous,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.docker import DockerRuntime
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.engine_setup import (
    heap_of,
    limit_of,
    recreate_command,
    restart_policy_of,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Resources, RuntimeSettings

from .engine import Engine, compose_labels, container, network, serve


@pytest.fixture(name="engine")
def _engine(tmp_path: Path) -> Iterator[Engine]:
    with serve(Engine(tmp_path / "s")) as engine:
        yield engine


def runtime(engine: Engine, project: str | None = None, start_command: str | None = None) -> DockerRuntime:
    settings = RuntimeSettings(str(engine.socket), 5.0, project, start_command)
    return DockerRuntime(settings, {"k2-redpanda": "redpanda"})


def test_a_container_is_found_by_its_name_first(engine: Engine) -> None:
    engine.containers = [container("k2-redpanda"), container("other", labels=compose_labels("k2-redpanda"))]
    found = runtime(engine).setup("k2-redpanda")
    assert found is not None
    assert (found.name, found.status.state) == ("k2-redpanda", State.RUNNING)


@pytest.mark.parametrize("service", ["k2-redpanda", "redpanda"])
def test_else_by_the_label_of_its_compose_service(engine: Engine, service: str) -> None:
    engine.containers = [container("shop-redpanda-1", labels=compose_labels(service))]
    found = runtime(engine).setup("k2-redpanda")
    assert found is not None
    assert found.name == "shop-redpanda-1"
    assert runtime(engine).start_command("k2-redpanda") == "docker start shop-redpanda-1"


def test_several_containers_of_a_service_are_named_and_none_is_taken(engine: Engine) -> None:
    engine.containers = [
        container(f"{project}-redpanda-1", labels=compose_labels("redpanda", project)) for project in ("old", "new")
    ]
    with pytest.raises(UnitAmbiguous) as refused:
        runtime(engine).setup("k2-redpanda")
    assert refused.value.seen == "new-redpanda-1, old-redpanda-1"
    assert "k2_platform.runtimes.docker.project" in refused.value.action
    found = runtime(engine, project="new").setup("k2-redpanda")
    assert found is not None
    assert found.name == "new-redpanda-1"


def test_what_compose_run_has_made_is_not_the_service(engine: Engine) -> None:
    one_off = compose_labels("redpanda", **{"com.docker.compose.oneoff": "True"})
    engine.containers = [
        container("k2-redpanda-run-4f", labels=one_off),
        container("k2-redpanda-1", labels=compose_labels("redpanda")),
    ]
    found = runtime(engine).setup("k2-redpanda")
    assert found is not None
    assert found.name == "k2-redpanda-1"


def test_a_container_that_is_not_there_has_to_be_made(engine: Engine) -> None:
    assert runtime(engine).setup("k2-redpanda") is None
    assert runtime(engine).start_command("k2-redpanda") == "docker compose up -d redpanda"
    assert runtime(engine, start_command="make up").start_command("k2-redpanda") == "make up"


def test_where_nobody_can_tell_the_unit_is_what_would_be_started(tmp_path: Path) -> None:
    assert runtime(Engine(tmp_path / "none")).start_command("k2-redpanda") == "docker start k2-redpanda"


@pytest.mark.parametrize(
    ("networks", "name"),
    [
        ([network("bridge"), network("k2-net")], "k2-net"),
        ([network("bridge"), network("k2_k2-net", key="k2-net"), network("k2_default", key="default")], "k2_k2-net"),
        ([network("bridge"), network("k2_default", key="default")], "k2_default"),
        (
            [network("a_default", key="default", project="a"), network("k2_default", key="default", project="k2")],
            "k2_default",
        ),
    ],
)
def test_a_network_goes_by_its_name_or_its_key_in_the_compose_file(
    engine: Engine, networks: list[dict[str, Any]], name: str
) -> None:
    engine.networks = networks
    found = runtime(engine).network(("k2-net", "default"), "k2")
    assert (found.name, found.subnets) == (name, ("172.28.0.0/16",))


def test_a_network_that_is_missing_or_ambiguous_is_told_with_those_that_are_there(engine: Engine) -> None:
    engine.networks = [network("bridge"), network("b_default", key="default", project="b")]
    with pytest.raises(NetworkMissing) as missing:
        runtime(engine).network(("k2-net", "default"), "k2")
    assert (missing.value.expected, missing.value.seen) == ("k2-net or default of project k2", "b_default, bridge")
    engine.networks.append(network("a_default", key="default", project="a"))
    with pytest.raises(UnitAmbiguous, match=r"a_default .*, b_default"):
        runtime(engine).network(("k2-net", "default"), None)


@pytest.mark.parametrize(
    ("environment", "command", "heap"),
    [
        (("JAVA_OPTS=-Xms256m -Xmx512m",), ("run",), 512 * 2**20),
        ((), ("java", "-Xmx2G", "-jar", "a.jar"), 2 * 2**30),
        (("JAVA_TOOL_OPTIONS=-Xmx1g",), ("sh", "-c", "exec java -Xmx640k -jar a.jar"), 640 * 2**10),
        (("JAVA_OPTS=-Xms256m", "NOTE=no-Xmx512m"), ("java", "-Xmxfoo"), None),
    ],
)
def test_the_heap_is_the_last_xmx(environment: tuple[str, ...], command: tuple[str, ...], heap: int | None) -> None:
    assert heap_of(container("a", environment=environment, command=command)) == heap


def test_limits_are_read_from_either_way_of_setting_them() -> None:
    info = container("a", cpus=0.5, memory=2**30)
    assert limit_of(info) == Resources(0.5, 2**30)
    info["HostConfig"].update(NanoCpus=0, CpuQuota=150_000, CpuPeriod=0, Memory=0)
    assert limit_of(info) == Resources(1.5, None)
    info["HostConfig"].update(CpuQuota=-1)
    assert limit_of(info) == Resources(None, None)


@pytest.mark.parametrize(
    ("policy", "crash", "success"),
    [
        ("", False, False),
        ("no", False, False),
        ("on-failure", True, False),
        ("always", True, True),
        ("unless-stopped", True, True),
    ],
)
def test_what_a_restart_policy_does(policy: str, crash: bool, success: bool) -> None:
    read = restart_policy_of(container("a", policy=policy))
    assert (read.text, read.after_crash, read.after_success) == (policy or "no", crash, success)


@pytest.mark.parametrize(("used", "crash"), [(2, True), (3, False)])
def test_a_policy_that_has_used_up_its_restarts_restarts_no_more(used: int, crash: bool) -> None:
    info = container("a", policy="on-failure")
    info["HostConfig"]["RestartPolicy"]["MaximumRetryCount"] = 3
    info["RestartCount"] = used
    read = restart_policy_of(info)
    assert (read.text, read.after_crash) == (f"on-failure:3, of which {used} used", crash)


def test_the_command_that_makes_a_container_anew_is_that_of_its_compose_project() -> None:
    assert recreate_command(compose_labels("minio", "my k2")) == (
        "docker compose -p 'my k2' -f /srv/k2/docker-compose.v2.yml up -d --force-recreate --no-deps minio"
    )
    assert recreate_command({"com.k2.tier": "hot"}) is None

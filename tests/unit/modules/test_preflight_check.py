# SPDX-License-Identifier: Apache-2.0
"""S0 with --check: each way in which a stack differs from inventory/k2_compose is told, and nothing changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ..platform.engine import (  # noqa: TID252 - tests are no package that has a name
    Engine,
    compose_labels,
    container,
    network,
    serve,
)

LABELS = {"com.k2.service": "storage", "com.k2.tier": "warm", "com.k2.version": "v2"}


def test_a_check_tells_each_mismatch_and_contradiction(
    project_root: Path, tmp_path: Path, k2_secrets: dict[str, str]
) -> None:
    clickhouse = container(
        "mine-clickhouse-1",
        labels=compose_labels("clickhouse", "mine", **LABELS),
        policy="no",
        cpus=4.0,
        memory=4 * 2**30,
        networks={"mine_default": ("172.28.0.99", "172.28.0.99")},
    )
    engine = Engine(tmp_path / "s", [clickhouse], [network("mine_default", key="default", project="mine")])
    docker = {
        "socket": str(engine.socket),
        "start_command": "make up",
        "networks": ["k2-net", "default"],
        "subnet": "172.28.0.0/16",
    }
    platform = {"name": "k2", "scale": "full", "runtime": "docker", "runtimes": {"docker": docker}}
    extra = {"k2_platform": platform, "k2_artifacts_dir": str(tmp_path / "artifacts")}
    command: list[str | Path] = [Path(sys.executable).parent / "ansible-playbook", "--check"]
    command += ["-i", project_root / "inventory" / "k2_compose", "-e", json.dumps(extra)]
    command.append(project_root / "playbooks" / "preflight.yml")
    with serve(engine):
        done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    recreate = "docker compose -p mine -f /srv/k2/docker-compose.v2.yml up -d --force-recreate --no-deps clickhouse"
    lines = [
        "k2_services.redpanda.budget.memory: 4.00 GiB exceed the limit of 2.00 GiB: the limit decides",
        "redpanda: missing; expected: k2-redpanda in docker; seen: nothing of that name; do: make up",
        "clickhouse: restart; expected: to be started again after a crash; seen: restart policy no; do: describe",
        "clickhouse: limit; expected: memory 8.00 GiB; seen: 4.00 GiB; do: describe that limit of memory",
        "clickhouse: address; expected: static address 172.28.0.20 on mine_default; seen: 172.28.0.99; do: describe",
        f"and run: {recreate}, or correct k2_services.clickhouse.limit.memory",
    ]
    assert [line for line in lines if line not in done.stdout] == []
    assert "clickhouse: missing" not in done.stdout
    assert "clickhouse: labels" not in done.stdout
    assert {method for method, _ in engine.requests} == {"GET"}
    assert "changed=0" in done.stdout
    assert not (tmp_path / "artifacts").exists()
    for name in ("CLICKHOUSE_PASSWORD", "PREFECT_DB_PASSWORD", "MINIO_ROOT_PASSWORD"):
        assert k2_secrets[name] not in done.stdout + done.stderr

# SPDX-License-Identifier: Apache-2.0
"""The inventories that come with the collection are profiles, resolved as a play resolves them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


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


def test_lab_is_free_of_contradictions(project_root: Path) -> None:
    answer = status(project_root, "lab")
    assert answer["profile"] == "k2-lab"
    assert answer["findings"] == []
    assert answer["services"]["feed-handler-kraken"]["port"] - answer["services"]["kafka"]["port"] == 12 - 20


def test_k2_contradictions_are_told(project_root: Path) -> None:
    answer = status(project_root, "k2_compose")
    assert len(answer["services"]) == 14
    assert {finding["path"]: finding["text"] for finding in answer["findings"]} == {
        "k2_services.redpanda.budget.memory": "4.00 GiB exceed the limit of 2.00 GiB: the limit decides",
        "k2_budget.cpus": "15.5 cores, but the services' budgets sum to 13",
        "k2_budget.memory": "19.50 GiB, but the services' budgets sum to 23.00 GiB",
    }

# SPDX-License-Identifier: Apache-2.0
"""A lab of the tests' own: brought up and taken down by the same playbooks that users call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from k2lab.clickhouse_http import ClickHouse
from k2lab.schema import CandleEngine
from k2lab.schema.apply import apply_schema

ROOT = Path(__file__).resolve().parents[2]
CLICKHOUSE_OFFSET = 30


@dataclass(frozen=True)
class Lab:
    """A lab by its directory and base port."""

    directory: Path
    base_port: int
    inventory: str = "lab"

    def port(self, offset: int) -> int:
        """The port at ``offset`` of the lab's block."""
        return self.base_port + offset

    @property
    def variables(self) -> dict[str, object]:
        """What a playbook needs to be told to mean this lab."""
        return {"k2_lab_dir": str(self.directory), "k2_lab_base_port": self.base_port}

    def secret(self, user: str) -> str:
        """The password of ``user`` (for example ``clickhouse_readonly``)."""
        return (self.directory / "run" / "secrets" / user).read_text(encoding="utf-8").strip()

    def playbook(
        self, name: str, *arguments: str, timeout_s: float = 300, check: bool = True, **variables: object
    ) -> subprocess.CompletedProcess[str]:
        """Run ``playbooks/<name>.yml`` against this lab.

        Raises AssertionError with the whole output when ``check`` is set and it fails.
        """
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            str(ROOT / "inventory" / self.inventory),
            str(ROOT / "playbooks" / f"{name}.yml"),
            "-e",
            json.dumps(self.variables | variables),
            *arguments,
        ]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    def settle(self) -> None:
        """Wait until all services are ready and trades are in the candles: `lab_up` without writing its configuration.

        Raises AssertionError with the reason when that does not come about.
        """
        command = [sys.executable, "-m", "k2lab.control", "up", "--lab-dir", str(self.directory)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "lab"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def own_tables(lab: Lab, database: str) -> Iterator[ClickHouse]:
    """The lab's tables once more, empty, in a database that nothing else writes to and that is gone afterwards."""
    url = f"http://127.0.0.1:{lab.port(CLICKHOUSE_OFFSET)}"
    with ClickHouse(url, "default", lab.secret("clickhouse_default")) as client:
        client.execute(f"DROP DATABASE IF EXISTS {database}")
        apply_schema(client, database, CandleEngine.AGGREGATING)
        yield client
        client.execute(f"DROP DATABASE {database}")

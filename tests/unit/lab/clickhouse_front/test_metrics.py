# SPDX-License-Identifier: Apache-2.0
"""The exposition holds whatever the operating system tells."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).resolve().parents[4] / "lab"

# In a process of its own: the engine allows one database for each process.
ASK = """
import chdb
from k2lab.clickhouse_front import metrics

metrics._process_metrics = lambda: [("Large", 5_000_000_000, "x"), ("Small", 3, "x"), ("Part", 0.5, "x")]
engine = chdb.connect(":memory:")
engine.query(metrics.CREATE_ASYNCHRONOUS_METRICS)
print(engine.query(metrics.export_query(), "Prometheus"))
"""


def test_large_and_small_figures_stand_side_by_side() -> None:
    environment = {**os.environ, "PYTHONPATH": str(LAB)}
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    values = dict(line.split() for line in done.stdout.splitlines() if line and not line.startswith("#"))
    figures = [float(values[f"ClickHouseAsyncMetrics_{name}"]) for name in ("Large", "Small", "Part")]
    assert figures == [5e9, 3, 0.5]

# SPDX-License-Identifier: Apache-2.0
"""Print where set-up put the servers of the monitoring scenarios, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "lab"))

from k2lab.provision.paths import Paths  # noqa: E402
from k2lab.provision.tools import find_tool  # noqa: E402

NAMES = ("prometheus", "promtool", "alertmanager", "amtool", "grafana")


def main() -> None:
    """A program that is missing ends this with its reason: a scenario is never played without its server."""
    tools = {name: find_tool(Paths.discover(), name) for name in NAMES}
    missing = [f"{name}: {tool.reason}" for name, tool in tools.items() if tool.path is None]
    if missing:
        sys.exit("\n".join(missing))
    homes = {f"{name}_home": str(tool.home) for name, tool in tools.items() if tool.home is not None}
    print(json.dumps({name: str(tool.path) for name, tool in tools.items()} | homes))  # noqa: T201


if __name__ == "__main__":
    main()

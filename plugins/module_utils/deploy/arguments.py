# SPDX-License-Identifier: Apache-2.0
"""The options of doc fragment ``monitoring_server``, and what modules make of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .checker import Checker


def server_arguments() -> dict[str, dict[str, Any]]:
    """Argument spec of how a server, its configuration and its checker are reached."""
    return {
        "server": {"type": "str", "required": True, "choices": ["prometheus", "alertmanager"]},
        "url": {"type": "str", "required": True},
        "directory": {"type": "path", "required": True},
        "seen_as": {"type": "path"},
        "file": {"type": "str", "required": True},
        "shares_file": {"type": "bool", "default": False},
        "tool": {"type": "list", "elements": "str", "required": True},
    }


def checker_of(params: Mapping[str, Any]) -> Checker:
    """The checker that a module's parameters name."""
    directory = Path(params["directory"])
    return Checker(tuple(params["tool"]), directory, Path(params["seen_as"] or directory))

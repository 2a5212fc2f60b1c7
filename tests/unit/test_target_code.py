# SPDX-License-Identifier: Apache-2.0
"""What Ansible ships to a machine under test runs there: Python 3.9 and its standard library only."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PACKAGE = "ansible_collections.k2.hardening.plugins.module_utils"
LAYERS = ("core", "profile", "platform", "measure", "fault", "deploy")
FILES = sorted(path for layer in LAYERS for path in (PLUGINS / "module_utils" / layer).rglob("*.py"))
MODULES = sorted((PLUGINS / "modules").glob("*.py"))
CONTROLLER = tuple(f"{PACKAGE}.{name}" for name in ("catalogue", "verdict", "report", "cli"))


def imported(path: Path) -> set[str]:
    """Full names of what ``path`` imports; relative imports stay within their package and need no check."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 9))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def is_on_every_target(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in sys.stdlib_module_names or name.startswith(
        (PACKAGE, "ansible.module_utils")
    )


@pytest.mark.parametrize("path", [*FILES, *MODULES], ids=lambda path: str(path.relative_to(PLUGINS)))
def test_target_code_needs_the_standard_library_only(path: Path) -> None:
    names = imported(path)
    assert not sorted(name for name in names if not is_on_every_target(name))
    assert not sorted(name for name in names if name.startswith(CONTROLLER)), "this runs on the controller only"

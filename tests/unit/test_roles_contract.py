# SPDX-License-Identifier: Apache-2.0
"""Each role says the same in defaults and in its argument spec, and its spec lets no misspelt key pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))
# Checked key by key, with a hint at the nearest known name, by the model in module_utils/profile.
CHECKED_ELSEWHERE = {"k2_profile"}


def load(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    specs: dict[str, dict[str, Any]] = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    return specs


def options(role: Path) -> dict[str, dict[str, Any]]:
    return {name: option for spec in entry_points(role).values() for name, option in spec.get("options", {}).items()}


def nested(name: str, option: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield name, option
    for key, value in option.get("options", {}).items():
        yield from nested(f"{name}.{key}", value)


def is_expression(value: object) -> bool:
    return isinstance(value, str) and "{{" in value


def test_every_role_has_an_argument_spec() -> None:
    roles = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
    assert roles
    assert [role.name for role in ROLES] == roles


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_spec_agree(role: Path) -> None:
    specified, defaults = options(role), load(role / "defaults" / "main.yml")
    assert not sorted(set(defaults) - set(specified)), "defaults that the argument spec does not know"
    for name, option in specified.items():
        if is_expression(defaults.get(name)):
            assert option.get("default") in (None, defaults[name]), f"{name}: computed, so the spec says so in words"
        elif name in defaults and "default" in option:
            assert option["default"] == defaults[name], name
        elif "default" in option:
            assert is_expression(option["default"]), f"{name}: the spec promises a default that defaults do not give"
        assert not (option.get("required") and name in defaults), f"{name}: required, yet it has a default"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_is_typed_and_described_to_the_last_key(role: Path) -> None:
    for name, option in options(role).items():
        for path, each in nested(name, option):
            assert each.get("type"), f"{path} has no type"
            assert each.get("description"), f"{path} has no description"
            if each["type"] == "list":
                assert each.get("elements"), f"{path} does not say what its elements are"
            if "dict" in (each["type"], each.get("elements")) and path not in CHECKED_ELSEWHERE:
                assert each.get("options"), f"{path} lets any key pass"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_names_carry_the_projects_prefix(role: Path) -> None:
    names = set(options(role)) | set(load(role / "defaults" / "main.yml"))
    assert not [name for name in names if not name.startswith("k2_")]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_entry_point_has_its_tasks(role: Path) -> None:
    assert not [name for name in entry_points(role) if not (role / "tasks" / f"{name}.yml").exists()]

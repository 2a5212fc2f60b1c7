# SPDX-License-Identifier: Apache-2.0
"""Lookup plugin profile."""

from __future__ import annotations

DOCUMENTATION = r"""
name: profile
author:
  - The k2.hardening authors (!UNKNOWN)
version_added: 0.1.0
short_description: The platform's profile from inventory variables, checked
description:
  - Gathers the C(k2_*) variables that describe a platform, resolves their templates and checks the whole.
  - Returns the plain mapping that modules of this collection take as O(k2.hardening.k2_stack_info#module:profile).
  - A C(k2_*) variable that is neither a section of the profile nor an option of one of the collection's roles is
    refused, with the nearest known name, so that a misspelt variable is never ignored.
  - A value that cannot be resolved, such as a secret that nobody has set, is refused by its place in the profile.
  - Variables of your own that start with C(k2_) need another prefix, such as C(_k2_) or C(my_k2_).
options:
  _terms:
    description: Takes no terms.
    required: false
"""

EXAMPLES = r"""
- name: Tell the state of the platform
  k2.hardening.k2_stack_info:
    profile: "{{ lookup('k2.hardening.profile') }}"
"""

RETURN = r"""
_raw:
  description: One mapping of section name to section, with templates resolved; contains passwords.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.lookup import LookupBase

from ansible_collections.k2.hardening.plugins.module_utils.profile.names import PREFIX, check_names
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import SECTIONS, ProfileError, parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.reader import Problem

_ROLES = Path(__file__).resolve().parents[2] / "roles"


@cache
def role_variables(roles: Path = _ROLES) -> frozenset[str]:
    """The options that the roles' argument specs declare: the one place where a role's variables are listed.

    Kept, and read by libyaml where that is there: a task may look the profile up several times.
    """
    names: set[str] = set()
    for path in sorted(roles.glob("*/meta/argument_specs.y*ml")):
        specs = (yaml_load(path.read_text(encoding="utf-8")) or {}).get("argument_specs", {})
        for entry_point in specs.values():
            names.update(entry_point.get("options") or {})
    return frozenset(names)


def _plain(value: Any) -> Any:
    """Without Ansible's tagged types, which JSON and the engine's type checks need not know."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Gather, resolve and check.

        :raises AnsibleError: with every problem found.
        """
        self.set_options(var_options=variables, direct=kwargs)
        if terms:
            raise AnsibleError(f"lookup k2.hardening.profile takes no terms; seen: {terms!r}")
        given = {name: value for name, value in (variables or {}).items() if name.startswith(PREFIX)}
        return [self._checked(given)]

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        problems = check_names(given, role_variables())
        unresolved: list[Problem] = []
        sections = {name: self._resolved(name, given[name], unresolved) for name in SECTIONS if name in given}
        problems += unresolved
        # What could not be resolved would show up a second time as a value that is missing or wrong.
        if not unresolved:
            try:
                parse_profile(sections)
            except ProfileError as error:
                problems += error.problems
        if problems:
            raise AnsibleError(str(ProfileError(problems)))
        return sections

    def _resolved(self, path: str, value: Any, problems: list[Problem]) -> Any:
        """The plain value at ``path``, each part by itself: so every part that has no value is named, a secret that
        nobody has set for one, not only the first.
        """
        if isinstance(value, Mapping):
            return {str(key): self._resolved(f"{path}.{key}", item, problems) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolved(f"{path}[{index}]", item, problems) for index, item in enumerate(value)]
        try:
            return _plain(self._templar.template(value))
        except AnsibleUndefinedVariable as error:
            problems.append(Problem(path, "a value", "nothing", str(error)))
            return None

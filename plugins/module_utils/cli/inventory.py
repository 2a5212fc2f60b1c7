# SPDX-License-Identifier: Apache-2.0
"""The profile of an inventory, resolved as a play would resolve it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import K2Error
from ..profile.model import Profile
from ..profile.parse import parse_profile


class InventoryError(K2Error):
    """The inventory cannot be used from the command line."""


def load_profile(source: str, host_name: str) -> Profile:
    """The profile that a play on ``host_name`` would see.

    :arg source: an inventory file or directory, as for ``ansible-playbook -i``.
    :raises InventoryError: no such host, not this machine, or an invalid profile.
    """
    # Imported here because the rest of module_utils, this file included, must import where there is no ansible-core.
    from ansible.errors import AnsibleError
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template
    from ansible.vars.manager import VariableManager

    loader = DataLoader()
    try:
        inventory = InventoryManager(loader=loader, sources=[source])
        host = inventory.get_host(host_name)
        if host is None or not inventory.hosts:
            raise InventoryError(
                f"the inventory {source} has no host {host_name!r}",
                expected="a host with the platform's k2_ variables",
                seen=", ".join(sorted(inventory.hosts)) or "no hosts",
                action="correct -i or --host",
            )
        variables = VariableManager(loader=loader, inventory=inventory).get_vars(host=host)
        templar = Templar(loader=loader, variables=variables)
        _require_local(templar, variables, host_name)
        # The same lookup that plays use, so that both see the same profile and refuse the same mistakes.
        data = templar.template(trust_as_template("{{ lookup('k2.hardening.profile') }}"))
    except AnsibleError as error:
        raise InventoryError(f"the inventory {source} cannot be used: {error}") from error
    if not isinstance(data, Mapping):
        raise InventoryError("the profile is not a mapping", seen=type(data).__name__)
    return parse_profile(data)


def _require_local(templar: Any, variables: Mapping[str, Any], host_name: str) -> None:
    default = "local" if host_name in ("localhost", "127.0.0.1") else "ssh"
    connection = templar.template(variables.get("ansible_connection", default))
    if connection != "local":
        raise InventoryError(
            f"{host_name} is another machine",
            expected="a host with ansible_connection: local",
            seen=f"ansible_connection: {connection}",
            action="run ansible-playbook playbooks/preflight.yml, which works over any connection",
        )

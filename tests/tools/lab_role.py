# SPDX-License-Identifier: Apache-2.0
"""The files that role lab writes, as its templates make them, without a lab."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "lab"
# What the role has written before it writes what starts the services, and takes digests of.
WRITTEN = (
    *("server.properties", "users.json", "pg_hba.conf", "postgresql.conf", "offload.json", "process-exporter.yml"),
    *("prometheus/lab.yml", "alertmanager/lab.yml", "grafana/grafana.ini"),
)


class RenderedLab:
    """The role's configuration as its templates make it, for ``variables`` of the inventory."""

    def __init__(self, directory: Path, variables: dict[str, Any]) -> None:
        self._loader = DataLoader()
        for name in WRITTEN:
            path = directory / "run" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")
        self._variables: dict[str, Any] = {
            **self.read(ROLE / "defaults" / "main.yml"),
            **self.read(ROLE / "vars" / "main.yml"),
            **variables,
            "k2_lab_dir": str(directory),
            "role_path": str(ROLE),
            "ansible_search_path": [str(ROLE)],
            "ansible_playbook_python": "python3",
            "__lab_facts": {"lab_id": directory.name, "java": "java", "kafka_home": "kafka", "tools": {}},
            "__lab_prepared": {"cluster_id": "c"},
            "__lab_selected": {"unavailable": {}, "code": defaultdict(lambda: "c0de")},
            "__lab_rendered": trust_as_template("{{ __lab_entries }}"),
        }
        parts = self._variables["__lab_parts"].values()
        tools = {name: {"path": f"/bin/{name}", "home": "/share"} for part in parts for name in part["tools"]}
        self._variables["__lab_facts"]["tools"] = tools
        self._variables["__lab_prepared"]["secrets"] = self.secrets("s")

    def define(self, variables: dict[str, Any]) -> None:
        """Set variables of the play."""
        self._variables.update(variables)

    def facts(self, facts: dict[str, Any]) -> None:
        """Facts of the machine besides those that every lab has."""
        self._variables["__lab_facts"].update(facts)

    def secrets(self, value: str) -> dict[str, str]:
        """This value for every secret the lab has."""
        return {name: value for part in self._variables["__lab_parts"].values() for name in part["secrets"]}

    def read(self, path: Path) -> dict[str, Any]:
        """The variables of one file, their templates trusted as a play trusts them."""
        variables: dict[str, Any] = self._loader.load_from_file(str(path), trusted_as_template=True)
        return variables

    def render(self, expression: str) -> Any:
        """What ``expression`` yields in the role."""
        return Templar(self._loader, variables=self._variables).template(trust_as_template(expression))

    def topics(self) -> dict[str, int]:
        """Name and partitions of each topic the lab makes sure of."""
        text = self.render("{{ lookup('ansible.builtin.template', 'lab.json.j2') }}")
        topics: dict[str, int] = (json.loads(text) if isinstance(text, str) else text)["topics"]
        return topics

    def option(self, service: str, option: str) -> str:
        """The value of a program's command-line option."""
        services = self.render("{{ __lab_services }}")
        command = next(each["command"] for each in services if each["name"] == service)
        return str(command[command.index(option) + 1])

    def services(self) -> dict[str, dict[str, Any]]:
        """Every service that may run, by name."""
        return {each["name"]: each for each in self.render("{{ __lab_services }}")}

    def file(self, template: str) -> Any:
        """A YAML file made from a template, read."""
        text = self.render(f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}")
        return yaml.safe_load(text) if isinstance(text, str) else text

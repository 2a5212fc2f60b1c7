# SPDX-License-Identifier: Apache-2.0
"""The lab's topics have one home, k2_broker of the inventory; the role's own serve a play without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "lab"
OTHER = {
    "topics": {
        name: {"raw": f"in.{name}", "normalised": f"out.{name}", "partitions": partitions}
        for name, partitions in {"binance": 7, "kraken": 1, "coinbase": 3}.items()
    },
    "dead_letter": "unread",
}


class Lab:
    """The role's configuration as its templates make it, for ``variables`` of the inventory."""

    def __init__(self, directory: Path, variables: dict[str, Any]) -> None:
        self._loader = DataLoader()
        (directory / "run").mkdir()
        for name in ("server.properties", "users.json"):
            (directory / "run" / name).write_text("", encoding="utf-8")
        self._variables: dict[str, Any] = {
            **self.read(ROLE / "defaults" / "main.yml"),
            **self.read(ROLE / "vars" / "main.yml"),
            **variables,
            "k2_lab_dir": str(directory),
            "role_path": str(ROLE),
            "ansible_search_path": [str(ROLE)],
            "ansible_playbook_python": "python3",
            "__lab_facts": {"java": "java", "kafka_home": "kafka", "tools": {}},
            "__lab_prepared": {"cluster_id": "c"},
            "__lab_selected": {"unavailable": {}},
        }
        parts = self._variables["__lab_parts"].values()
        tools = {name: {"path": f"/bin/{name}"} for part in parts for name in part["tools"]}
        self._variables["__lab_facts"]["tools"] = tools
        self._variables["__lab_prepared"]["secrets"] = {name: "s" for part in parts for name in part["secrets"]}

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


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, {"k2_broker": OTHER})


def test_the_inventory_decides(lab: Lab) -> None:
    assert lab.topics() == {
        "unread": 1,
        "in.binance": 7,
        "out.binance": 7,
        "in.kraken": 1,
        "out.kraken": 1,
        "in.coinbase": 3,
        "out.coinbase": 3,
    }
    assert lab.option("feed-handler-kraken", "--raw-topic") == "in.kraken"
    assert lab.option("feed-handler-kraken", "--topic") == "out.kraken"
    assert lab.option("feed-handler-kraken", "--dead-letter-topic") == "unread"
    assert lab.option("silver-processor", "--topics") == "in.binance,in.kraken,in.coinbase"


def test_without_an_inventory_the_role_makes_what_the_labs_inventory_would(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    alone = Lab(tmp_path / "a", {})
    inventory = alone.read(ROOT / "inventory" / "lab" / "group_vars" / "all" / "pipeline.yml")
    described = Lab(tmp_path / "b", {"k2_broker": inventory["k2_broker"]})
    assert alone.topics() == described.topics()

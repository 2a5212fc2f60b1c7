# SPDX-License-Identifier: Apache-2.0
"""The first page tells of everything that there is to call, and of nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Read by playbooks themselves.
OF_PLAYBOOKS = {"undo_force", "undo_timeout"}


def stems(folder: str, pattern: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / folder).glob(pattern))


def table(head: str) -> str:
    """The rows of the table that begins with this line."""
    _, found, rest = README.partition(f"{head}\n")
    assert found, head
    return rest.partition("\n\n")[0]


def test_every_playbook_is_in_its_table_and_no_other() -> None:
    assert sorted(re.findall(r"`(\w+)\.yml`", table("| playbook | |"))) == stems("playbooks", "*.yml")


def test_every_module_is_listed_and_no_other() -> None:
    (listed,) = re.findall(r"^Modules \(.*?\): (.*?)\.\n\n", README, re.DOTALL | re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", listed)) == stems("plugins/modules", "k2_*.py")


@pytest.mark.parametrize("page", stems("docs", "*.md"))
def test_every_page_is_pointed_to(page: str) -> None:
    assert f"docs/{page}.md" in README


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir()))
def test_every_role_is_pointed_to(role: str) -> None:
    assert f"(roles/{role}/README.md" in README


def test_every_variable_of_the_table_is_one_of_a_role() -> None:
    known = set(OF_PLAYBOOKS)
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            known |= set(entry["options"])
    first = [row.split("|")[1] for row in table("| variable | default | |").splitlines()[1:]]
    listed = [name for cell in first for name in re.findall(r"`(\w+)`", cell)]
    assert len(listed) == len(set(listed)) > 30
    assert set(listed) - known == set()


def test_every_step_has_a_row() -> None:
    rows = table("| step | question | gates |").splitlines()[1:]
    assert [row.split()[1] for row in rows] == ["S0", "S1", "S2", "S3", "S4", "S5"]

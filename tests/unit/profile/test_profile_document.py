# SPDX-License-Identifier: Apache-2.0
"""docs/profile.md names exactly the keys that the parser reads, and its examples are a valid profile."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from ansible_collections.k2.hardening.plugins.module_utils.cli.inventory import InventoryError, load_profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.names import check_names
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import SECTIONS, ProfileError, parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.reader import Node
from ansible_collections.k2.hardening.plugins.module_utils.profile.references import contradictions

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "profile.md").read_text(encoding="utf-8")
MINIMAL: dict[str, Any] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[0])
MESSAGES = re.findall(r"```text\n(.*?)\n```", TEXT, re.DOTALL)
# Keys that exclude each other: a profile is made of the examples of one each.
ALTERNATIVES = (
    ("probe.http.", "probe.tcp.", "probe.sql.", "probe.command."),
    ("[].exchange", "[].exchange_column"),
    ("<mode>.services", "<mode>.not_applicable"),
    ("<mode>.services", "<service>.not_available"),
    ("[].webhook.", "[].slack.", "[].email.", "[].pagerduty.", "[].telegram."),
)
CHOICES = range(max(len(group) for group in ALTERNATIVES))


class Row(NamedTuple):
    """One key as a table of the document tells it; ``path`` begins with the section."""

    path: str
    default: str
    example: Any


def rows() -> list[Row]:
    found = []
    for section, body in re.findall(r"^## `(k2_\w+)`\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE):
        for key, default, example in re.findall(
            r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \| [^|]+ \| `([^`]+)` \|$", body, re.MULTILINE
        ):
            path = section + ("" if key.startswith("[]") else ".") + key
            found.append(Row(path, default, yaml.safe_load(example)))
    return found


ROWS = rows()
# The names that the examples use for a placeholder, by the document's own table.
NAMES = {
    name: placeholder
    for placeholder, names in re.findall(r"^\| `(<\w+>)` \| [^|]+ \| ([^|]+) \|$", TEXT, re.MULTILINE)
    for name in re.findall(r"`([^`]+)`", names)
}
FIRST_NAME = {placeholder: name for name, placeholder in reversed(NAMES.items())}


def steps(path: str) -> list[str]:
    """The keys that lead to a documented path; ``[]`` is an entry of a list."""
    return [FIRST_NAME.get(step, step) for step in path.replace("[]", ".[]").split(".")]


def examples(choice: int, without: str = "") -> dict[str, Any]:
    """The minimal profile, extended by the examples of all rows but ``without``; of alternatives, by one."""
    data = copy.deepcopy(MINIMAL)
    refused = [each for group in ALTERNATIVES for each in group if each != group[choice % len(group)]]
    data["k2_services"][FIRST_NAME["<service>"]].pop("probe")
    data["k2_tiers"].append({})
    data["k2_broker"]["groups"] = [{}]
    data["k2_orchestrator"] = {"deployments": [{}]}
    data["k2_load"] = {"segments": [{}]}
    data["k2_runbooks"] = {"contacts": [{}]}
    data["k2_alerting"] = {"receivers": [{}]}
    for row in ROWS:
        if any(row.path.endswith(each) or (each.endswith(".") and each in row.path) for each in refused):
            continue
        target: Any = data
        *parents, last = steps(row.path)
        for step in parents:
            target = target[-1] if step == "[]" else target.setdefault(step, {})
        if row.path == without:
            target.pop(last, None)
        else:
            target[last] = row.example
    return data


def is_used(path: str, choice: int) -> bool:
    return examples(choice) != examples(choice, without=path)


def documented_form(path: str) -> str:
    return ".".join(NAMES.get(step, step) for step in re.sub(r"\[\d+\]", "[]", path).split("."))


@pytest.fixture(name="read")
def _read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The documented form of every path that the parser asks for from now on."""
    asked: set[str] = set()
    for method in ("_take", "has"):
        original = getattr(Node, method)

        def recording(node: Node, key: str, *rest: Any, _original: Any = original, **named: Any) -> Any:
            asked.add(documented_form(node.at(key)))
            return _original(node, key, *rest, **named)

        monkeypatch.setattr(Node, method, recording)
    return asked


def test_the_minimal_profile_is_a_profile() -> None:
    assert contradictions(parse_profile(MINIMAL)) == ()
    assert check_names(MINIMAL, []) == []


@pytest.mark.parametrize("choice", CHOICES)
def test_all_examples_together_are_a_profile(choice: int) -> None:
    assert contradictions(parse_profile(examples(choice))) == ()


def test_every_key_that_is_read_is_documented_and_no_other(read: set[str]) -> None:
    for choice in CHOICES:
        parse_profile(examples(choice))
    leaves = {path for path in read if not any(other.startswith((f"{path}.", f"{path}[")) for other in read)}
    assert leaves == {row.path for row in ROWS}
    assert len(ROWS) == len(leaves), "a key has two rows"
    rows_written = re.findall(r"^\| `", TEXT[TEXT.index("## `k2_platform`") :], re.MULTILINE)
    assert len(rows_written) == len(ROWS), "a row has not the five columns of its table"


def test_sections_are_in_the_order_of_the_contract() -> None:
    assert tuple(dict.fromkeys(re.split(r"[.\[]", row.path)[0] for row in ROWS)) == SECTIONS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_required_is_what_the_parser_requires(row: Row) -> None:
    choice = next(choice for choice in CHOICES if is_used(row.path, choice))
    try:
        parse_profile(examples(choice, without=row.path))
        missed = set()
    except ProfileError as error:
        missed = {documented_form(problem.path) for problem in error.problems}
    assert (row.path in missed) == row.default.startswith("required"), missed


def test_the_messages_shown_are_those_of_the_parser() -> None:
    data = copy.deepcopy(MINIMAL)
    data["k2_platform"]["owner"] = "me"
    data["k2_services"]["log"]["budgett"] = {}
    data["k2_clickhouse"]["port"] = "http"
    tier = data["k2_tiers"][0]
    tier["tabel"] = tier.pop("table")
    tier["freshness"]["hop"] = "store"
    with pytest.raises(ProfileError) as refused:
        parse_profile(data)
    assert str(refused.value) == MESSAGES[0]
    assert str(ProfileError(check_names(["k2_servces"], []))) == MESSAGES[1]


def test_the_message_shown_of_secrets_that_nobody_set_is_that_of_the_lookup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POWER_PASSWORD", raising=False)
    data = copy.deepcopy(MINIMAL)
    password = (
        "{{ lookup('ansible.builtin.env', 'POWER_JANITOR_PASSWORD', default=undef('set POWER_JANITOR_PASSWORD')) }}"
    )
    data["k2_load"] = {"cleanup": {"username": "janitor", "password": password}}
    inventory = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}, "vars": data}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    with pytest.raises(InventoryError) as refused:
        load_profile(str(tmp_path / "hosts.yml"), "localhost")
    assert MESSAGES[2] in str(refused.value)

# SPDX-License-Identifier: Apache-2.0
"""What a lab has to do without, and why: a part left out, a program set-up could not provide, and what needs either."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from k2lab.control.lab import Lab
from k2lab.control.plan import HOT
from k2lab.control.prepare import write_private


@dataclass(frozen=True)
class Entry:
    """A service or step as the role lists it, reduced to what decides whether it can be had."""

    name: str
    part: str
    tools: tuple[str, ...]
    needs: tuple[str, ...]
    is_service: bool

    @classmethod
    def from_json(cls, raw: Mapping[str, object]) -> Entry:
        """An entry of the role's list; `tools` and `needs` are lists of names."""
        tools, needs = raw["tools"], raw["needs"]
        if not isinstance(tools, list) or not isinstance(needs, list):
            raise TypeError(f"expected lists of names in {raw['name']}: tools {tools!r}, needs {needs!r}")
        return cls(str(raw["name"]), str(raw["part"]), tuple(tools), tuple(needs), bool(raw["is_service"]))


def unavailable(entries: Sequence[Entry], parts: Collection[str], missing_tools: Mapping[str, str]) -> dict[str, str]:
    """Name -> reason of each service and step that cannot be had, in the order of `entries`.

    `missing_tools` holds the reason for each program that is not there. What needs something unavailable is unavailable
    too, however long the chain; its reason names the nearest link and repeats that one's own.
    """
    reasons: dict[str, str] = {}
    for entry in entries:
        lacking = [tool for tool in entry.tools if tool in missing_tools]
        if entry.part not in parts and entry.part != HOT:
            reasons[entry.name] = f"part {entry.part} is left out by k2_lab_parts"
        elif lacking:
            reasons[entry.name] = f"its program {lacking[0]} is not available: {missing_tools[lacking[0]]}"
    grown = True
    while grown:
        grown = False
        for entry in entries:
            needed = next((need for need in entry.needs if need in reasons), None)
            if entry.name not in reasons and needed is not None:
                reasons[entry.name] = needing(needed, reasons[needed])
                grown = True
    return {entry.name: reasons[entry.name] for entry in entries if entry.name in reasons}


def needing(need: str, reason: str) -> str:
    """Why something is unavailable that needs `need`, which is so for this reason.

    Of a chain of reasons the end is repeated: it is what there is to act on.
    """
    return f"needs {need}, which is not available: {reason.rpartition('which is not available: ')[2]}"


def record_unavailable(lab: Lab, entries: Sequence[Entry], reasons: Mapping[str, str]) -> bool:
    """Write the services among them to run/unavailable.json; True when that changed it."""
    services = {entry.name for entry in entries if entry.is_service}
    return _write_if_other(lab, {name: reason for name, reason in reasons.items() if name in services})


def update_unavailable(lab: Lab, tried: Collection[str], reasons: Mapping[str, str]) -> None:
    """Say in run/unavailable.json how the services that were `tried` came out; `reasons` has those that did not start.

    What was not tried keeps its reason; what is up now loses the one of an earlier attempt.
    """
    known = json.loads(lab.unavailable.read_text()) if lab.unavailable.exists() else {}
    _write_if_other(lab, {name: reason for name, reason in known.items() if name not in tried} | dict(reasons))


def _write_if_other(lab: Lab, reasons: Mapping[str, str]) -> bool:
    text = json.dumps(reasons, indent=2) + "\n"
    if lab.unavailable.exists() and lab.unavailable.read_text() == text:
        return False
    write_private(lab.unavailable, text)
    return True

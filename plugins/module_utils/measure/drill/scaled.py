# SPDX-License-Identifier: Apache-2.0
"""The deployed rules and routes with shorter waits, for as long as a drill lasts.

Files are exchanged as any fault is brought about: journal first, a watchdog beside, put back at the end. What then runs
is compared with what ran before; where anything but a wait differs, the drill does not go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ...core.errors import K2Error
from ...fault.inject.base import Fault
from ...fault.inject.config_file import ConfigFile
from ...platform.prometheus import RuleGroupRun
from .held import Held, HeldFaults
from .request import DrillRequest, Monitoring, on_host
from .scaling import ROUTE_WAITS, RULE_WAITS, NotScalable, rule_differences, scaled_text, text_differences

GROUP_INTERVAL_S = 1
RULES = "rules with shorter waits"
ROUTES = "routes with shorter waits"


@dataclass(frozen=True)
class Deployed:
    """What ran before the drill."""

    groups: tuple[RuleGroupRun, ...]
    routes: str


@dataclass(frozen=True)
class ScaledProof:
    """That only waits differ, each told; of ``unscaled`` is said why its waits are as they were."""

    waits: tuple[str, ...]
    unscaled: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """As modules return it."""
        return {"waits": list(self.waits), "unscaled": list(self.unscaled)}


def deployed(monitoring: Monitoring) -> Deployed:
    """Take in what runs."""
    return Deployed(monitoring.prometheus.rule_groups(), monitoring.alertmanager.config())


def shorten(
    monitoring: Monitoring, before: Deployed, alerts: Sequence[str], request: DrillRequest, held: HeldFaults, keep: Path
) -> ScaledProof:
    """Have rules and routes with shorter waits until ``held`` ends; returns the proof that nothing else differs.

    :raises NotScalable: something else would differ, or a server refused what it was given. All is put back then.
    """
    if request.factor >= 1:
        return ScaledProof((), ("rules and routes: no shorter waits were asked for",))
    faults: list[tuple[str, Fault]] = []
    unscaled: list[str] = []
    for file in sorted({group.file for group in before.groups if _has(group, alerts)}):
        path = on_host(file, monitoring.prometheus_files)
        text = _text(path)
        shorter = scaled_text(text, RULE_WAITS, request.factor, GROUP_INTERVAL_S)
        faults.append((RULES, ConfigFile(path, shorter, monitoring.prometheus.api, keep, RULES)))
    routes = _routes(monitoring, request.factor, keep)
    if routes is None:
        unscaled.append("routes: k2_alerting.alertmanager does not say where their file lies")
    else:
        faults.append((ROUTES, routes))
    done = held.bring_about(faults)
    _require(done, held)
    now = deployed(monitoring)
    waits, others = rule_differences(before.groups, now.groups)
    waits_of_routes, others_of_routes = text_differences(before.routes, now.routes, ROUTE_WAITS)
    others += others_of_routes
    if others:
        held.end()
        raise NotScalable(
            "shorter waits would change more than waits, so the drill would not be of the deployed rules",
            expected="differences in " + ", ".join((*RULE_WAITS, *ROUTE_WAITS)),
            seen="; ".join(others),
            action="all is put back; drill with factor 1, or see what the file holds",
        )
    return ScaledProof((*waits, *waits_of_routes), tuple(unscaled))


def not_put_back(monitoring: Monitoring, before: Deployed) -> tuple[str, ...]:
    """What differs after the drill from what ran before it, in words; empty when nothing does."""
    try:
        now = deployed(monitoring)
    except K2Error as error:
        return (f"it cannot be told whether rules and routes are as they were: {error}",)
    waits, others = rule_differences(before.groups, now.groups)
    changed = () if now.routes == before.routes else ("the routes differ",)
    return (*waits, *others, *changed)


def _routes(monitoring: Monitoring, factor: float, keep: Path) -> Optional[ConfigFile]:
    files = monitoring.alertmanager_files
    if files is None:
        return None
    path = Path(files.directory) / files.file
    return ConfigFile(path, scaled_text(_text(path), ROUTE_WAITS, factor), monitoring.alertmanager.api, keep, ROUTES)


def _has(group: RuleGroupRun, alerts: Sequence[str]) -> bool:
    return any(rule.name in alerts for rule in group.rules)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotScalable(
            "the file with the waits cannot be read",
            expected=f"a readable {path} on the target",
            seen=str(error),
            action="say where it lies under k2_alerting (directory, seen_as), or drill with factor 1",
        ) from error


def _require(done: Sequence[Held], held: HeldFaults) -> None:
    wrong = [problem for each in done for problem in each.problems]
    wrong += [f"{each.name}: {each.proof}" for each in done if each.injected_us is not None and not each.proven]
    if wrong:
        held.end()
        raise NotScalable("rules and routes cannot have shorter waits", seen="; ".join(wrong))

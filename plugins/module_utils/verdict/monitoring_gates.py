# SPDX-License-Identifier: Apache-2.0
"""The gates of step S4 that alerts have: one for each alert of the catalogue, and one over what they cover."""

from __future__ import annotations

from functools import lru_cache

from ..catalogue.alert import Catalogue
from ..catalogue.load import load_catalogue
from ..catalogue.rules import rules_of
from ..profile.model import Profile
from .gate import GateSpec, Op


@lru_cache(maxsize=1)
def the_catalogue() -> Catalogue:
    """The collection's catalogue of alerts, read once."""
    return load_catalogue()


def alert_names(profile: Profile) -> tuple[str, ...]:
    """The alerts that have a gate: all of the catalogue, except where nothing watches the platform at all."""
    return tuple(the_catalogue().alerts) if profile.alerting is not None else ()


def alert_gate(name: str) -> GateSpec:
    """S4: an alert is proven from its cause to its end."""
    title = f"Proofs that {name} lacks: it fires, under its labels, arrives with its runbook, and resolves"
    return GateSpec(f"S4.alert.{name}", title, Op.EQ, 0, "missing proofs")


def coverage_gate() -> GateSpec:
    """S4: what can fail is watched, shown and written up."""
    title = "Failure modes without an alert, a panel or a runbook"
    return GateSpec("S4.coverage", title, Op.EQ, 0, "failure modes")


def drill_gates(profile: Profile) -> tuple[GateSpec, ...]:
    """The gates of alerts, in the order of the catalogue."""
    return (coverage_gate(), *(alert_gate(name) for name in alert_names(profile)))


def absent_alerts(profile: Profile) -> dict[str, str]:
    """The gates of alerts that the platform cannot have, by id, and why."""
    if profile.alerting is None:
        return {coverage_gate().id: "the profile has no k2_alerting: nothing watches this platform"}
    left_out = rules_of(the_catalogue(), profile).left_out
    return {alert_gate(name).id: why for name, why in left_out.items()}

# SPDX-License-Identifier: Apache-2.0
"""From the plain mapping of ``k2_*`` variables to a ``Profile``, or to all that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import K2Error
from .alerting import read_alerting
from .model import Profile, RuntimeKind
from .reader import Node, Problem
from .references import check_references
from .sections import (
    read_broker,
    read_budget,
    read_clickhouse,
    read_failure_mode,
    read_load,
    read_metric_names,
    read_object_store,
    read_orchestrator,
    read_platform,
    read_service,
    read_tiers,
    read_watermarks,
)

SECTIONS = (
    "k2_platform",
    "k2_services",
    "k2_broker",
    "k2_clickhouse",
    "k2_tiers",
    "k2_watermarks",
    "k2_orchestrator",
    "k2_object_store",
    "k2_load",
    "k2_budget",
    "k2_failure_modes",
    "k2_alerting",
    "k2_metric_names",
)


class ProfileError(K2Error):
    """The inventory's description of the platform cannot be used; ``problems`` holds every reason."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        listing = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"the platform's profile has {count}:{listing}")


def parse_profile(data: Mapping[str, Any]) -> Profile:
    """Read and check a whole profile.

    :arg data: the contract's sections, ``k2_platform`` and so on; a section that is null counts as absent.
    :raises ProfileError: with every problem found, not only the first.
    """
    root = Node.root(data)
    platform = root.req("k2_platform", read_platform)
    default_runtime = platform.runtime if platform is not None else RuntimeKind.SUPERVISOR
    services = root.named("k2_services", lambda name, node: read_service(name, node, default_runtime))
    if not services and not any(problem.path.startswith("k2_services") for problem in root.problems):
        root.reject("k2_services", "at least one service", "none")
    broker = root.opt("k2_broker", read_broker)
    clickhouse = root.opt("k2_clickhouse", read_clickhouse)
    tiers = read_tiers(root)
    watermarks = root.opt("k2_watermarks", read_watermarks)
    orchestrator = root.opt("k2_orchestrator", read_orchestrator)
    object_store = root.opt("k2_object_store", read_object_store)
    load = root.opt("k2_load", read_load)
    budget = root.opt("k2_budget", read_budget)
    failure_modes = root.named("k2_failure_modes", lambda name, node: read_failure_mode(name, node, services))
    alerting = root.opt("k2_alerting", read_alerting)
    metric_names = read_metric_names(root)
    root.finish()
    if platform is None:
        raise ProfileError(root.problems)
    profile = Profile(
        platform=platform,
        services=services,
        broker=broker,
        clickhouse=clickhouse,
        tiers=tiers,
        watermarks=watermarks,
        orchestrator=orchestrator,
        object_store=object_store,
        load=load,
        budget=budget,
        failure_modes=failure_modes,
        alerting=alerting,
        metric_names=metric_names,
    )
    # A value that was refused has been replaced by a harmless one: checking references to it would only add noise.
    bad = {problem.path for problem in root.problems}
    problems = root.problems + [p for p in check_references(profile) if p.path not in bad]
    if problems:
        raise ProfileError(problems)
    return profile

# SPDX-License-Identifier: Apache-2.0
"""What a server must say once it runs what was rendered, as it comes from the controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ExpectedRule:
    """An alerting rule by all that decides when it fires and what it says."""

    group: str
    name: str
    expr: str
    for_s: float
    keep_firing_for_s: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class ExpectedTarget:
    """A target by its job and address."""

    job: str
    url: str


@dataclass(frozen=True)
class RouteCase:
    """An alert's labels and the receivers that must hear of it."""

    labels: Mapping[str, str]
    receivers: tuple[str, ...]


@dataclass(frozen=True)
class Expected:
    """All of it; what a server has nothing to do with is empty."""

    rules: tuple[ExpectedRule, ...] = ()
    targets: tuple[ExpectedTarget, ...] = ()
    receivers: tuple[str, ...] = ()
    routes: tuple[RouteCase, ...] = ()


def expected_from(data: Mapping[str, Any]) -> Expected:
    """From the plain data that the lookup ``monitoring`` made; it is this collection's own and checked there."""
    return Expected(
        rules=tuple(
            ExpectedRule(
                group=str(each["group"]),
                name=str(each["name"]),
                expr=str(each["expr"]),
                for_s=float(each["for_s"]),
                keep_firing_for_s=float(each["keep_firing_for_s"]),
                labels=each["labels"],
                annotations=each["annotations"],
            )
            for each in data.get("rules", [])
        ),
        targets=tuple(ExpectedTarget(str(each["job"]), str(each["url"])) for each in data.get("targets", [])),
        receivers=tuple(data.get("receivers", [])),
        routes=tuple(RouteCase(each["labels"], tuple(each["receivers"])) for each in data.get("routes", [])),
    )

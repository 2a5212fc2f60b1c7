# SPDX-License-Identifier: Apache-2.0
"""What Prometheus' HTTP API tells of its rules, targets and series, and the order to read its configuration anew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from .http_json import NoAnswer, Refused, call, get_json

NOT_FOUND = 404


@dataclass(frozen=True)
class LoadedRule:
    """An alerting rule as the server has it. ``health`` is ok, unknown (not yet evaluated) or err."""

    group: str
    file: str
    name: str
    expr: str
    for_s: float
    keep_firing_for_s: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    health: str
    last_error: str


@dataclass(frozen=True)
class ActiveTarget:
    """A target that is scraped."""

    job: str
    url: str
    interval: str
    labels: Mapping[str, str]
    health: str
    last_error: str


class Prometheus:
    """One server, by its address."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def version(self) -> str:
        """The server's version."""
        return str(self._data("/api/v1/status/buildinfo")["version"])

    def reload(self) -> None:
        """Have it read its configuration; raises Refused with its own words when it cannot use it."""
        call(f"{self.url}/-/reload", method="POST")

    def rules(self) -> tuple[LoadedRule, ...]:
        """All alerting rules."""
        return tuple(
            LoadedRule(
                group=str(group["name"]),
                file=str(group["file"]),
                name=str(rule["name"]),
                expr=str(rule["query"]),
                for_s=float(rule["duration"]),
                keep_firing_for_s=float(rule.get("keepFiringFor", 0)),
                labels=rule.get("labels", {}),
                annotations=rule.get("annotations", {}),
                health=str(rule["health"]),
                last_error=str(rule.get("lastError", "")),
            )
            for group in self._data("/api/v1/rules?type=alert")["groups"]
            for rule in group["rules"]
        )

    def failing_records(self) -> tuple[str, ...]:
        """Recording rules that cannot be evaluated, with the server's words."""
        return tuple(
            f"{rule['name']}: {rule.get('lastError', '')}"
            for group in self._data("/api/v1/rules?type=record")["groups"]
            for rule in group["rules"]
            if rule["health"] == "err"
        )

    def targets(self) -> tuple[ActiveTarget, ...]:
        """All targets that are scraped."""
        return tuple(
            ActiveTarget(
                job=str(each["scrapePool"]),
                url=str(each["scrapeUrl"]),
                interval=str(each.get("scrapeInterval", "")),
                labels=each["labels"],
                health=str(each["health"]),
                last_error=str(each["lastError"]),
            )
            for each in self._data("/api/v1/targets?state=active")["activeTargets"]
        )

    def alertmanagers(self) -> tuple[str, ...]:
        """The addresses of the Alertmanagers it notifies."""
        return tuple(str(each["url"]) for each in self._data("/api/v1/alertmanagers")["activeAlertmanagers"])

    def formatted(self, expression: str) -> str:
        """An expression as the server's own printer writes it; two that mean the same tree read the same.

        A server too old to have the printer gives the expression without blanks.
        """
        try:
            return str(self._data(f"/api/v1/format_query?query={quote(expression)}"))
        except Refused as error:
            if error.status != NOT_FOUND:
                raise
            return re.sub(r"\s+", "", expression)

    def series_of(self, metric: str) -> int:
        """How many series the metric has now."""
        query = urlencode({"query": f'count({{__name__="{metric}"}})'})
        result = self._data(f"/api/v1/query?{query}")["result"]
        return int(float(result[0]["value"][1])) if result else 0

    def _data(self, path: str) -> Any:
        answer = get_json(self.url + path)
        if not isinstance(answer, dict) or answer.get("status") != "success":
            raise NoAnswer(f"{self.url}{path} does not answer as Prometheus does", expected="status success")
        return answer["data"]

# SPDX-License-Identifier: Apache-2.0
"""Prometheus' HTTP API: its rules and what they say, its targets, queries, and reloading. Times are epoch seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..core.clock import microseconds
from .http_api import ApiRefused, ApiUnreadable, HttpApi

ALERTING = "alerting"
RECORDING = "recording"
_NOT_FOUND = 404


@dataclass(frozen=True)
class ActiveAlert:
    """One element of a rule's result that is pending or firing, since when, and the expression's value."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    active_at_us: int
    value: str


@dataclass(frozen=True)
class RuleRun:
    """A rule as Prometheus runs it; ``duration_s`` is its ``for``. A recording rule has neither that nor alerts.

    ``health`` is "ok", "err" or "unknown" (not evaluated yet).
    """

    name: str
    kind: str
    query: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    duration_s: float
    keep_firing_for_s: float
    health: str
    error: str
    alerts: tuple[ActiveAlert, ...]


@dataclass(frozen=True)
class RuleGroupRun:
    """A group of rules as Prometheus runs it, and from which file."""

    name: str
    file: str
    interval_s: float
    rules: tuple[RuleRun, ...]


@dataclass(frozen=True)
class ActiveTarget:
    """A target that is scraped: the job that it is of, and the address that is asked."""

    job: str
    url: str


@dataclass(frozen=True)
class Series:
    """One series of a query's answer: its labels (with ``__name__``), and samples as (time, value)."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, str], ...]


class PrometheusClient:
    """One Prometheus. What goes wrong is raised as ``http_api`` says."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        self.api = HttpApi("Prometheus", url.rstrip("/"), timeout_s)

    # -- what is known -----------------------------------------------------------------------------------------------

    def version(self) -> str:
        """The server's version."""
        path = "/api/v1/status/buildinfo"
        data = self._data(path)
        try:
            return str(data["version"])
        except (KeyError, TypeError) as error:
            raise self._unreadable(path, "a version", error) from error

    def rule_groups(self) -> tuple[RuleGroupRun, ...]:
        """All groups with their rules and what these say just now."""
        path = "/api/v1/rules"
        data = self._data(path)
        try:
            return tuple(_group(each) for each in data["groups"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._unreadable(path, "groups of rules", error) from error

    def alerting_rules(self) -> Iterator[tuple[RuleGroupRun, RuleRun]]:
        """Every alerting rule with its group."""
        for group in self.rule_groups():
            for rule in group.rules:
                if rule.kind == ALERTING:
                    yield group, rule

    def query(self, expression: str, time_s: Optional[float] = None) -> tuple[Series, ...]:
        """The answer to an instant query; of a range selector (``x[5m]``) its raw samples."""
        path = "/api/v1/query"
        parameters: dict[str, Any] = {"query": expression} | ({} if time_s is None else {"time": f"{time_s:.3f}"})
        data = self._data(path, parameters)
        try:
            if data["resultType"] == "scalar":
                return (Series({}, (_sample(data["result"]),)),)
            return tuple(_series(each) for each in data["result"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._unreadable(path, "a vector, a matrix or a scalar", error) from error

    def series_of(self, metric: str) -> int:
        """How many series the metric has now."""
        path = "/api/v1/query"
        found = self.query(f'count({{__name__="{metric}"}})')
        try:
            return int(float(found[0].samples[0][1])) if found else 0
        except (IndexError, ValueError) as error:
            raise self._unreadable(path, "a number of series", error) from error

    def formatted(self, expression: str) -> str:
        """An expression as the server's own printer writes it; two that mean the same tree read the same.

        A server too old to have the printer gives the expression without blanks.
        """
        path = "/api/v1/format_query"
        try:
            data = self._data(path, {"query": expression})
        except ApiRefused as error:
            if error.status != _NOT_FOUND:
                raise
            return re.sub(r"\s+", "", expression)
        if not isinstance(data, str):
            raise self._unreadable(path, "an expression", TypeError(type(data).__name__))
        return data

    def targets(self) -> tuple[ActiveTarget, ...]:
        """All targets that are scraped."""
        path = "/api/v1/targets"
        data = self._data(path, {"state": "active"})
        try:
            return tuple(
                ActiveTarget(str(each["scrapePool"]), str(each["scrapeUrl"])) for each in data["activeTargets"]
            )
        except (KeyError, TypeError) as error:
            raise self._unreadable(path, "active targets", error) from error

    def alertmanagers(self) -> tuple[str, ...]:
        """The addresses of the Alertmanagers that alerts are sent to."""
        path = "/api/v1/alertmanagers"
        data = self._data(path)
        try:
            return tuple(str(each["url"]) for each in data["activeAlertmanagers"])
        except (KeyError, TypeError) as error:
            raise self._unreadable(path, "active Alertmanagers", error) from error

    # -- acts --------------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Have it read its configuration and rules again; needs ``--web.enable-lifecycle``.

        :raises ApiRefused: it found something wrong, in its own words, or may not be told so.
        """
        self.api.must("POST", "/-/reload")

    def ready(self) -> bool:
        """Whether it says that it is; raises ``ApiUnreachable`` where it says nothing."""
        return self.api.ask("GET", "/-/ready")[0] == 200

    # -- within ------------------------------------------------------------------------------------------------------

    def _data(self, path: str, parameters: Optional[Mapping[str, Any]] = None) -> Any:
        answer = self.api.json("GET", path, parameters)
        if not isinstance(answer, dict) or answer.get("status") != "success" or "data" not in answer:
            raise self.api.unreadable(path, "status success and data", repr(answer)[:200])
        return answer["data"]

    def _unreadable(self, path: str, expected: str, error: Exception) -> ApiUnreadable:
        return self.api.unreadable(path, expected, f"{type(error).__name__}: {error}")


def _group(plain: Mapping[str, Any]) -> RuleGroupRun:
    rules = tuple(_rule(each) for each in plain["rules"])
    return RuleGroupRun(str(plain["name"]), str(plain["file"]), float(plain["interval"]), rules)


def _rule(plain: Mapping[str, Any]) -> RuleRun:
    return RuleRun(
        name=str(plain["name"]),
        kind=str(plain["type"]),
        query=str(plain["query"]),
        labels=_text_map(plain.get("labels") or {}),
        annotations=_text_map(plain.get("annotations") or {}),
        duration_s=float(plain.get("duration") or 0.0),
        keep_firing_for_s=float(plain.get("keepFiringFor") or 0.0),
        health=str(plain["health"]),
        error=str(plain.get("lastError") or ""),
        alerts=tuple(_alert(each) for each in plain.get("alerts") or ()),
    )


def _alert(plain: Mapping[str, Any]) -> ActiveAlert:
    return ActiveAlert(
        _text_map(plain["labels"]),
        _text_map(plain["annotations"]),
        str(plain["state"]),
        microseconds(str(plain["activeAt"])),
        str(plain["value"]),
    )


def _series(plain: Mapping[str, Any]) -> Series:
    samples: Sequence[Any] = plain["values"] if "values" in plain else [plain["value"]]
    return Series(_text_map(plain["metric"]), tuple(_sample(each) for each in samples))


def _sample(plain: Sequence[Any]) -> tuple[float, str]:
    time_s, value = plain
    return float(time_s), str(value)


def _text_map(plain: Mapping[str, Any]) -> Mapping[str, str]:
    return {str(key): str(value) for key, value in plain.items()}

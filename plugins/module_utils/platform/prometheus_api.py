# SPDX-License-Identifier: Apache-2.0
"""Prometheus' HTTP API: what rules run, what they say, queries, and reloading. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .http_api import ApiUnreadable, HttpApi
from .prefect import microseconds

ALERTING = "alerting"


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
class Series:
    """One series of a query's answer: its labels (with ``__name__``), and samples as (time, value)."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, str], ...]


class PrometheusClient:
    """One Prometheus. What goes wrong is raised as ``http_api`` says."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        self.api = HttpApi("Prometheus", url.rstrip("/"), timeout_s)

    # -- what is known -----------------------------------------------------------------------------------------------

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

    def series(self, selector: str, start_s: float, end_s: float) -> tuple[Mapping[str, str], ...]:
        """The label sets of the series that a selector finds between two times."""
        path = "/api/v1/series"
        found = self._data(path, {"match[]": selector, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}"})
        if not isinstance(found, list):
            raise self._unreadable(path, "a list", TypeError(type(found).__name__))
        return tuple(_text_map(each) for each in found)

    def config(self) -> str:
        """The configuration that runs, as Prometheus writes it."""
        path = "/api/v1/status/config"
        data = self._data(path)
        if not isinstance(data, dict) or not isinstance(data.get("yaml"), str):
            raise self._unreadable(path, "a configuration", TypeError(type(data).__name__))
        return str(data["yaml"])

    def flags(self) -> Mapping[str, str]:
        """The command-line flags it was started with."""
        return _text_map(self._data("/api/v1/status/flags"))

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
        if not isinstance(answer, dict) or answer.get("status") != "success":
            raise self.api.unreadable(path, "status success", repr(answer)[:200])
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

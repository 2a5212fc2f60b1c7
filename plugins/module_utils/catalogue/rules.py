# SPDX-License-Identifier: Apache-2.0
"""The catalogue's alerts as the rules of one platform: its metrics, numbers, exchanges and jobs put in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..core.suggest import did_you_mean
from ..profile.model import Profile, ServiceKind
from ..profile.reader import Problem
from ..profile.runbooks import page_of
from .alert import PLACEHOLDER, Alert, Catalogue, Each, seconds
from .parse import CatalogueError
from .promql import is_metric_name, metric_names

# Rules that compute what an alert reads, where the platform has no such metric but an expression for it.
RECORDED = "k2:"


@dataclass(frozen=True)
class Recording:
    """A recording rule: ``expr`` under the name ``record``."""

    record: str
    expr: str


@dataclass(frozen=True)
class Rule:
    """An alerting rule as Prometheus gets it. ``values`` is what its placeholders stand for."""

    alert: Alert
    expr: str
    for_s: int
    keep_firing_for_s: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    values: Mapping[str, str]

    @property
    def name(self) -> str:
        """The alert's name; an alert with ``each`` has several rules of that name."""
        return self.alert.name


@dataclass(frozen=True)
class RuleSet:
    """The rules of a platform. ``left_out`` says of each alert without a rule why it has none.

    ``tested`` are the same rules with the catalogue's own numbers, on which its tests hold.
    """

    rules: tuple[Rule, ...]
    tested: tuple[Rule, ...]
    recordings: tuple[Recording, ...]
    left_out: Mapping[str, str]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that must exist on the platform: all that is read and not computed by a rule of this set."""
        return tuple(self.readers)

    @property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """Those metrics, each with the alerts that read it, be it by a recording rule."""
        recorded = {each.record: metric_names(each.expr) for each in self.recordings}
        found: dict[str, dict[str, None]] = {}
        for rule in self.rules:
            for name in metric_names(rule.expr):
                for metric in recorded.get(name, (name,)):
                    found.setdefault(metric, {})[rule.name] = None
        return {metric: tuple(found[metric]) for metric in sorted(found)}


def rules_of(catalogue: Catalogue, profile: Profile) -> RuleSet:
    """The rules that ``profile`` needs.

    :raises CatalogueError: where the profile speaks of alerts, thresholds or metrics that there are not.
    """
    problems = _problems(catalogue, profile)
    if problems:
        raise CatalogueError(problems)
    names, recordings = _metrics(catalogue, profile)
    rules: list[Rule] = []
    tested: list[Rule] = []
    left_out: dict[str, str] = {}
    for alert in catalogue.alerts.values():
        reason = _left_out(alert, catalogue, profile)
        if reason is not None:
            left_out[alert.name] = reason
            continue
        for given in _given(alert, profile):
            rules.append(_rule(_adjusted(alert, profile), profile, {**names, **given}))
            tested.append(_rule(alert, profile, {**names, **given}))
    # All of them: dashboards read more than alerts do.
    return RuleSet(tuple(rules), tuple(tested), tuple(recordings), left_out)


def expanded(text: str, values: Mapping[str, str]) -> str:
    """``text`` with its placeholders replaced; the parser has made sure that each has a value."""
    return PLACEHOLDER.sub(lambda match: values[match.group(1)], text)


def _problems(catalogue: Catalogue, profile: Profile) -> list[Problem]:
    problems = []
    alerting = profile.alerting
    if alerting is not None:
        for section, named in (
            ("thresholds", alerting.thresholds),
            ("timings", alerting.timings),
            ("not_applicable", alerting.not_applicable),
        ):
            problems += _unknown(f"k2_alerting.{section}", named, catalogue.alerts, "an alert of the catalogue")
        for name, values in alerting.thresholds.items():
            if name in catalogue.alerts:
                known = catalogue.alerts[name].thresholds
                problems += _unknown(f"k2_alerting.thresholds.{name}", values, known, "a threshold of the alert")
    histograms = (
        {segment.histogram for segment in profile.load.segments if segment.histogram} if profile.load else set()
    )
    known_metrics = {*catalogue.metrics, *histograms}
    return problems + _unknown("k2_metric_names", profile.metric_names, known_metrics, "a metric of the catalogue")


def _unknown(path: str, names: Iterable[str], known: Iterable[str], what: str) -> list[Problem]:
    names_known = list(known)
    return [
        Problem(f"{path}.{name}", what, repr(name), did_you_mean(name, names_known))
        for name in names
        if name not in names_known
    ]


def _metrics(catalogue: Catalogue, profile: Profile) -> tuple[dict[str, str], list[Recording]]:
    names: dict[str, str] = {}
    recordings = []
    for name in catalogue.metrics:
        said = profile.metric_names.get(name)
        if said is None:
            continue
        if is_metric_name(said):
            names[name] = said
        else:
            names[name] = RECORDED + name
            recordings.append(Recording(RECORDED + name, said))
    return names, recordings


def _left_out(alert: Alert, catalogue: Catalogue, profile: Profile) -> str | None:
    reasons = profile.alerting.not_applicable if profile.alerting else {}
    if alert.name in reasons:
        return reasons[alert.name]
    missing = [name for name in alert.metrics(catalogue.metrics) if name not in profile.metric_names]
    if missing:
        return f"k2_metric_names has no {', '.join(missing)}: nothing on this platform tells it"
    if alert.each is not None and not _given(alert, profile):
        return f"the platform has no {alert.each.value}"
    return None


def _given(alert: Alert, profile: Profile) -> list[dict[str, str]]:
    """What ``each`` gives, once for every rule of the alert."""
    if alert.each is None:
        return [{}]
    if alert.each is Each.EXCHANGE:
        handlers = {
            service.exchange: service.name
            for service in profile.services.values()
            if service.kind is ServiceKind.FEED_HANDLER and service.exchange
        }
        return [{"exchange": name, "service": handlers.get(name, name)} for name in profile.exchanges]
    jobs: dict[str, list[str]] = {}
    for service in profile.services.values():
        if service.metrics is not None and service.not_available is None:
            jobs.setdefault(service.metrics.job, []).append(service.name)
    return [{"job": job, "service": names[0] if len(names) == 1 else job} for job, names in jobs.items()]


def _adjusted(alert: Alert, profile: Profile) -> Alert:
    """The alert with the numbers that the profile has for it."""
    alerting = profile.alerting
    if alerting is None:
        return alert
    held = alerting.timings.get(alert.name)
    return replace(
        alert,
        thresholds={**alert.thresholds, **alerting.thresholds.get(alert.name, {})},
        for_s=alert.for_s if held is None else seconds(held),
    )


def _rule(alert: Alert, profile: Profile, names: Mapping[str, str]) -> Rule:
    values = {**names, **alert.thresholds}
    alerting = profile.alerting
    labels = {name: expanded(value, values) for name, value in alert.labels.items()}
    return Rule(
        alert=alert,
        expr=expanded(alert.expr, values),
        for_s=alert.for_s,
        keep_firing_for_s=alert.keep_firing_for_s,
        labels={
            "severity": alert.severity.value,
            "component": alert.component,
            **({"team": alerting.team} if alerting else {}),
            **labels,
        },
        annotations={
            "summary": expanded(alert.summary, values),
            "description": expanded(alert.description, values),
            **_links(alert, profile),
        },
        values=values,
    )


def _links(alert: Alert, profile: Profile) -> dict[str, str]:
    links, alerting = {}, profile.alerting
    if alerting is not None and alerting.runbooks_url is not None:
        links["runbook_url"] = f"{alerting.runbooks_url.rstrip('/')}/{page_of(profile, alert.runbook)}.md"
    if alerting is not None and alerting.grafana_url is not None:
        links["dashboard_url"] = f"{alerting.grafana_url.rstrip('/')}/d/{alert.dashboard}"
    return links

# SPDX-License-Identifier: Apache-2.0
"""Asks every query of every panel and says what each returned."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...core.suggest import did_you_mean
from ...platform.grafana import Answer, DataSource, GrafanaClient, GrafanaRefused, GrafanaUnreachable, NoSuchThing
from ...platform.grafana_model import BadDashboard, Panel, digest, panels
from .model import SEVERITY, Allowed, DashboardResult, PanelClass, PanelResult, QueryResult
from .variables import UnresolvedVariable, Values, intervals, resolve_all, source_of, substitute

# As wide as a panel of half a page: Grafana asks for as many points as it draws.
_POINTS = 400
# Panels that take their data from another panel, from Grafana itself or from nowhere.
_ELSEWHERE = ("-- Dashboard --", "-- Grafana --", "grafana")
_MIXED = "-- Mixed --"
_EXPRESSION = ("__expr__", "-100")
_LOOK_AGAIN_S = 3.0


class UnknownAllowed(K2Error):  # noqa: N818 - see core.errors
    """The allow-list names a panel that no dashboard has."""


@dataclass(frozen=True)
class Look:
    """What to look at and how: over how many seconds, and which panels may be empty."""

    uids: tuple[str, ...]
    window_s: float
    allowed: tuple[Allowed, ...] = ()


def look_at(client: GrafanaClient, look: Look) -> tuple[DashboardResult, ...]:
    """Every dashboard of ``look``; one that is not there, or cannot be read, is a result with its error.

    :raises UnknownAllowed: an entry of the allow-list is about no panel that was seen.
    :raises GrafanaError: Grafana itself could not be asked.
    """
    sources = client.data_sources()
    seen: set[Allowed] = set()
    results = tuple(_dashboard(client, uid, look, sources, seen) for uid in look.uids)
    whole = {result.uid for result in results if result.error is None}
    unknown = [entry for entry in look.allowed if entry not in seen and entry.dashboard in whole]
    if unknown:
        entry = unknown[0]
        names = [panel.title for result in results if result.uid == entry.dashboard for panel in result.panels]
        raise UnknownAllowed(
            f"the allow-list has {entry.dashboard} / {entry.panel}, which is no panel",
            seen=did_you_mean(entry.panel, names),
            action="correct the entry, or remove it",
        )
    return results


def look_until_well(client: GrafanaClient, look: Look, wait_s: float) -> tuple[DashboardResult, ...]:
    """The same, again and again until all are well or ``wait_s`` are over: a rate takes two scrapes."""
    deadline = Deadline.after(wait_s)
    results = {result.uid: result for result in look_at(client, look)}
    while (sick := tuple(uid for uid, result in results.items() if not result.is_well)) and not deadline.passed:
        time.sleep(min(_LOOK_AGAIN_S, deadline.remaining()))
        results |= {result.uid: result for result in look_at(client, replace(look, uids=sick))}
    return tuple(results[uid] for uid in look.uids)


def source_problems(client: GrafanaClient) -> list[dict[str, Optional[str]]]:
    """Each data source, and why it cannot be queried; of kinds that have no such question nothing is said."""
    return [
        {
            "uid": source.uid,
            "name": source.name,
            "type": source.type,
            "problem": client.data_source_health(source.uid) if source.type == "prometheus" else None,
        }
        for source in client.data_sources()
    ]


def _dashboard(
    client: GrafanaClient, uid: str, look: Look, sources: Sequence[DataSource], seen: set[Allowed]
) -> DashboardResult:
    try:
        model = client.dashboard(uid).model
    except NoSuchThing as error:
        return DashboardResult(uid, "", None, "", str(error), (), ())
    title, version = str(model.get("title") or ""), model.get("version")
    try:
        found = panels(model)
        variables = resolve_all(
            model, sources, lambda source, label, match: client.label_values(source, label, match, look.window_s)
        )
    except (GrafanaUnreachable, GrafanaRefused):
        raise
    except (BadDashboard, K2Error) as error:
        return DashboardResult(uid, title, None, digest(model), str(error), (), ())
    results = [_panel(client, uid, panel, look, sources, variables, seen) for panel in found]
    needless = [
        f"{panel.title}: returns data, so it needs no entry in the allow-list"
        for panel in results
        if panel.allowed is not None and panel.result is PanelClass.DATA
    ]
    return DashboardResult(
        uid, title, version if isinstance(version, int) else None, digest(model), None, tuple(results), tuple(needless)
    )


def _panel(
    client: GrafanaClient,
    uid: str,
    panel: Panel,
    look: Look,
    sources: Sequence[DataSource],
    variables: Mapping[str, Values],
    seen: set[Allowed],
) -> PanelResult:
    entries = [entry for entry in look.allowed if entry.covers(uid, panel)]
    seen.update(entries)
    queries: list[QueryResult] = []
    if panel.targets and not _elsewhere(panel.datasource):
        for scope in _scopes(panel, variables):
            queries += _queries(client, panel, look.window_s, sources, scope)
    # A query that has an entry of its own does not make its panel empty.
    by_ref = {entry.ref for entry in entries if entry.ref}
    judged = [query.result for query in queries if not (query.ref in by_ref and query.result is not PanelClass.ERROR)]
    result = max(judged, key=SEVERITY.index) if judged else PanelClass.NO_FRAMES if queries else PanelClass.STATIC
    whole = next((entry.reason for entry in entries if not entry.ref), None)
    partly = "; ".join(f"{entry.ref}: {entry.reason}" for entry in entries if entry.ref) or None
    return PanelResult(panel.id, panel.title, panel.row, panel.type, result, whole or partly, tuple(queries))


def _scopes(panel: Panel, variables: Mapping[str, Values]) -> Iterator[Mapping[str, Values]]:
    """A panel that is repeated for each value of a variable asks once for each."""
    repeated = variables.get(panel.repeat)
    if repeated is None:
        yield variables
        return
    for value in repeated.values:
        yield {**variables, panel.repeat: Values((value,))}


def _queries(
    client: GrafanaClient,
    panel: Panel,
    window_s: float,
    sources: Sequence[DataSource],
    variables: Mapping[str, Values],
) -> list[QueryResult]:
    """Asks the queries of a panel together, since expressions refer to the others; those that cannot be asked apart."""
    asked: list[dict[str, Any]] = []
    failed: list[QueryResult] = []
    for target in panel.targets:
        ref = str(target.get("refId") or "A")
        try:
            asked.append(_query(panel, target, ref, window_s, sources, variables))
        except UnresolvedVariable as error:
            failed.append(QueryResult(ref, str(target.get("expr") or ""), PanelClass.ERROR, 0, 0, 0, str(error)))
    answers = client.query(asked, window_s) if asked else {}
    # A hidden query only serves others: it draws nothing, and may be empty where what rests on it is not.
    shown = [query for query in asked if not query.get("hide")]
    return [*failed, *(_judge(query, answers.get(str(query["refId"]))) for query in shown)]


def _query(
    panel: Panel,
    target: Mapping[str, Any],
    ref: str,
    window_s: float,
    sources: Sequence[DataSource],
    variables: Mapping[str, Values],
) -> dict[str, Any]:
    reference = panel.datasource if _uid(panel.datasource) != _MIXED else None
    reference = target.get("datasource") or reference
    if _uid(reference) in _EXPRESSION:
        return {**target, "refId": ref, "datasource": {"type": "__expr__", "uid": "__expr__"}}
    source = source_of(reference, sources, variables)
    points = panel.max_points or _POINTS
    least = str(target.get("interval") or panel.interval)
    built_in, interval_ms = intervals(window_s, points, substitute(least, variables, {}), source)
    # Prometheus' own back end puts Grafana's intervals in, too; here they are put in all the same, so that what is told
    # is what was asked.
    resolved = {
        key: substitute(value, variables, built_in) if isinstance(value, str) and key != "legendFormat" else value
        for key, value in target.items()
        if key != "datasource"
    }
    return {
        **resolved,
        "refId": ref,
        "datasource": {"type": source.type, "uid": source.uid},
        "intervalMs": interval_ms,
        "maxDataPoints": points,
    }


def _judge(query: Mapping[str, Any], answer: Optional[Answer]) -> QueryResult:
    ref, expression = str(query["refId"]), str(query.get("expr") or query.get("expression") or "")
    if answer is None:
        return QueryResult(ref, expression, PanelClass.NO_FRAMES, 0, 0, 0, "the answer does not speak of this query")
    frames, rows = len(answer.frames), sum(frame.rows for frame in answer.frames)
    numbers = sum(frame.numbers for frame in answer.frames)
    if answer.error is not None:
        result = PanelClass.ERROR
    elif not rows:
        # Grafana answers an empty result with a frame that has no rows, or with no frame: neither draws anything.
        result = PanelClass.NO_FRAMES
    else:
        result = PanelClass.DATA if numbers else PanelClass.ALL_NULL
    return QueryResult(ref, expression, result, frames, rows, numbers, answer.error)


def _uid(reference: object) -> str:
    return str(reference.get("uid") or "") if isinstance(reference, Mapping) else str(reference or "")


def _elsewhere(reference: object) -> bool:
    return _uid(reference) in _ELSEWHERE

# SPDX-License-Identifier: Apache-2.0
"""How the gates of step S4 on Grafana are decided: S4.grafana, and one for each dashboard.

A dashboard is decided anew from what each query returned; what the module says of a panel is not taken for granted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.errors import K2Error
from ..core.text import grouped
from . import catalogue
from .gate import Decided, GateResult, GateSpec, Scale, decide

_TOLD = 6
_MECHANISM = "every query of every panel through /api/ds/query, variables and intervals put in as a browser does"


def decide_dashboards(facts: Mapping[str, Any], scale: Scale) -> list[Decided]:
    """The gates of Grafana, from ``facts["grafana"]``: ``expected`` (what was built), ``deployed`` (digests),
    ``looked`` (k2_dashboard_info) and ``error`` (why it could not look).

    Raises K2Error when that is something else.
    """
    try:
        seen = facts["grafana"]
        looked = seen["looked"]
        found = {entry["uid"]: entry for entry in looked["dashboards"]} if looked else {}
        return [
            _decide_grafana(seen, found, scale),
            *(_decide_dashboard(each, found.get(each["uid"]), seen["error"], scale) for each in seen["expected"]),
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise K2Error(
            "cannot decide the gates on Grafana",
            expected="facts.grafana with expected, deployed, looked (from k2_dashboard_info) and error",
            seen=f"{type(error).__name__}: {error}",
        ) from error


def _decide_grafana(seen: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], scale: Scale) -> Decided:
    """S4.grafana: every dashboard is there as it was deployed, and the data source can be queried."""
    spec = catalogue.grafana_gate()
    mechanism = "the dashboards' content and the data source's health, read back through Grafana's API"
    looked = seen["looked"]
    detail = {"deployed": seen["deployed"], "data_sources": looked["data_sources"] if looked else None}
    if looked is None:
        return Decided(_not_seen(spec, seen["error"], scale), detail, mechanism)
    digests = {entry["uid"]: entry["digest"] for entry in seen["deployed"] or ()}
    problems = []
    for each in seen["expected"]:
        entry = found.get(each["uid"])
        if entry is None or entry["digest"] == "":
            problems.append(f"dashboard {each['uid']} is not there")
        elif each["uid"] in digests and entry["digest"] != digests[each["uid"]]:
            problems.append(f"dashboard {each['uid']} is another than was deployed")
    source = next((entry for entry in looked["data_sources"] if entry["uid"] == seen["source_uid"]), None)
    if source is None:
        problems.append(f"data source {seen['source_uid']} is not there")
    elif source["problem"]:
        problems.append(f"data source {source['uid']} cannot be queried: {source['problem']}")
    # Nothing was deployed to compare with, where the platform was not named: then nobody knows what should be there.
    unknown = "" if digests or problems else "nothing was deployed in this run, so the content is compared with nothing"
    reason = _listed(problems) or unknown
    measured = None if unknown else len(problems)
    return Decided(decide(spec, scale, measured, len(seen["expected"]) + 1, reason), detail, mechanism)


def _decide_dashboard(
    expected: Mapping[str, Any], found: Mapping[str, Any] | None, error: str | None, scale: Scale
) -> Decided:
    """S4.dashboard.<uid>: every panel has data, or a reason why it may be empty."""
    spec = catalogue.dashboard_gate(expected["uid"], expected["title"])
    detail: dict[str, Any] = {"left_out": expected["left_out"], "dashboard": found}
    if found is None:
        return Decided(_not_seen(spec, error, scale), detail, _MECHANISM)
    if found["error"]:
        return Decided(decide(spec, scale, 1, 1, found["error"]), detail, _MECHANISM)
    asked = [panel for panel in found["panels"] if panel["queries"]]
    wrong = [f"{panel['title']}: {why}" for panel in asked if (why := _why_not(panel))]
    with_data = [panel for panel in asked if _has_data(panel)]
    missing = expected["panels"] - len(asked)
    if missing > 0:
        wrong.append(f"{missing} panels that were built are not on the dashboard")
    if not wrong and not with_data:
        # Nothing but excuses: that proves nothing.
        return Decided(decide(spec, scale, None, len(asked), "no panel returned any data"), detail, _MECHANISM)
    return Decided(decide(spec, scale, len(wrong), len(asked), _listed(wrong)), detail, _MECHANISM)


def _has_data(panel: Mapping[str, Any]) -> bool:
    return any(query["numbers"] > 0 for query in panel["queries"])


def _why_not(panel: Mapping[str, Any]) -> str:
    """Why the panel is not well, empty where it is; each query has to return numbers."""
    errors = [query["error"] for query in panel["queries"] if query["error"]]
    if errors:
        return str(errors[0])
    empty = [query["ref"] for query in panel["queries"] if not query["numbers"]]
    if not empty or panel["allowed"]:
        return ""
    return f"query {', '.join(empty)} returned nothing"


def _not_seen(spec: GateSpec, error: str | None, scale: Scale) -> GateResult:
    return decide(spec, scale, None, 0, error or "Grafana was not looked at")


def _listed(problems: Sequence[str]) -> str:
    told = [*problems[:_TOLD], *([f"and {len(problems) - _TOLD} more"] if len(problems) > _TOLD else [])]
    return grouped(("", text) for text in told)

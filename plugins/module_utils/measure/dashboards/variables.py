# SPDX-License-Identifier: Apache-2.0
"""A dashboard's variables, put into its queries the way a browser does before it asks.

``$name``, ``${name}``, ``${name:format}`` and ``[[name]]`` are the four ways to write one. A variable with several
values becomes a regular expression in a query for Prometheus, and so do values of ``All``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.errors import K2Error
from ...platform.grafana import DataSource

_REFERENCE = re.compile(r"\$\{(\w+)(?:\.[^:}]+)?(?::(\w+))?\}|\[\[(\w+)(?::(\w+))?\]\]|\$(\w+)")
_LABEL_VALUES = re.compile(r"^\s*label_values\(\s*(?:(.+?)\s*,\s*)?([A-Za-z_]\w*)\s*\)\s*$", re.DOTALL)
_SPECIAL = re.compile(r"[\\^$*+?.()|{}\[\]]")
_ALL = "$__all"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_DURATION = re.compile(r"^>?(\d+(?:\.\d+)?)(ms|[smhdwy])$")
# Grafana's own names that need no definition, and what asks for the intervals.
DEFAULT_SCRAPE_S = 15.0


class UnresolvedVariable(K2Error):  # noqa: N818 - see core.errors
    """A query names a variable that has no value."""


@dataclass(frozen=True)
class Values:
    """A variable's values; several, or one of several, is written as a regular expression."""

    values: tuple[str, ...]
    multiple: bool = False
    all_value: str = ""


LabelValues = Callable[[str, str, str], Sequence[str]]
"""Values of a label: uid of the data source, label, selector of series (may be empty)."""


def resolve_all(model: Mapping[str, Any], sources: Sequence[DataSource], ask: LabelValues) -> dict[str, Values]:
    """All variables of a dashboard, in the order in which they may name each other.

    :raises UnresolvedVariable: one cannot be resolved, with what it says.
    """
    found: dict[str, Values] = {}
    templating = model.get("templating")
    entries = templating.get("list") if isinstance(templating, Mapping) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping):
            found[str(entry.get("name"))] = _resolve(entry, sources, ask, found)
    return found


def _resolve(
    entry: Mapping[str, Any], sources: Sequence[DataSource], ask: LabelValues, known: Mapping[str, Values]
) -> Values:
    kind = entry.get("type")
    chosen = _chosen(entry)
    if kind == "datasource":
        return Values((_source_uid(entry, chosen, sources),))
    if kind in ("constant", "textbox", "custom", "interval"):
        text = str(entry.get("query") or "")
        options = [option.strip() for option in text.split(",")] if kind in ("custom", "interval") else [text]
    elif kind == "query":
        options = _queried(entry, sources, ask, known)
    elif kind == "adhoc":
        return Values(("",))
    else:
        raise _unresolved(entry, f"a variable of type {kind!r}")
    all_value = str(entry.get("allValue") or "")
    if _ALL in chosen or (not chosen and entry.get("includeAll")):
        return Values(tuple(options), multiple=True, all_value=all_value)
    # As in a browser: what was chosen when the dashboard was saved, else the first there is.
    values = tuple(chosen) or tuple(options[:1])
    if not values:
        raise _unresolved(entry, "no value at all")
    return Values(values, multiple=bool(entry.get("multi")))


def _queried(
    entry: Mapping[str, Any], sources: Sequence[DataSource], ask: LabelValues, known: Mapping[str, Values]
) -> list[str]:
    query = entry.get("query")
    text = str((query.get("query") if isinstance(query, Mapping) else query) or entry.get("definition") or "")
    asked = _LABEL_VALUES.match(substitute(text, known, {}))
    if asked is None:
        raise _unresolved(entry, f"a query that is no label_values(...): {text!r}")
    uid = source_of(entry.get("datasource"), sources, known).uid
    values = sorted(ask(uid, asked.group(2), asked.group(1) or ""))
    pattern = str(entry.get("regex") or "")
    if pattern:
        bare = re.compile(pattern[1:-1] if pattern.startswith("/") and pattern.endswith("/") else pattern)
        matches = [(value, bare.search(value)) for value in values]
        values = [(match.group(1) if match.groups() else value) for value, match in matches if match]
    if not values:
        raise _unresolved(entry, f"no value of label {asked.group(2)!r} in the data source")
    return list(dict.fromkeys(values))


def _chosen(entry: Mapping[str, Any]) -> list[str]:
    current = entry.get("current")
    value = current.get("value") if isinstance(current, Mapping) else None
    if value is None or value == "":
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _source_uid(entry: Mapping[str, Any], chosen: Sequence[str], sources: Sequence[DataSource]) -> str:
    kind = str(entry.get("query") or "")
    of_kind = [source for source in sources if source.type == kind]
    pattern = str(entry.get("regex") or "").strip("/")
    if pattern:
        of_kind = [source for source in of_kind if re.search(pattern, source.name)]
    for value in chosen:
        for source in of_kind:
            if value in (source.uid, source.name) or (value == "default" and source.is_default):
                return source.uid
        if value != "default":
            raise _unresolved(entry, f"data source {value!r}, which is not there")
    if not of_kind:
        raise _unresolved(entry, f"no data source of type {kind!r}")
    return next((source.uid for source in of_kind if source.is_default), of_kind[0].uid)


def source_of(reference: object, sources: Sequence[DataSource], known: Mapping[str, Values]) -> DataSource:
    """The data source that a panel, a query or a variable means: by uid, by name, the default where it says nothing.

    :raises UnresolvedVariable: there is no such data source.
    """
    named = reference.get("uid") if isinstance(reference, Mapping) else reference
    text = substitute(str(named), known, {}) if named else ""
    for source in sources:
        if text in (source.uid, source.name) or (text in ("", "default") and source.is_default):
            return source
    raise UnresolvedVariable(
        f"data source {text or 'default'!r} is not there",
        seen=", ".join(f"{source.uid} ({source.name})" for source in sources) or "no data source",
        action="deploy the data source, or let the panel name one that exists",
    )


def substitute(text: str, variables: Mapping[str, Values], built_in: Mapping[str, str]) -> str:
    """``text`` with every variable in its place.

    :raises UnresolvedVariable: it names one that is neither defined nor Grafana's own.
    """

    def put(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(3) or match.group(5)
        written = match.group(2) or match.group(4) or ""
        if name in built_in:
            return built_in[name]
        if name not in variables:
            # Not a variable: an anchor of a regular expression, or a group in a replacement ($1).
            if match.group(5) is not None and (name.isdigit() or not name.strip("_")):
                return match.group(0)
            raise UnresolvedVariable(
                f"variable ${name} has no definition",
                seen=text,
                expected="one of " + (", ".join(sorted(variables)) or "none"),
            )
        return _written(variables[name], written)

    return _REFERENCE.sub(put, text)


def _written(value: Values, written: str) -> str:
    if value.all_value:
        return value.all_value
    if written == "raw" or (not value.multiple and written not in ("regex", "pipe", "csv")):
        return (
            ",".join(value.values)
            if written == "csv"
            else value.values[0]
            if len(value.values) == 1
            else "|".join(value.values)
        )
    if written == "csv":
        return ",".join(value.values)
    if written == "pipe":
        return "|".join(value.values)
    # Grafana escapes what a regular expression means, and the backslash once more for the string in the query.
    escaped = [_SPECIAL.sub(lambda found: "\\\\" + found.group(0), one) for one in value.values]
    return escaped[0] if len(escaped) == 1 else "(" + "|".join(escaped) + ")"


def _unresolved(entry: Mapping[str, Any], seen: str) -> UnresolvedVariable:
    return UnresolvedVariable(f"variable ${entry.get('name')} cannot be resolved", seen=seen)


def seconds(text: str) -> float:
    """A duration as Grafana writes it (``30s``, ``>1m``, ``500ms``) in seconds, 0 for none."""
    found = _DURATION.match(text.strip())
    return float(found.group(1)) * _UNITS[found.group(2)] if found else 0.0


def intervals(window_s: float, points: int, minimum: str, source: DataSource) -> tuple[dict[str, str], int]:
    """Grafana's own variables for a range of ``window_s`` seconds drawn with ``points``, and the interval in ms.

    ``$__rate_interval`` is the larger of interval + scrape interval and four scrape intervals, where the panel's own
    least interval, if it has one, stands for the scrape interval.
    """
    scrape_s = seconds(minimum) or seconds(source.interval) or DEFAULT_SCRAPE_S
    interval_s = max(window_s / max(points, 1), seconds(minimum) or seconds(source.interval), 0.001)
    rate_s = max(interval_s + scrape_s, 4 * scrape_s)
    return {
        "__interval": _duration(interval_s),
        "__interval_ms": str(round(interval_s * 1000)),
        "__rate_interval": _duration(rate_s),
        "__rate_interval_ms": str(round(rate_s * 1000)),
        "__range": f"{round(window_s)}s",
        "__range_s": str(round(window_s)),
        "__range_ms": str(round(window_s * 1000)),
    }, max(1, round(interval_s * 1000))


def _duration(value_s: float) -> str:
    return (
        f"{round(value_s)}s" if value_s >= 1 and float(value_s).is_integer() else f"{max(1, round(value_s * 1000))}ms"
    )

# SPDX-License-Identifier: Apache-2.0
"""The same rules with shorter waits: how the text is changed, and the proof that nothing else is other.

The proof does not look at the text. It compares what Prometheus and Alertmanager say they run, before and meanwhile:
whatever a change of text would do beside the waits shows there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Optional

from ...core.errors import K2Error
from ...platform.prometheus import RuleGroupRun, RuleRun

RULE_WAITS = ("for", "keep_firing_for", "interval")
ROUTE_WAITS = ("group_wait", "group_interval", "repeat_interval")
# An evaluation a second is what a small machine still does; Alertmanager repeats no more often than it looks at groups.
LEAST_S = {"for": 1, "keep_firing_for": 1, "interval": 1, "group_wait": 1, "group_interval": 2, "repeat_interval": 10}

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+|0")
_GROUP = re.compile(r"^(?P<indent>\s*)- name:\s*\S")


class NotScalable(K2Error):  # noqa: N818 - see core.errors
    """The waits of a text cannot be made shorter, or something else would change with them."""


def seconds(text: str) -> float:
    """A duration as Prometheus writes it (``1h30m``).

    :raises ValueError: it is none.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration")
    return sum(int(number) * _UNITS_MS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", text)) / 1000


def scaled_s(field: str, was_s: float, factor: float) -> float:
    """A wait by ``factor``: whole seconds, never longer than it was, and never as short as to be none."""
    if was_s == 0:
        return 0.0
    if field == "repeat_interval":
        # Hours as a rule: by any factor it would outlast the drill, which has to hear that an alert still fires.
        return min(was_s, float(LEAST_S[field]))
    return min(was_s, max(float(LEAST_S[field]), float(round(was_s * factor))))


def scaled_text(text: str, fields: Sequence[str], factor: float, group_interval_s: Optional[int] = None) -> str:
    """A YAML text in which the values of ``fields`` are shorter; all other lines are as they were.

    :arg group_interval_s: what groups of rules are given that have no interval of their own; None: nothing.
    """
    line_of = re.compile(
        rf"^(?P<head>\s*(?:- )?)(?P<field>{'|'.join(fields)}):\s*(?P<quote>[\"']?)(?P<value>\w+)(?P=quote)\s*(?:#.*)?$"
    )
    lines = text.splitlines()
    out: list[str] = []
    for number, line in enumerate(lines):
        found = line_of.match(line)
        if found and _DURATION.fullmatch(found["value"]):
            field = found["field"]
            out.append(f"{found['head']}{field}: {_text(scaled_s(field, seconds(found['value']), factor))}")
            continue
        out.append(line)
        group = _GROUP.match(line)
        if group and group_interval_s is not None and not _has_interval(lines[number + 1 :], group["indent"]):
            out.append(f"{group['indent']}  interval: {group_interval_s}s")
    return "\n".join(out) + "\n"


def _has_interval(rest: Sequence[str], indent: str) -> bool:
    own = f"{indent}  interval:"
    for line in rest:
        if line.startswith(own):
            return True
        if line.strip() and not line.startswith(f"{indent} "):
            return False
    return False


def _text(wait_s: float) -> str:
    return f"{int(wait_s)}s" if wait_s == int(wait_s) else f"{round(wait_s * 1000)}ms"


# -- the proof --------------------------------------------------------------------------------------------------------


def rule_differences(before: Sequence[RuleGroupRun], now: Sequence[RuleGroupRun]) -> tuple[list[str], list[str]]:
    """What differs between two states of all rules: waits (which may), and everything else (which must not)."""
    waits: list[str] = []
    others: list[str] = []
    was, groups = ({(group.file, group.name): group for group in state} for state in (before, now))
    others += [f"group {name} of {file} is gone" for file, name in was if (file, name) not in groups]
    others += [f"group {name} of {file} is new" for file, name in groups if (file, name) not in was]
    for key in was.keys() & groups.keys():
        old, new = was[key], groups[key]
        if old.interval_s != new.interval_s:
            waits.append(f"{old.name}: interval {old.interval_s:g} -> {new.interval_s:g} s")
        if [rule.name for rule in old.rules] != [rule.name for rule in new.rules]:
            others.append(f"{old.name}: rules {_names(old)} became {_names(new)}")
            continue
        for one, other in zip(old.rules, new.rules):
            found_waits, found_others = _rule_differences(one, other)
            waits += found_waits
            others += found_others
    return sorted(waits), sorted(others)


def _rule_differences(old: RuleRun, new: RuleRun) -> tuple[list[str], list[str]]:
    waits = [
        f"{old.name}: {word} {was:g} -> {now:g} s"
        for word, was, now in (
            ("for", old.duration_s, new.duration_s),
            ("keep_firing_for", old.keep_firing_for_s, new.keep_firing_for_s),
        )
        if was != now
    ]
    others = [
        f"{old.name}: {word} {was!r} became {now!r}"
        for word, was, now in (
            ("kind", old.kind, new.kind),
            ("expression", old.query, new.query),
            ("labels", dict(old.labels), dict(new.labels)),
            ("annotations", dict(old.annotations), dict(new.annotations)),
        )
        if was != now
    ]
    return waits, others


def _names(group: RuleGroupRun) -> str:
    return ", ".join(rule.name for rule in group.rules)


def text_differences(before: str, now: str, fields: Sequence[str]) -> tuple[list[str], list[str]]:
    """The same of two configurations as their server writes them, line by line: values of ``fields``, and others."""
    old, new = before.splitlines(), now.splitlines()
    if len(old) != len(new):
        return [], [f"{len(old)} lines became {len(new)}"]
    line_of = re.compile(rf"^(\s*(?:- )?(?:{'|'.join(fields)}):)\s*\S+$")
    waits: list[str] = []
    others: list[str] = []
    for was, is_now in zip(old, new):
        if was == is_now:
            continue
        one, other = line_of.match(was), line_of.match(is_now)
        same_field = one is not None and other is not None and one[1] == other[1]
        (waits if same_field else others).append(f"{was.strip()} -> {is_now.strip()}")
    return waits, others

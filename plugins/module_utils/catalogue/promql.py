# SPDX-License-Identifier: Apache-2.0
"""Which metrics a PromQL expression reads. No parser: what is not a metric is taken away, and names remain."""

from __future__ import annotations

import re

_STRINGS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`')
_COMMENTS = re.compile(r"#[^\n]*")
_SELECTORS = re.compile(r"\{[^{}]*\}")
_RANGES = re.compile(r"\[[^\[\]]*\]")
_GROUPINGS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)", re.IGNORECASE)
_OFFSETS = re.compile(r"\boffset\s+-?\s*[0-9a-z]+", re.IGNORECASE)
_NUMBERS = re.compile(r"(?<![\w:.])(?:0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?(?:ms|[smhdwy])?)(?![\w:])")
_NAMES = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\()(?![a-zA-Z0-9_:])")
# start and end follow an @ and have brackets, as functions do.
_WORDS = frozenset({"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS_ANY_CASE = frozenset({"inf", "nan", "offset", "atan2"})
_PLAIN = re.compile(r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")


def is_metric_name(text: str) -> bool:
    """Whether the text is one metric's name and no expression."""
    return bool(_PLAIN.match(text)) and text not in _WORDS


def metric_names(expression: str) -> tuple[str, ...]:
    """The metrics that ``expression`` reads by name, in their order there; Grafana's variables are no names."""
    text = _STRINGS.sub('""', expression)
    for pattern in (_COMMENTS, _SELECTORS, _RANGES, _GROUPINGS, _OFFSETS, _NUMBERS):
        text = pattern.sub(" ", text)
    names = (name for name in _NAMES.findall(text) if name not in _WORDS and name.lower() not in _WORDS_ANY_CASE)
    return tuple(dict.fromkeys(names))

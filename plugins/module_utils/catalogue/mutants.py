# SPDX-License-Identifier: Apache-2.0
"""Rules with one threshold moved: their tests must fail, else the tests prove nothing about that threshold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .alert import duration, seconds
from .rule_files import TESTED, TESTS, alert_groups, document_of_tests, text_of
from .rules import Rule, expanded

_UP, _DOWN = 1.25, 0.75
_SMALL = 10


@dataclass(frozen=True)
class Mutant:
    """One threshold of one alert, moved; ``files`` are promtool's, by path."""

    alert: str
    threshold: str
    said: str
    moved: str
    files: dict[str, str]

    @property
    def name(self) -> str:
        """What was moved, for people."""
        return f"{self.alert}: {self.threshold} {self.said} -> {self.moved}"


def mutants(tested: tuple[Rule, ...]) -> Iterator[Mutant]:
    """Two for every threshold of every rule, the first rule of each alert: moved up and moved down."""
    seen = set()
    for rule in tested:
        if rule.name in seen:
            continue
        seen.add(rule.name)
        for name, said in rule.alert.thresholds.items():
            for moved in moves(said):
                yield _mutant(rule, name, said, moved)


def moves(said: str) -> tuple[str, str]:
    """A threshold moved up and down: a small count by one, any other number and a duration by a quarter."""
    try:
        number = float(said)
    except ValueError:
        amount_s = seconds(said)
        return duration(round(amount_s * _UP)), duration(round(amount_s * _DOWN))
    if number.is_integer() and number < _SMALL:
        return format(number + 1, ".15g"), format(number - 1, ".15g")
    return format(number * _UP, ".15g"), format(number * _DOWN, ".15g")


def _mutant(rule: Rule, name: str, said: str, moved: str) -> Mutant:
    expr = expanded(rule.alert.expr, {**rule.values, name: moved})
    files = {
        TESTED: text_of(alert_groups([replace(rule, expr=expr)])),
        TESTS: text_of(document_of_tests([rule])),
    }
    return Mutant(rule.name, name, said, moved, files)

# SPDX-License-Identifier: Apache-2.0
"""Watching watermarks: what counts as fresh, that moving back is never forgiven, and that errors are answers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure import watermarks
from ansible_collections.k2.hardening.plugins.module_utils.measure.watermarks import (
    Reading,
    WatermarkWatch,
    not_watched,
    read_watermarks,
    statements,
    watch_watermarks,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.postgres import (
    DriverMissing,
    NotThere,
    PostgresUnreachable,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Watermarks

NOW = 1_700_000_000.0
MAX_AGE_S = 300.0
MAX_AHEAD_S = 0.005


def section(*sources: str, **changed: Any) -> Watermarks:
    given = {
        "host": "db",
        "port": 5432,
        "database": "flows",
        "username": "ro",
        "password": "pw",
        "table": "offloads",
        "name_column": "source",
        "time_column": "moved_until",
        "max_age_s": MAX_AGE_S,
        "sources": sources,
        "needs": (),
    }
    return Watermarks(**{**given, **changed})


class Script:
    """Gives one answer after the other, the last of them for ever; an exception is raised."""

    def __init__(self, answers: Iterable[dict[str, float | None] | Exception]) -> None:
        self.answers = list(answers)
        self.read = 0

    def __call__(self) -> Reading:
        answer = self.answers[min(self.read, len(self.answers) - 1)]
        self.read += 1
        if isinstance(answer, Exception):
            raise answer
        return Reading(answer, NOW)


def watch(*answers: dict[str, float | None] | Exception, sources: tuple[str, ...] = ("a", "b")) -> WatermarkWatch:
    """A watch that goes through all answers and then ends."""
    script = Script(answers)
    passed = [Deadline.after(3600)] * (len(answers) - 1) + [Deadline.after(0)]

    class UntilTold:
        @property
        def passed(self) -> bool:
            return passed[min(script.read, len(passed)) - 1].passed

        def remaining(self) -> float:
            return 0.0

    return watch_watermarks(section(*sources), MAX_AHEAD_S, script, UntilTold())  # type: ignore[arg-type]


FRESH = NOW - 10


def test_all_fresh_ends_the_watch_at_the_first_look() -> None:
    seen = watch({"a": FRESH, "b": FRESH, "other": 0.0}, {"a": 0.0, "b": 0.0})
    assert [(mark.source, mark.fresh, mark.age_s) for mark in seen.watermarks] == [("a", True, 10.0), ("b", True, 10.0)]
    assert (seen.readings, seen.error, seen.clock) == (1, None, "2023-11-14T22:13:20.000000Z")
    assert seen.watermarks[0].at == "2023-11-14T22:13:10.000000Z"


@pytest.mark.parametrize(
    ("moment", "fresh"),
    [
        (NOW, True),
        (NOW - MAX_AGE_S, True),
        (NOW - MAX_AGE_S - 0.001, False),
        (NOW + 0.004, True),
        (NOW + 0.006, False),
        (0.0, False),
        (-1e12, False),
        (math.inf, False),
        (-math.inf, False),
        (None, False),
    ],
)
def test_fresh_is_young_and_not_of_the_future(moment: float | None, fresh: bool) -> None:
    seen = watch({"a": FRESH, "b": moment})
    assert [mark.fresh for mark in seen.watermarks] == [True, fresh]
    # Evidence must be able to hold whatever Postgres holds.
    json.dumps(asdict(seen), allow_nan=False)


def test_a_source_without_a_row_is_not_found() -> None:
    mark = watch({"a": FRESH}).watermarks[1]
    assert (mark.source, mark.found, mark.at, mark.fresh) == ("b", False, None, False)


def test_what_becomes_fresh_while_watched_is_fresh() -> None:
    seen = watch({}, {"a": FRESH}, {"a": FRESH, "b": 5.0}, {"a": FRESH, "b": FRESH})
    assert all(mark.fresh for mark in seen.watermarks)
    assert seen.readings == 4
    assert seen.watermarks[1].first == "1970-01-01T00:00:05.000000Z"


def test_moving_back_is_never_forgiven_however_fresh() -> None:
    seen = watch({"a": NOW - 20, "b": 0.0}, {"a": NOW - 50, "b": 0.0}, {"a": NOW - 1, "b": FRESH})
    assert [(mark.source, mark.fresh, mark.back_s) for mark in seen.watermarks] == [
        ("a", False, 30.0),
        ("b", True, None),
    ]


def test_moving_back_is_seen_across_a_row_that_vanished() -> None:
    seen = watch({"a": NOW - 20, "b": 0.0}, {"b": 0.0}, {"a": NOW - 50, "b": FRESH})
    assert seen.watermarks[0].back_s == 30.0


def test_a_watch_ends_when_waiting_changes_nothing() -> None:
    seen = watch({"a": NOW - 20, "b": 0.0}, {"a": NOW - 50, "b": FRESH}, {"a": FRESH, "b": FRESH})
    assert seen.readings == 2


def test_without_named_sources_every_row_counts() -> None:
    seen = watch({"x": FRESH}, sources=())
    assert [mark.source for mark in seen.watermarks] == ["x"]
    seen = watch({"x": 0.0, "y": FRESH}, {"y": FRESH}, sources=())
    assert [(mark.source, mark.found, mark.fresh) for mark in seen.watermarks] == [
        ("x", False, False),
        ("y", True, True),
    ]


def test_an_empty_table_is_watched_until_it_has_a_row() -> None:
    seen = watch({}, {}, {"x": FRESH}, sources=())
    assert seen.readings == 3
    assert watch({}, sources=()).watermarks == ()


def test_an_error_is_an_answer_and_ends_when_it_ends() -> None:
    seen = watch(PostgresUnreachable("down"))
    assert (seen.readings, seen.error, seen.absent) == (0, "down", False)
    assert not any(mark.fresh for mark in seen.watermarks)
    seen = watch(PostgresUnreachable("down"), {"a": FRESH, "b": FRESH})
    assert (seen.error, [mark.fresh for mark in seen.watermarks]) == (None, [True, True])


def test_what_the_server_says_does_not_exist_is_absent_until_it_does() -> None:
    assert watch(NotThere("table", "no offloads")).absent
    assert not watch(NotThere("table", "no offloads"), {"a": FRESH, "b": FRESH}).absent


def test_a_missing_driver_is_not_waited_for() -> None:
    seen = watch(DriverMissing("none"), {"a": FRESH, "b": FRESH})
    assert seen.error == "none"


def test_progress_counts_the_fresh_ones() -> None:
    told: list[tuple[int, int]] = []
    script = Script([{"a": FRESH}])
    watch_watermarks(
        section("a", "b"), MAX_AHEAD_S, script, Deadline.after(0), lambda done, total: told.append((done, total))
    )
    assert told == [(1, 2)]


def test_not_begun_is_told_with_its_reason() -> None:
    seen = not_watched(section("a"), "no Postgres here")
    assert (seen.watermarks, seen.readings, seen.error) == ((), 0, "no Postgres here")
    assert "pw" not in json.dumps(asdict(seen))


def test_names_are_quoted_and_a_schema_may_lead_the_table() -> None:
    rows, _ = statements(section(table='arch.off"loads', name_column="Source", time_column="a%b"))
    assert rows == ('SELECT "Source"::text, extract(epoch FROM max("a%b"))::float8 FROM "arch"."off""loads" GROUP BY 1')


def test_alternative_column_names_are_values_of_the_profile() -> None:
    rows, _ = statements(section(table="offload_watermarks", name_column="source_table", time_column="last_watermark"))
    assert '"source_table"' in rows
    assert 'max("last_watermark")' in rows


def test_an_answer_of_another_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def __init__(self, login: object) -> None:
            pass

        def read(self, *asked: str) -> Any:
            return ((("a", "yesterday"),), ((NOW,),))

    monkeypatch.setattr(watermarks, "PostgresClient", Client)
    with pytest.raises(K2Error, match="seconds since the epoch"):
        read_watermarks(section("a"))

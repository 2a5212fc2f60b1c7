# SPDX-License-Identifier: Apache-2.0
"""The resolution of a doubt, against a server that is scripted: each way a crash can leave things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from k2lab.clickhouse_http import ClickHouse
from k2lab.common.errors import LabError
from k2lab.silver_processor.intent import Intent, Partition, Range
from k2lab.silver_processor.ledger import State
from k2lab.silver_processor.rows import Row
from k2lab.silver_processor.sink import Sink

P = Partition("t", 0)
INTENT = Intent({P: Range(0, 2, 2)}, 1, 0)
ROWS = [Row(P, 0, b"{}", 0, None), Row(P, 1, b"{}", 0, None)]


@dataclass
class Script:
    """What the tables hold after each insert, and what was done in which order."""

    states: list[State]
    done: list[str] = field(default_factory=list)

    def sink(self, monkeypatch: pytest.MonkeyPatch) -> Sink:
        sink = Sink(ClickHouse("http://127.0.0.1:1", "u", "p"), "k2", "raw_trades", lambda _: None)
        monkeypatch.setattr(sink, "insert", lambda intent, _rows: self.done.append(f"insert {intent.attempt}"))
        monkeypatch.setattr(sink, "_settle", lambda: None)
        monkeypatch.setattr(sink, "state", lambda _intent: self.states.pop(0))
        monkeypatch.setattr(sink._ledger, "take_out", lambda intent: self.done.append(f"take out {intent.attempt}"))
        monkeypatch.setattr(sink._ledger, "remake_candles", lambda intent: self.done.append(f"remake {intent.attempt}"))
        return sink

    def announce(self, intent: Intent) -> None:
        self.done.append(f"announce {intent.attempt}")


def fetch(_: Intent) -> Sequence[Row]:
    return ROWS


@pytest.mark.parametrize(
    ("found", "later", "expected"),
    [
        (State.COMPLETE, [], []),
        (State.ABSENT, [State.COMPLETE], ["insert 1"]),
        (State.PARTIAL, [State.COMPLETE], ["take out 1", "announce 2", "insert 2"]),
        # The server discarded the token but lost the rows: a new token is needed.
        (State.ABSENT, [State.ABSENT, State.COMPLETE], ["insert 1", "take out 1", "announce 2", "insert 2"]),
        (
            State.PARTIAL,
            [State.PARTIAL, State.COMPLETE],
            ["take out 1", "announce 2", "insert 2", "take out 2", "announce 3", "insert 3"],
        ),
        # Rows that are all there stay, under the token they were written with.
        (State.CANDLES_DIFFER, [State.COMPLETE], ["remake 1"]),
        (
            State.PARTIAL,
            [State.CANDLES_DIFFER, State.COMPLETE],
            ["take out 1", "announce 2", "insert 2", "remake 2"],
        ),
    ],
)
def test_resolve(monkeypatch: pytest.MonkeyPatch, found: State, later: list[State], expected: list[str]) -> None:
    script = Script(list(later))
    script.sink(monkeypatch).resolve(INTENT, found, fetch, script.announce)
    assert script.done == expected
    assert script.states == []


@pytest.mark.parametrize("state", [State.PARTIAL, State.CANDLES_DIFFER])
def test_resolve_gives_up_with_a_reason(monkeypatch: pytest.MonkeyPatch, state: State) -> None:
    script = Script([state] * 20)
    with pytest.raises(LabError, match="to be whole after"):
        script.sink(monkeypatch).resolve(INTENT, state, fetch, script.announce)


def test_the_last_repair_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script([State.PARTIAL] * 9 + [State.COMPLETE])
    script.sink(monkeypatch).resolve(INTENT, State.PARTIAL, fetch, script.announce)
    assert script.done[-1] == "insert 11"


def test_an_insert_without_a_server_is_a_doubt_not_a_success() -> None:
    sink = Sink(ClickHouse("http://127.0.0.1:1", "u", "p"), "k2", "raw_trades", lambda _: None)
    assert sink.insert(INTENT, ROWS) is False
    assert sink.trouble is not None

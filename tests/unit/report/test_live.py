# SPDX-License-Identifier: Apache-2.0
"""Progress on a screen, without one."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.progress import Event, State, append
from ansible_collections.k2.hardening.plugins.module_utils.report.live import (
    CLEAR_LINE,
    Board,
    LiveLine,
    PlainLines,
    Tail,
    duration,
    one_line,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def event(task: str, state: State, done: float | None = None, total: float | None = None, message: str = "") -> Event:
    return Event("2026-01-01T00:00:00.000000Z", task, state, done, total, "msg", message)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(clock)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (125, "2:05"), (3725, "1:02:05"), (86400, "24:00:00")],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_time_left_follows_from_the_pace_so_far(board: Board, clock: Clock) -> None:
    board.event(event("load", State.STARTED, 0, 100))
    clock.now += 30
    board.event(event("load", State.RUNNING, 25, 100))
    assert one_line(board.running(), clock.now, 200) == (
        "[#####---------------] load, 25% (25/100 msg), 30 s, about 1:30 left"
    )


def test_a_task_without_a_total_has_no_bar(board: Board, clock: Clock) -> None:
    board.event(event("search", State.RUNNING, 7, message="third\nshelf"))
    assert one_line(board.running(), clock.now, 200) == "search, 7 msg, 0 s, third shelf"


def test_a_long_line_is_cut_to_the_width(board: Board, clock: Clock) -> None:
    board.event(event("x" * 300, State.RUNNING))
    assert len(one_line(board.running(), clock.now, 80)) == 80


def test_what_tells_of_itself_goes_before_the_playbooks_task(board: Board, clock: Clock) -> None:
    board.task_started("Wait for the lab")
    assert [task.name for task in board.running()] == ["Wait for the lab"]
    board.event(event("kafka", State.STARTED))
    clock.now += 1
    board.event(event("clickhouse", State.STARTED))
    assert [task.name for task in board.running()] == ["kafka", "clickhouse"]
    board.event(event("kafka", State.FINISHED))
    board.event(event("clickhouse", State.FAILED))
    assert [task.name for task in board.running()] == ["Wait for the lab"]


def test_a_program_that_died_is_not_shown_in_the_next_task(board: Board) -> None:
    board.event(event("kafka", State.STARTED))
    board.task_started("Next")
    assert [task.name for task in board.running()] == ["Next"]


def test_the_live_line_gives_way_to_other_output_and_comes_back(board: Board, clock: Clock) -> None:
    terminal = Terminal()
    line = LiveLine(terminal, threading.RLock(), 2, colour=False)
    out = line.guard(terminal)
    board.task_started("Work")
    line.show(board)
    assert terminal.getvalue() == "", "a short task is not worth a line"
    clock.now += 3
    line.show(board)
    line.show(board)
    out.write("ok: [localhost]\n")
    line.show(board)
    line.close()
    assert terminal.getvalue() == (
        f"{CLEAR_LINE}Work, 3 s{CLEAR_LINE}ok: [localhost]\n{CLEAR_LINE}Work, 3 s{CLEAR_LINE}"
    )
    assert line.unguarded(out) is terminal


def test_an_unfinished_line_of_others_is_left_alone(board: Board, clock: Clock) -> None:
    terminal = Terminal()
    line = LiveLine(terminal, threading.RLock(), 0, colour=False)
    line.guard(terminal).write("password: ")
    board.task_started("Work")
    clock.now += 1
    line.show(board)
    assert terminal.getvalue() == "password: "


def test_what_is_no_terminal_needs_no_guard() -> None:
    line = LiveLine(Terminal(), threading.RLock(), 0, colour=False)
    plain = io.StringIO()
    assert line.guard(plain) is plain


def test_colour_is_an_option(board: Board, clock: Clock) -> None:
    board.event(event("load", State.RUNNING, 1, 2))
    shown = []
    for colour in (True, False):
        terminal = Terminal()
        LiveLine(terminal, threading.RLock(), 0, colour=colour).show(board)
        shown.append("\x1b[36m" in terminal.getvalue())
    assert shown == [True, False]


def test_plain_lines_come_at_most_once_in_an_interval(board: Board, clock: Clock) -> None:
    err, out = io.StringIO(), io.StringIO()
    view = PlainLines(err, out, threading.RLock(), 10)
    board.task_started("Work")
    for _ in range(350):
        view.show(board)
        clock.now += 0.1
    assert err.getvalue() == "... Work, 10 s\n... Work, 20 s\n... Work, 30 s\n"
    assert out.getvalue() == ""


def test_tail_reads_only_whole_new_lines(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    first, second = event("a", State.STARTED), event("b", State.STARTED)
    append(path, first)
    with path.open("ab") as handle:
        handle.write(second.to_line()[:20])
    assert tail.read() == [first]
    with path.open("ab") as handle:
        handle.write(second.to_line()[20:])
    assert tail.read() == [second]
    assert tail.read() == []


def test_tail_follows_a_replaced_file(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    tail = Tail(path)
    append(path, event("a", State.STARTED))
    assert len(tail.read()) == 1
    append(tmp_path / "new", event("b", State.STARTED))
    (tmp_path / "new").replace(path)
    assert [e.task for e in tail.read()] == ["b"]


def test_tail_complains_once_about_foreign_lines(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_bytes(b"nonsense\n" * 3 + event("a", State.STARTED).to_line())
    tail = Tail(path)
    assert [e.task for e in tail.read()] == ["a"]
    assert "nonsense" in tail.complaint
    tail.complaint = ""
    path.write_bytes(path.read_bytes() + b"more nonsense\n")
    assert tail.read() == []
    assert tail.complaint == ""

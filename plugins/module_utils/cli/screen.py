# SPDX-License-Identifier: Apache-2.0
"""A run on a terminal: what runs now with its bars, and the gates so far; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ..core.errors import K2Error
from ..core.progress import State
from ..report.live import Board, Tail, describe, duration
from ..verdict.gate import Verdict
from ..verdict.rundir import RunDir

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PROGRESS_FILE = "progress.jsonl"
STYLES = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "NOT_RUN": "dim", "NOT_APPLICABLE": "dim"}
_REFRESH_PER_S = 4
_BAR_CELLS = 24


class MissingPackage(K2Error):  # noqa: N818 - named after what happened, as KeyboardInterrupt is
    """A package that only the command line needs is not installed."""

    def __init__(self, error: ImportError) -> None:
        super().__init__(
            f"this Python has no package {error.name}",
            expected="what requirements/run.txt lists",
            action="make setup, or pip install ansible-runner rich argcomplete",
        )


def make_console() -> Console:
    """The terminal, or whatever output goes to. Raises MissingPackage."""
    try:
        from rich.console import Console
    except ImportError as error:
        raise MissingPackage(error) from error
    return Console(highlight=False, soft_wrap=True)


class RunScreen:
    """What is shown of a run under way; ``run_dir`` is set as soon as it is known."""

    def __init__(self, console: Console, run_dir: Optional[Path] = None) -> None:
        self.console = console
        self.board = Board()
        self.run_dir: Optional[Path] = None
        self._tail: Optional[Tail] = None
        self._told: dict[str, str] = {}
        self._begun = time.monotonic()
        if run_dir is not None:
            self.follow(run_dir)

    def follow(self, run_dir: Path) -> None:
        """Show this run from now on."""
        self.run_dir = run_dir
        self._tail = Tail(run_dir / PROGRESS_FILE)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keep the foot of a terminal up to date meanwhile."""
        if not self.console.is_terminal:
            yield
            return
        from rich.live import Live

        with Live(console=self.console, get_renderable=self._render, refresh_per_second=_REFRESH_PER_S, transient=True):
            yield

    def plain_lines(self) -> list[str]:
        """Where there is no terminal: what began, ended or was decided since the last call."""
        said = []
        for event in self._tail.read() if self._tail else ():
            self.board.event(event)
            if event.state is not State.RUNNING:
                said.append(
                    f"{event.time[11:19]} {event.state}: {event.task}" + (f": {event.message}" if event.message else "")
                )
        for name, verdict in self._decided().items():
            if self._told.get(name) != verdict:
                said.append(f"{verdict} {name}")
            self._told[name] = verdict
        return said

    def _decided(self) -> dict[str, str]:
        """Verdicts by gate, of those that were looked at."""
        if self.run_dir is None:
            return {}
        try:
            gates = RunDir(self.run_dir).results()["gates"]
        except K2Error:
            return {}
        return {gate["id"]: gate["verdict"] for gate in gates if gate["evidence"]}

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.markup import escape
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        for event in self._tail.read() if self._tail else ():
            self.board.event(event)
        now = self.board.clock()
        table: Any = Table.grid(padding=(0, 1))
        for task in self.board.running():
            fraction = task.fraction()
            progress = ProgressBar(total=1.0, completed=fraction or 0.0, width=_BAR_CELLS, pulse=fraction is None)
            table.add_row(progress, Text(describe(task, now), overflow="ellipsis", no_wrap=True))
        counts: dict[str, int] = {}
        for verdict in self._decided().values():
            counts[verdict] = counts.get(verdict, 0) + 1
        shown = [
            f"[{STYLES[verdict]}]{counts[verdict]} {verdict}[/]" for verdict in map(str, Verdict) if verdict in counts
        ]
        name = escape(self.run_dir.name) if self.run_dir else "no run yet"
        foot = Text.from_markup(f"[bold]{name}[/] {duration(time.monotonic() - self._begun)}  {'  '.join(shown)}")
        return Group(table, foot)

# SPDX-License-Identifier: Apache-2.0
"""Plays a playbook of this collection through ansible-runner: its own output, and below it what runs now.

Whatever is played here is played the same by ansible-playbook; only the exit code says more.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..core.errors import K2Error
from ..verdict.gate import Verdict
from .screen import MissingPackage, RunScreen, make_console

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
# With a terminal this program draws what runs; else the callback k2_progress writes a line now and then.
_QUIET = {"K2_PROGRESS_INTERVAL": "86400"}
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Answer = Callable[[str, dict[str, Any]], Optional[Verdict]]


class PlaybookError(K2Error):
    """A playbook cannot be played."""


@dataclass
class Played:
    """How a playbook ended; ``verdict`` is the last that its modules told, ``interrupted`` by whom it was stopped."""

    code: int = 0
    verdict: Optional[Verdict] = None
    interrupted: bool = False
    run_dirs: list[Path] = field(default_factory=list)


def play(playbook: str, arguments: Sequence[str], answer: Answer = lambda _action, _result: None) -> Played:
    """Play ``playbook`` with further arguments of ansible-playbook, in this directory.

    ``answer`` makes a verdict of the result of a task, by the name of its module. An interrupt is passed on to
    ansible-playbook, which closes its run and ends. Raises MissingPackage, PlaybookError for an unknown playbook.
    """
    path = PLAYBOOKS / playbook
    if not path.is_file():
        raise PlaybookError(f"this release has no playbook {playbook}", expected=f"one of {PLAYBOOKS}")
    try:
        from ansible_runner import run
    except ImportError as error:
        raise MissingPackage(error) from error
    screen = RunScreen(make_console())
    played = Played()

    def on_event(event: dict[str, Any]) -> bool:
        _show(screen, event)
        _note(screen, played, event, answer)
        # Nothing is kept of what a task returned: the run's evidence is elsewhere, and results may hold more.
        return False

    with tempfile.TemporaryDirectory(prefix="k2h-") as private, _passing_on(played), screen.live():
        done = run(
            private_data_dir=private,
            project_dir=str(Path.cwd()),
            playbook=str(path),
            cmdline=shlex.join(arguments) or None,
            envvars=_environment(screen.console.is_terminal),
            event_handler=on_event,
            # Its own handler would kill the playbook before it has closed its run and told the watchdog.
            cancel_callback=lambda: False,
            quiet=True,
            settings={"suppress_ansible_output": True, "pexpect_timeout": 1},
        )
    played.code = done.rc
    return played


def _environment(terminal: bool) -> dict[str, str]:
    """Its output is read by us, not by a terminal: no live line of its own, colours only where ours has them."""
    # The ansible-playbook of this Python, whatever PATH the user has.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    values = {"TERM": "dumb", "COLUMNS": "160", "PATH": path, "ANSIBLE_COLLECTIONS_PATH": _collections_path()}
    if terminal:
        values |= _QUIET | ({} if os.environ.get("NO_COLOR") else {"ANSIBLE_FORCE_COLOR": "1"})
    return values


def _collections_path() -> str:
    """This very collection first, from whatever directory we were called; then where the user has others."""
    from ansible.constants import config

    own = Path(__file__).absolute().parents[6]
    return os.pathsep.join(dict.fromkeys(map(str, [own, *config.get_config_value("COLLECTIONS_PATHS")])))


def _show(screen: RunScreen, event: dict[str, Any]) -> None:
    text = event.get("stdout") or ""
    if text.strip():
        from rich.text import Text

        screen.console.print(Text.from_ansi(text.replace("\r", "")))


def _note(screen: RunScreen, played: Played, event: dict[str, Any], answer: Answer) -> None:
    data = event.get("event_data") or {}
    if event["event"] == "playbook_on_task_start":
        screen.board.task_started(str(data.get("task", "")))
    if event["event"] not in ("runner_on_ok", "runner_on_failed"):
        return
    result = data.get("res") or {}
    action = str(data.get("task_action", "")).rpartition(".")[2]
    if action == "k2_run" and "run_id" in result:
        played.run_dirs.append(Path(result["run_dir"]))
        screen.follow(played.run_dirs[-1])
    verdict = answer(action, result)
    if verdict is not None:
        played.verdict = verdict


@contextlib.contextmanager
def _passing_on(played: Played) -> Iterator[None]:
    """Pass an interrupt on to what we have started, which has a session of its own and hears of none."""
    import psutil

    def pass_on(number: int, _frame: object) -> None:
        played.interrupted = True
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGINT if number == signal.SIGHUP else number)

    before = {number: signal.signal(number, pass_on) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

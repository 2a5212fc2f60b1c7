# SPDX-License-Identifier: Apache-2.0
"""Shows what long tasks do, and closes a run that its playbook could not close."""

from __future__ import annotations

DOCUMENTATION = r"""
name: k2_progress
type: aggregate
short_description: Live progress of long tasks
version_added: "0.1.0"
description:
  - Shows what runs, how far it is, since when and for how long still. On a terminal one line is refreshed in place,
    elsewhere a plain line appears now and then. Both go to standard error, so that the output of the stdout callback
    stays as it is.
  - Follows the file that the environment variable E(K2_PROGRESS_FILE) names. Where it is not set, a temporary file is
    made and the variable is set for everything that the playbook starts on the controller. As soon as
    M(k2.hardening.k2_run) has begun a run, both become C(progress.jsonl) of the run's directory.
  - Work that tells nothing of itself is shown by the name of its task.
  - Below the recap stands where the report is, if the playbook has rendered one, also after an error.
  - When the playbook ends without having closed the run it began, by an error, a signal or Ctrl-C, C(results.json) of
    the run is closed as C(error) or C(interrupted).
author:
  - The k2.hardening authors (@k2-hardening)
options:
  interval:
    description: Seconds between plain lines, where there is no terminal.
    type: float
    default: 10
    env:
      - name: K2_PROGRESS_INTERVAL
    ini:
      - section: callback_k2_progress
        key: interval
  quiet_for:
    description: Seconds that a task may run before it is shown on a terminal.
    type: float
    default: 2
    env:
      - name: K2_PROGRESS_QUIET_FOR
    ini:
      - section: callback_k2_progress
        key: quiet_for
requirements:
  - enabled in the configuration (C(callbacks_enabled = k2.hardening.k2_progress))
"""

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from ansible import constants as C
from ansible.plugins.callback import CallbackBase

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.core.progress import ENVIRONMENT
from ansible_collections.k2.hardening.plugins.module_utils.report.live import Board, LiveLine, PlainLines, Tail
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import mark_ended

REFRESH_S = 0.2
PROGRESS_FILE = "progress.jsonl"
# What asks the user something has the terminal to itself.
INTERACTIVE = ("pause", "ansible.builtin.pause", "ansible.legacy.pause")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "k2.hardening.k2_progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pid = os.getpid()
        self._board = Board()
        self._tails: list[Tail] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._view: LiveLine | PlainLines | None = None
        self._paused = False
        self._run_dir: Path | None = None
        self._last_failure = ""
        self._report = ""
        self._closing = False

    # -- what Ansible tells -------------------------------------------------------------------------------------------

    def v2_playbook_on_start(self, playbook: Any) -> None:
        first = self._thread is None
        given = os.environ.get(ENVIRONMENT)
        path = Path(given) if given else Path(C.DEFAULT_LOCAL_TMP) / PROGRESS_FILE
        os.environ[ENVIRONMENT] = str(path)
        self._tails.append(Tail(path))
        self._view = self._make_view()
        if first:  # a command line may name several playbooks
            self._catch_signals()
            atexit.register(self._at_exit)
        self._stop.clear()
        self._thread = threading.Thread(target=self._show, name="k2-progress", daemon=True)
        self._thread.start()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._paused = task.action in INTERACTIVE
        self._board.task_started(task.get_name().strip())

    def v2_runner_on_ok(self, result: Any) -> None:
        action = result.task.action.rpartition(".")[2]
        if action == "k2_run" and "run_id" in result.result:
            self._follow_run(Path(result.result["run_dir"]))
        elif action == "k2_report":
            pages = [name for name in result.result.get("files", []) if name.endswith(".html")]
            self._report = pages[0] if pages else self._report

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._last_failure = f"{result.task.get_name().strip()}: {result.result.get('msg') or 'failed'}"

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._last_failure = f"{result.host.get_name()} is unreachable: {result.result.get('msg') or 'no reason given'}"

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._stop_showing()
        self._close_run("error", self._last_failure or "the playbook ended before it had closed the run")
        if self._report:
            # Last of all, below the recap: where to read on.
            self._display.display(f"report: {self._report}", stderr=True)

    # -- showing ------------------------------------------------------------------------------------------------------

    def _make_view(self) -> LiveLine | PlainLines:
        lock = getattr(self._display, "_lock", None) or threading.RLock()
        if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            colour = not C.ANSIBLE_NOCOLOR and not os.environ.get("NO_COLOR")
            view = LiveLine(sys.stderr, lock, self.get_option("quiet_for"), colour=colour)
            # The stdout callback writes before this plugin hears of an event, so its streams clear the live line.
            sys.stdout, sys.stderr = view.guard(sys.stdout), view.guard(sys.stderr)
            return view
        return PlainLines(sys.stderr, sys.stdout, lock, self.get_option("interval"))

    def _show(self) -> None:
        try:
            while not self._stop.wait(REFRESH_S):
                self._step()
        except Exception as error:  # noqa: BLE001 (whatever happens to the display, the play goes on)
            self._display.warning(f"progress is no longer shown: {type(error).__name__}: {error}")

    def _step(self) -> None:
        for tail in list(self._tails):
            for event in tail.read():
                self._board.event(event)
            if tail.complaint:
                self._display.warning(tail.complaint)
                tail.complaint = ""
        if self._view is not None and not self._paused:
            self._view.show(self._board)

    def _stop_showing(self) -> None:
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=2 * REFRESH_S)
        if isinstance(self._view, LiveLine):
            self._view.close()
            for name in ("stdout", "stderr"):
                setattr(sys, name, self._view.unguarded(getattr(sys, name)))
            self._view = None

    # -- the run ------------------------------------------------------------------------------------------------------

    def _follow_run(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._closing = False
        path = run_dir / PROGRESS_FILE
        os.environ[ENVIRONMENT] = str(path)
        self._tails.append(Tail(path))

    def _close_run(self, state: str, why: str) -> None:
        """Close the run this playbook began; one that was closed properly is left as it is."""
        if self._run_dir is None or self._closing or os.getpid() != self._pid:
            return
        self._closing = True
        try:
            mark_ended(self._run_dir, state, why)
        except (K2Error, OSError) as error:
            self._display.warning(f"run {self._run_dir.name} could not be closed as {state}: {error}")

    def _catch_signals(self) -> None:
        """Ansible dies of SIGTERM and SIGHUP without running a hook or an exit handler: catch them first."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                signal.signal(number, partial(self._on_signal, before))

    def _on_signal(self, before: Any, signum: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            self._close_run("interrupted", f"ansible-playbook received {signal.Signals(signum).name}")
        if callable(before):
            before(signum, frame)
        else:
            # Only SIGTERM is passed on to the workers, and through them to what they run: nothing may be left running.
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def _at_exit(self) -> None:
        if os.getpid() == self._pid:
            with suppress(ValueError):  # the streams may be closed already
                self._stop_showing()
            self._close_run("error", self._last_failure or "ansible-playbook ended before it had closed the run")

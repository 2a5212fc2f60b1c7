# SPDX-License-Identifier: Apache-2.0
"""The journal entry and the watchdog of one fault, which are there before it and go after it.

Between the two the fault is undone by whoever can: this process, its watchdog when this process is gone or hangs, or
``playbooks/undo.yml``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Optional

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...fault.inject.base import Fault, Moment
from ...fault.journal import Entry, Journal
from ...fault.steps import Outcome, perform
from ...fault.undo import State, undo_left
from ...fault.watchdog import Watchdog, WatchdogError
from ...platform.runtime.base import RuntimeFailure

TOOL = "tool"
WATCHDOG = "watchdog"
UNDO_TIMEOUT_S = 60.0
# A watchdog that has nothing to undo needs no longer to end.
_LET_GO_S = 5.0
_LOOK_S = 0.5


class LeftOpen(K2Error):  # noqa: N818 - see core.errors
    """An earlier fault is not undone; nothing more may be broken before it is."""


def undo_earlier(journal: Journal) -> tuple[str, ...]:
    """Undo what killed runs have left on this platform; returns what it was, in words.

    :raises LeftOpen: something cannot be undone. :raises JournalError: the journal cannot be read.
    """
    done = undo_left(journal, only_look=False)
    stuck = [one for one in done if one.state is not State.UNDONE]
    if stuck:
        raise LeftOpen(
            "what an earlier run has broken is not mended, so nothing more is broken",
            expected=f"no open entry in {journal.path}",
            seen="; ".join(f"{one.entry.action} of {one.entry.target}: {one.why}" for one in stuck),
            action="run playbooks/undo.yml, and see what it says",
        )
    return tuple(f"{one.entry.action} of {one.entry.target}" for one in done)


class FaultGuard:
    """Made right before the fault: when the constructor returns, the undo is on disk and a watchdog watches."""

    def __init__(
        self, journal: Journal, fault: Fault, run_id: str, parameters: Mapping[str, str], deadline: Deadline
    ) -> None:
        """:raises JournalError, WatchdogError: nothing is guarded then, and nothing may be broken."""
        self._journal = journal
        self._fault = fault
        self._steps = fault.undo_steps()
        self._undone_by: Optional[str] = None
        self.entry: Entry = journal.open(
            run_id,
            fault.plan.target,
            fault.plan.action,
            fault.plan.undo,
            {"kind": "fault", **parameters},
            steps=self._steps,
            deadline_ns=deadline.at_ns,
        )
        try:
            self._watchdog = Watchdog.guard(journal, self.entry)
        except BaseException:
            journal.close(self.entry.id)
            raise

    def inject(self, what: str) -> Moment:
        """Bring the fault about; ``what`` says in the error what could not be.

        :raises RuntimeFailure: it could not; it is undone then, or the error says what is not.
        """
        try:
            return self._fault.inject()
        except K2Error as error:
            failed = self.undo()
            _, problem = self.end(undone=not failed)
            left = "; ".join([*failed, problem]).strip("; ")
            raise RuntimeFailure(
                f"{what} could not be brought about",
                expected=self._fault.plan.action,
                seen=str(error),
                action=f"it is not undone, run playbooks/undo.yml: {left}" if left else "nothing is left of it",
            ) from error

    def healed(self) -> None:
        """Note that the fault was ended as planned."""
        self._undone_by = TOOL

    def undo(self) -> tuple[str, ...]:
        """Carry out the undo steps; returns those that failed, in words. May be called again."""
        outcomes = perform(self._steps, Deadline.after(UNDO_TIMEOUT_S).at_ns)
        failed = tuple(_told(outcome) for outcome in outcomes if not outcome.ok)
        if not failed:
            self._undone_by = TOOL
        return failed

    def look_back(self, deadline: Deadline) -> tuple[str, ...]:
        """What differs from before the fault, looked at until nothing does or ``deadline`` has passed."""
        while True:
            try:
                differences = self._fault.restored()
            except Exception as error:  # noqa: BLE001 - whatever it is, to go on is to undo
                differences = (f"it cannot be told whether all is as it was: {type(error).__name__}: {error}",)
            if not differences or deadline.passed:
                return differences
            time.sleep(min(_LOOK_S, deadline.remaining()))

    def end(self, *, undone: bool) -> tuple[Optional[str], str]:
        """Close the entry if all is ``undone`` and let the watchdog go; who undid the fault, and what went wrong.

        An entry that is not closed is undone by the watchdog, which tries on, and named by the next run's S0.
        """
        problem = ""
        try:
            closed_by = self._journal.closed_by(self.entry.id)
            if closed_by is None and undone:
                self._journal.close(self.entry.id)
        except K2Error as error:
            closed_by, problem = None, str(error)
        try:
            if self._watchdog.done(_LET_GO_S if undone else UNDO_TIMEOUT_S) or closed_by == WATCHDOG:
                return WATCHDOG, problem
        except WatchdogError as error:
            problem = "; ".join(text for text in (problem, str(error)) if text)
        return self._undone_by, problem


def _told(outcome: Outcome) -> str:
    return f"{outcome.what}: {outcome.seen} after {outcome.attempts} attempts"

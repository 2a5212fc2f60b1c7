# SPDX-License-Identifier: Apache-2.0
"""The beginning of a fault: seen to be possible, guarded, brought about; a run that is to be hit is waited for."""

from __future__ import annotations

from collections.abc import Callable

from ...core.clock import Deadline
from ...fault.inject.base import Fault, FaultNotPossible, Moment, RunOver
from ...platform.runtime.base import RuntimeFailure
from ..recovery.cold import ColdWatch
from .guard import FaultGuard


def bring_about(
    fault: Fault, guarded: Callable[[], FaultGuard], what: str, tell: Callable[[str], None]
) -> tuple[FaultGuard, Moment]:
    """Check and guard the fault, and inject it; ``what`` says in an error what could not be.

    :raises FaultNotPossible, JournalError, WatchdogError: nothing was touched.
    :raises RuntimeFailure: see ``FaultGuard``.
    """
    fault.check()
    guard = guarded()
    tell(fault.plan.action)
    return guard, guard.inject(what)


def hit_a_run(
    fault: Fault,
    guarded: Callable[[], FaultGuard],
    what: str,
    tell: Callable[[str], None],
    cold: ColdWatch,
    deadline: Deadline,
) -> tuple[FaultGuard, Moment]:
    """As ``bring_about``, once a run is at work; the next one where a run was over sooner than most.

    ``cold.before`` comes first.

    :raises DeadlineExceeded: none began that could be hit.
    """
    while True:
        tell("until a run is at work")
        cold.await_running(deadline)
        try:
            return bring_about(fault, guarded, what, tell)
        except FaultNotPossible:
            if deadline.passed:
                raise
        except RuntimeFailure as error:
            if deadline.passed or not isinstance(error.__cause__, RunOver):
                raise

# SPDX-License-Identifier: Apache-2.0
"""The commands of a runbook: what shows the failure, and what mends it, by how the failure comes about.

Nothing here names a service, a table or a port: all of it comes from the profile.
"""

from __future__ import annotations

from typing import Optional

from ...measure.runbook.expectation import Condition, Expectation, Kind
from ...profile.model import FailureMode, FaultAction, Profile, RecoveryPoint
from ...profile.runbooks import ANY_CRASH, OOM_KILL
from . import steps_data, steps_network
from .commands import Commands
from .shown import Shown, Subject, line

SYMPTOM_S, UP_S = 10, 60
_DOWN = (FaultAction.KILL, FaultAction.RESTART, FaultAction.STOP)


def diagnosis(profile: Profile, mode: FailureMode, subject: Optional[Subject]) -> tuple[Shown, ...]:
    """What shows the failure, the quickest first."""
    if subject is None:
        return steps_data.views(profile)
    shown: list[Optional[Shown]] = []
    commands = subject.commands
    if mode.action in _DOWN:
        shown += [_is_down(subject), _probe_fails(subject, "It does not answer.")]
        if mode.name == OOM_KILL:
            shown.append(_was_killed(subject))
    elif mode.action is FaultAction.PAUSE:
        shown += [
            _stands_still(subject),
            _probe_fails(subject, "It holds its connections, and answers nobody."),
        ]
    elif mode.action is FaultAction.DISCONNECT:
        shown += [
            _still_runs(subject, "The process is well: its runtime sees nothing wrong."),
            _probe_fails(subject, "From outside it cannot be reached."),
            steps_network.cut_off(subject),
        ]
    elif mode.action is FaultAction.CUT_SOURCE:
        shown += [_still_runs(subject, "The handler is well."), steps_network.source_refuses(profile, subject)]
    elif mode.action is FaultAction.KILL_RUN:
        shown += [_still_runs(subject, "The worker is well; what ended is its run."), steps_data.run_failed()]
    if mode.name not in (OOM_KILL, ANY_CRASH):  # any service: what stops with it depends on which
        shown += [steps_data.data_stopped(profile, mode, subject), steps_data.lag_grows(profile, subject)]
    if mode.action in _DOWN:
        shown.append(_last_words(commands))
    return tuple(each for each in shown if each is not None)


def resolution(profile: Profile, mode: FailureMode, subject: Optional[Subject]) -> tuple[Shown, ...]:
    """What mends it, and what shows that it is mended."""
    if subject is None:
        return steps_data.views_again(profile)
    shown: list[Optional[Shown]] = []
    if mode.action in _DOWN:
        shown.append(_start(subject))
    elif mode.action is FaultAction.PAUSE:
        shown.append(_thaw(subject))
    elif mode.action is FaultAction.DISCONNECT:
        shown.append(steps_network.reconnect(profile, subject))
    elif mode.action is FaultAction.CUT_SOURCE:
        shown.append(steps_network.source_again(profile, subject))
    shown.append(_runs_again(subject))
    if mode.recovery_at is RecoveryPoint.NEXT_RUN and profile.orchestrator is not None:
        shown.append(steps_data.ask_for_run())
    if mode.name != ANY_CRASH:
        shown += [steps_data.data_again(profile, mode, subject), steps_data.caught_up(profile, subject)]
    return tuple(each for each in shown if each is not None)


def _is_down(subject: Subject) -> Shown:
    return Shown(
        f"See whether {subject.name} runs",
        "",
        subject.commands.status,
        (line(Kind.SYMPTOM, Condition.LACKS, subject.commands.up),),
    )


def _still_runs(subject: Subject, why: str) -> Shown:
    return Shown(
        f"See that {subject.name} runs",
        why,
        subject.commands.status,
        (line(Kind.EXPECTED, Condition.CONTAINS, subject.commands.up),),
    )


def _stands_still(subject: Subject) -> Shown:
    commands = subject.commands
    return Shown(
        "See whether its process stands still",
        "`T` is a process that was stopped; one in `D` for long waits for a disk.",
        commands.frozen,
        (line(Kind.SYMPTOM, Condition.CONTAINS, commands.frozen_word),),
    )


def _was_killed(subject: Subject) -> Shown:
    return Shown(
        "See how it ended",
        "SIGKILL that nobody sent is the kernel's: `dmesg --ctime | grep -i 'out of memory'` names the process, where"
        " this user may read it.",
        subject.commands.last_end,
        (line(Kind.SYMPTOM, Condition.CONTAINS, subject.commands.killed_word),),
    )


def _last_words(commands: Commands) -> Shown:
    return Shown(
        "Read its last words",
        "An error here names the cause. Nothing unusual means that it was ended from outside.",
        commands.logs,
        (Expectation(Kind.EXPECTED, Condition.SUCCEEDS),),
    )


def _probe_fails(subject: Subject, why: str) -> Optional[Shown]:
    if not subject.probe:
        return None
    return Shown("Ask it", why, subject.probe, (Expectation(Kind.SYMPTOM, Condition.FAILS, within_s=SYMPTOM_S),))


def _start(subject: Subject) -> Shown:
    return Shown(
        "Start it",
        "If it does not stay up, its last words (above) say why: mend that first.",
        subject.commands.start,
        (Expectation(Kind.EXPECTED, Condition.SUCCEEDS),),
    )


def _thaw(subject: Subject) -> Shown:
    return Shown(
        "End the process that stands still",
        subject.commands.thaw_note[:1].upper() + subject.commands.thaw_note[1:] + ".",
        subject.commands.thaw,
        (Expectation(Kind.EXPECTED, Condition.SUCCEEDS),),
    )


def _runs_again(subject: Subject) -> Shown:
    if subject.probe:
        wanted = Expectation(Kind.DONE, Condition.SUCCEEDS, within_s=UP_S)
        return Shown("Wait until it answers", "", subject.probe, (wanted,))
    wanted = Expectation(Kind.DONE, Condition.CONTAINS, (subject.commands.up,), UP_S)
    return Shown("Wait until it runs", "", subject.commands.status, (wanted,))

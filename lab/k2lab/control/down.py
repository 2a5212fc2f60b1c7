# SPDX-License-Identifier: Apache-2.0
"""Bring a lab down: writers first, stores last, and nothing of it left running."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence

from k2lab.common.errors import LabError
from k2lab.control import processes
from k2lab.control.keeper import Keeper
from k2lab.control.keepers import keeper_of
from k2lab.control.lab import Lab
from k2lab.control.plan import Plan

# Longer than the longest stopwaitsecs of the role's programs, after which supervisord kills.
STOP_TIMEOUT_S = 60.0
GRACE_S = 10.0


def stop_services(keeper: Keeper, plan: Plan, names: Sequence[str]) -> list[str]:
    """Stop services stage by stage: who writes stops before what is written to. Returns those that ran."""
    stopped = []
    for stage in sorted({service.stop_stage for service in plan.services}):
        group = [service.name for service in plan.services if service.stop_stage == stage and service.name in names]
        stopped += keeper.stop(group, timeout_s=STOP_TIMEOUT_S)
    return stopped


def end_all(lab: Lab, plan: Plan | None) -> list[str]:
    """End every process of the lab, gracefully where possible. Returns what was ended; empty when nothing ran.

    Works without the keeper too: processes are known by their marker. Raises LabError when one cannot be ended.
    """
    ended = []
    keeper = keeper_of(lab, plan)
    if keeper.answers():
        if plan is not None:
            ended += stop_services(keeper, plan, [service.name for service in plan.services])
        ended += keeper.shutdown()
    if left := processes.of_lab(lab):
        names = [processes.describe(process) for process in left]
        # The supervisor first, so that it does not start again what ends next to it.
        daemons = [process for process in left if "supervisord" in " ".join(process.cmdline())]
        processes.end(daemons, grace_s=GRACE_S)
        processes.end([process for process in left if process not in daemons], grace_s=GRACE_S)
        ended += [f"orphan {name}" for name in names]
    if left := processes.of_lab(lab):
        seen = ", ".join(processes.describe(process) for process in left)
        raise LabError(
            f"no process of the lab {lab.directory} to be left", seen, "end them by hand: they ignore SIGKILL"
        )
    keeper.clean_up()
    return ended


def purge(lab: Lab) -> bool:
    """Remove what a stopped lab keeps. Only directories that lab-up made are touched. True when there was something."""
    if not lab.directory.exists():
        return False
    if not lab.plan.exists() and not (lab.run / "kafka_cluster_id").exists():
        raise LabError(
            f"{lab.directory} to be a lab (it has no run/lab.json)", "another directory", "correct k2_lab_dir"
        )
    for directory in (lab.data, lab.truth, lab.logs, lab.run):
        if directory.exists():
            shutil.rmtree(directory)
    with contextlib.suppress(OSError):  # somebody else's files keep the directory, and should
        lab.directory.rmdir()
    return True

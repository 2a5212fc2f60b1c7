# SPDX-License-Identifier: Apache-2.0
"""Which keeper a lab has: what its plan says."""

from __future__ import annotations

from k2lab.control.docker.containers import Containers
from k2lab.control.docker.engine import Daemon
from k2lab.control.keeper import Keeper
from k2lab.control.lab import Lab
from k2lab.control.plan import Plan
from k2lab.control.supervisor import Supervisor


def keeper_of(lab: Lab, plan: Plan | None) -> Keeper:
    """The keeper for this plan. Without one, what there is of an engine tells; else it is supervisord."""
    if plan is not None and plan.docker is not None:
        return Containers(lab, plan.docker, [service.name for service in plan.services])
    if plan is None and (Daemon(lab).is_there or lab.engine_link.is_symlink()):
        return Containers(lab, None, ())
    return Supervisor(lab)

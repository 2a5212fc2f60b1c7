# SPDX-License-Identifier: Apache-2.0
"""Which ``k2_*`` variable names there are, so that a misspelt one is refused instead of ignored."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.suggest import did_you_mean
from .parse import SECTIONS
from .reader import Problem

PREFIX = "k2_"
# Said on the command line for one run, or set by an inventory for all of its runs; they belong to no single role.
RUN_CONTROLS = ("k2_confirm", "k2_fail_on", "k2_quick")


def check_names(names: Iterable[str], role_variables: Iterable[str]) -> list[Problem]:
    """Problems of ``k2_*`` names that are neither a section, nor a run control, nor an option of a role."""
    known = {*SECTIONS, *RUN_CONTROLS, *role_variables}
    return [
        Problem(name, "a known variable", "an unknown variable", did_you_mean(name, known))
        for name in sorted(names)
        if name.startswith(PREFIX) and name not in known
    ]

# SPDX-License-Identifier: Apache-2.0
"""Stage, check, swap, reload, verify; and back again where that fails."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.clock import Deadline
from ..core.errors import K2Error
from .checker import Checker
from .errors import NotVerified, RolledBack
from .expected import Expected
from .servers import Server
from .tree import Content, Plan, Tree

_PAUSE_S = 0.5
_TOLD = 8


@dataclass(frozen=True)
class Request:
    """What is to be there: ``files`` (none of them: leave), and what checks and verification need.

    ``verify_s`` bounds how long the server may take to run it; rules are evaluated once before they count.
    """

    files: Mapping[str, Content]
    tests: Mapping[str, str]
    expected: Expected
    verify_s: float


@dataclass(frozen=True)
class Outcome:
    """What was done, or in check mode would be: changed files with their texts before and after, and what to know."""

    changed: bool
    diffs: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]
    reloaded: bool
    version: str


class Deployment:
    """One server's configuration in one directory."""

    def __init__(self, tree: Tree, server: Server, checker: Checker) -> None:
        self._tree = tree
        self._server = server
        self._checker = checker

    def preview(self, request: Request) -> Outcome:
        """What ``run`` would do, checked as far as that is possible without touching the directory."""
        self._tree.check_usable()
        plan = self._tree.plan(request.files)
        diffs = tuple(self._tree.before_and_after(plan, request.files))
        warnings = plan.warnings
        if self._checker.sees_everything:
            with tempfile.TemporaryDirectory(prefix="k2_hardening-") as place:
                self._check(request, plan, Path(place))
        else:
            warnings = (*warnings, "not checked by its tool: that is in a container and sees only the directory itself")
        return Outcome(plan.changes, diffs, warnings, reloaded=False, version="")

    def run(self, request: Request) -> Outcome:
        """Deploy and verify.

        :raises CannotDeploy, CheckFailed, ApiUnreachable: before anything is changed.
        :raises RolledBack: it was deployed, did not verify, and the old files are back.
        """
        self._tree.check_usable()
        version = self._server.reachable()
        recovered = self._tree.recover()
        plan = self._tree.plan(request.files)
        diffs = tuple(self._tree.before_and_after(plan, request.files))
        warnings = plan.warnings
        if recovered:
            warnings = (*warnings, "an earlier deployment was killed in the middle; its files were put back first")
        with self._tree.staged(request.files, plan) as stage:
            self._server.check(stage, self._checker, request.tests, request.expected)
            if plan.changes:
                self._tree.swap(stage, plan)
        reloaded = self._make_live(request, plan)
        if plan.changes or request.files:
            self._tree.settle(request.files)
        return Outcome(plan.changes or reloaded or recovered, diffs, warnings, reloaded, version)

    def _check(self, request: Request, plan: Plan, place: Path) -> None:
        with self._tree.staged(request.files, plan, place) as stage:
            self._server.check(stage, self._checker, request.tests, request.expected)

    def _make_live(self, request: Request, plan: Plan) -> bool:
        """Have the server run what is there; whether it had to be told."""
        if not plan.changes and not self._server.differences(self._tree.root, request.expected):
            return False
        if not plan.changes and not request.files:
            return False
        try:
            self._server.reload()
            self._verify(request)
        except K2Error as error:
            if not plan.changes:
                raise NotVerified(
                    "the server does not run the configuration that is there",
                    expected="what was rendered, after a reload",
                    seen=str(error),
                    action="compare its command line and mounts with the directory in k2_alerting",
                ) from error
            self._roll_back(error)
        return True

    def _verify(self, request: Request) -> None:
        deadline = Deadline.after(request.verify_s)
        while True:
            different = self._server.differences(self._tree.root, request.expected)
            if not different:
                return
            if deadline.passed:
                more = f" and {len(different) - _TOLD} more" if len(different) > _TOLD else ""
                raise NotVerified(
                    f"after {request.verify_s:g} s the server does not run what was rendered",
                    expected="the same rules, targets and receivers, all healthy",
                    seen="; ".join(different[:_TOLD]) + more,
                    action="mount the directory: a mounted file keeps its old inode; rule_files must cover rules/*.yml",
                )
            time.sleep(_PAUSE_S)

    def _roll_back(self, error: K2Error) -> None:
        self._tree.put_back()
        try:
            self._server.reload()
            then = "the old configuration is back and loaded"
        except K2Error as second:
            then = f"the old configuration is back, but could not be loaded again: {second}"
        raise RolledBack(
            "what was deployed could not be verified",
            expected=error.expected,
            seen=str(error),
            action=f"{then}; {error.action}" if error.action else then,
        ) from error

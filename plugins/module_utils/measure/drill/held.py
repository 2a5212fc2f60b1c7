# SPDX-License-Identifier: Apache-2.0
"""Several faults held at once, each with a journal entry and a watchdog of its own, ended together.

Whatever happens in between, each is undone: by this process, else by its watchdog, else by ``playbooks/undo.yml``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Optional

from ...core.clock import Deadline, utc_us
from ...core.errors import K2Error
from ...fault.inject.base import Fault, FaultEndedEarly
from ...fault.journal import Journal
from ..failure.guard import FaultGuard

PROOF_S = 20.0
RESTORED_S = 45.0


@dataclass
class Held:
    """One fault as it goes on; moments are (before, after) the act in microseconds since the epoch, UTC."""

    name: str
    fault: Fault
    guard: Optional[FaultGuard] = None
    injected_us: Optional[tuple[int, int]] = None
    healed_us: Optional[tuple[int, int]] = None
    proven: bool = False
    proof: str = "nobody looked"
    undone_by: Optional[str] = None
    differences: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    def to_plain(self) -> dict[str, Any]:
        """As modules return it."""
        return {
            "name": self.name,
            "plan": self.fault.plan.as_dict(),
            "injected_us": None if self.injected_us is None else list(self.injected_us),
            "healed_us": None if self.healed_us is None else list(self.healed_us),
            "proof": {"proven": self.proven, "what": self.proof},
            "undone_by": self.undone_by,
            "differences": list(self.differences),
            "problems": list(self.problems),
        }


class HeldFaults:
    """A context manager: no fault is left when it is over, or its journal entry is open and says so."""

    def __init__(self, journal: Journal, run_id: str, parameters: dict[str, str], deadline: Deadline) -> None:
        self._journal = journal
        self._run_id = run_id
        self._parameters = parameters
        self._deadline = deadline
        self.held: list[Held] = []

    def __enter__(self) -> HeldFaults:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.end()

    def bring_about(self, faults: Sequence[tuple[str, Fault]]) -> tuple[Held, ...]:
        """Check all, guard all, then inject each, and prove it. One that cannot be is told, and hinders no other."""
        added = [Held(name, fault) for name, fault in faults]
        for each in added:
            try:
                each.fault.check()
                each.guard = FaultGuard(self._journal, each.fault, self._run_id, self._parameters, self._deadline)
            except K2Error as error:
                each.problems.append(f"not brought about: {error}")
        self.held += added
        for each in added:
            if each.guard is not None:
                self._inject(each)
        for each in added:
            if each.injected_us is not None:
                proof = each.fault.proof(PROOF_S)
                each.proven, each.proof = proof.proven, proof.what
        return tuple(added)

    @staticmethod
    def _inject(each: Held) -> None:
        low_us = utc_us()
        try:
            each.fault.inject()
        except K2Error as error:
            each.problems.append(f"not brought about: {error}")
            return
        each.injected_us = (low_us, utc_us())

    def end(self, only: Optional[Sequence[Held]] = None) -> None:
        """End every fault (or these), verify that nothing is left, and close its entry; nothing the second time."""
        # The last first: where one lies on another, as two texts of one file do, the first has the original.
        open_ones = [each for each in reversed(self.held if only is None else only) if each.guard is not None]
        for each in open_ones:
            low_us = utc_us()
            try:
                if each.injected_us is not None:
                    each.fault.heal()
            except FaultEndedEarly as error:
                each.problems.append(str(error))
            except (K2Error, OSError) as error:
                each.problems.append(f"not ended as planned: {error}")
            each.healed_us = (low_us, utc_us())
        deadline = Deadline.after(RESTORED_S)
        for each in open_ones:
            self._close(each, deadline)

    def _close(self, each: Held, deadline: Deadline) -> None:
        guard = each.guard
        assert guard is not None
        each.guard = None
        left = guard.look_back(deadline)
        failed: tuple[str, ...] = ()
        if left or each.injected_us is None:
            failed = guard.undo()
            left = guard.look_back(Deadline.after(RESTORED_S)) if left else ()
        else:
            guard.healed()
        undone = not failed and not left
        each.differences = (*failed, *left)
        each.undone_by, problem = guard.end(undone=undone)
        if problem:
            each.problems.append(problem)

# SPDX-License-Identifier: Apache-2.0
"""What every fault offers: a plan to read beforehand, its undo as data, the act, the proof, the end, and the look back.

The order of calls is the order of the methods. ``check`` touches nothing and raises when the fault cannot be brought
about; it also takes in what there is, so that ``undo_steps`` goes to the journal before anything has changed. After
``inject`` nothing here decides whether the service recovered: that is measured from outside.
"""

from __future__ import annotations

import abc
import enum
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Optional

from ...core.clock import Deadline, monotonic_ns
from ...core.errors import K2Error
from ...platform.runtime.base import POLL_S

Step = Mapping[str, Any]


class FaultNotPossible(K2Error):  # noqa: N818 - see core.errors
    """The fault cannot be brought about here; nothing was touched."""


class RunOver(K2Error):  # noqa: N818 - see core.errors
    """The run that was to be hit had done its work already; it was let go on."""


class FaultEndedEarly(K2Error):  # noqa: N818 - see core.errors
    """The fault was over before it was ended, so how long it held is not known."""


class Mechanism(enum.Enum):
    """What brings a service back."""

    HEALED_ITSELF = "healed itself"
    RESTARTED_BY_SUPERVISOR = "restarted by its supervisor"
    RESTARTED_BY_TOOL = "restarted by the tool"


@dataclass(frozen=True)
class FaultPlan:
    """What is going to be done, for a person to read before it is."""

    action: str
    target: str
    blast_radius: str
    undo: str
    needs_root: bool
    expected_mechanism: Mechanism

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "expected_mechanism": self.expected_mechanism.value}


@dataclass(frozen=True)
class Moment:
    """Readings of CLOCK_MONOTONIC before and after an act: it took effect between the two."""

    low_ns: int
    high_ns: int


@dataclass(frozen=True)
class Proof:
    """Whether the fault took effect, and what shows it (or what is seen instead)."""

    proven: bool
    what: str


class Fault(abc.ABC):
    """One fault on one service. An instance is used once."""

    plan: FaultPlan

    @abc.abstractmethod
    def check(self) -> None:
        """Take in what there is.

        :raises FaultNotPossible: the fault cannot be brought about, with the reason. :raises K2Error: as the runtime.
        """

    @abc.abstractmethod
    def undo_steps(self) -> tuple[Step, ...]:
        """What puts everything back, whoever does it and however often; from what ``check`` took in."""

    @abc.abstractmethod
    def inject(self) -> Moment:
        """Bring the fault about; how long that took bounds when it began.

        :raises K2Error: it could not be, or not wholly; the undo steps are then due.
        """

    @abc.abstractmethod
    def proof(self, timeout_s: float) -> Proof:
        """Whether it took effect; waits up to ``timeout_s`` for a sign."""

    @abc.abstractmethod
    def heal(self) -> Optional[Moment]:
        """End a fault that lasts until it is ended; None for one that is over by itself (kill, restart).

        :raises FaultEndedEarly: it was over already; nothing of it is left.
        """

    @abc.abstractmethod
    def restored(self) -> tuple[str, ...]:
        """What differs from before, in words; empty when nothing does. A new process of the unit is no difference."""

    @abc.abstractmethod
    def mechanism(self) -> Optional[Mechanism]:
        """What brought the service back, by what is seen; None while it is not back."""


def prove(look: Callable[[], Proof], timeout_s: float) -> Proof:
    """Look until there is proof or time is up; the last look counts. What hinders looking is told as what was seen."""
    deadline = Deadline.after(timeout_s)
    while True:
        try:
            seen = look()
        except K2Error as error:
            seen = Proof(False, str(error))
        if seen.proven or deadline.passed:
            return seen
        time.sleep(min(POLL_S, deadline.remaining() or POLL_S))


def bracket(act: Callable[[], object]) -> Moment:
    """Do it, and tell between which readings of the clock it was done."""
    low_ns = monotonic_ns()
    act()
    return Moment(low_ns, monotonic_ns())

# SPDX-License-Identifier: Apache-2.0
"""Looking again and again at a fixed cadence, each lane in a thread of its own, so that none waits for another."""

from __future__ import annotations

import abc
import threading
from collections.abc import Callable
from typing import Optional

from ...core.clock import NS_PER_S, monotonic_ns
from ...core.errors import K2Error
from .model import Lane, Sample

Probe = Callable[[], tuple[bool, str]]


class Watch(abc.ABC):
    """Something looked at every ``interval_s``.

    Looks are due at fixed moments: a slow one delays no other, and two are never under way at once. Those that come
    due meanwhile are left out and counted.
    """

    def __init__(self, name: str, interval_s: float) -> None:
        self.name = name
        self.interval_s = interval_s
        self.skipped = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"k2 {name}", daemon=True)
        self._phase_s = 0.0

    @property
    @abc.abstractmethod
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes with what has been seen so far."""

    @abc.abstractmethod
    def look(self) -> None:
        """Look once and keep what was seen; raises nothing."""

    def start(self, phase_s: float = 0.0) -> None:
        """Begin, ``phase_s`` from now."""
        self._phase_s = phase_s
        self._thread.start()

    def stop(self) -> None:
        """Begin no more looks. One that is under way is not waited for: it may hang."""
        self._ended.set()

    def _run(self) -> None:
        step_ns = int(self.interval_s * NS_PER_S)
        due_ns = monotonic_ns() + int(self._phase_s * NS_PER_S)
        while not self._ended.wait(max(0.0, (due_ns - monotonic_ns()) / NS_PER_S)):
            self.look()
            due_ns += step_ns
            missed = max(0, -(-(monotonic_ns() - due_ns) // step_ns))
            self.skipped += missed
            due_ns += missed * step_ns


class Sampler(Watch):
    """One lane; ``probe`` tells whether all is well, and if not, why.

    A probe that raises has shown nothing about the service; neither has one that answers well after the lane's
    timeout. One that fails is a failure however long it took: its sample ends when it did.
    """

    def __init__(self, lane: Lane, probe: Probe) -> None:
        super().__init__(lane.name, lane.interval_s)
        self._lane = lane
        self._probe = probe
        self._samples: list[Sample] = []

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """See ``Watch``."""
        lane = self._lane
        return (
            Lane(
                lane.name,
                lane.kind,
                lane.service,
                lane.exchange,
                lane.interval_s,
                lane.timeout_s,
                tuple(self._samples),
                self.skipped,
            ),
        )

    def look(self) -> None:
        """See ``Watch``."""
        start_ns = monotonic_ns()
        ok: Optional[bool]
        try:
            ok, error = self._probe()
        except K2Error as failure:
            ok, error = None, str(failure)
        except Exception as failure:  # noqa: BLE001 - a lane must not end: what hindered the look is told
            ok, error = None, f"{type(failure).__name__}: {failure}"
        self._samples.append(judged(start_ns, monotonic_ns(), ok, error, self._lane.timeout_s))


def judged(start_ns: int, end_ns: int, ok: Optional[bool], error: str, timeout_s: float) -> Sample:
    """A look as a sample; ``ok`` is None where the look itself failed."""
    if ok is None:
        return Sample(start_ns, end_ns, False, error, proof=False)
    took_s = (end_ns - start_ns) / NS_PER_S
    if ok and took_s > timeout_s:
        return Sample(start_ns, end_ns, False, f"well, but after {took_s:.3f} s of {timeout_s:g} s", proof=False)
    return Sample(start_ns, end_ns, ok, "" if ok else error)

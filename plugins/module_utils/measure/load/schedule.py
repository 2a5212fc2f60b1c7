# SPDX-License-Identifier: Apache-2.0
"""When records are due: fixed by rate, time and seed before the first is sent, never moved by how sending goes.

A sender that waited for the previous answer would send less while the platform stalls, and so measure the stall once
instead of for everything that was due meanwhile (coordinated omission).
"""

from __future__ import annotations

import enum
import random
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ...core.errors import K2Error

# 8 bytes of due time and 8 of lateness each; a schedule of them is drawn in about 10 s.
MAX_MESSAGES = 10_000_000


class Arrivals(enum.Enum):
    """How the gaps between records are drawn."""

    POISSON = "poisson"
    CONSTANT = "constant"


@dataclass(frozen=True)
class Share:
    """Part ``index`` (from 0) of ``of`` equal parts of one common schedule."""

    index: int = 0
    of: int = 1


WHOLE = Share()


@dataclass(frozen=True)
class Schedule:
    """A share's records in the order they are due. Parallel columns: there may be millions.

    ``due_us`` are microseconds from the start, ``numbers`` places in the common schedule, ``exchange`` indices into
    ``exchanges`` and ``sequences`` places (from 1) among the exchange's records of the common schedule.
    """

    exchanges: tuple[str, ...]
    due_us: Sequence[int]
    numbers: Sequence[int]
    exchange: Sequence[int]
    sequences: Sequence[int]

    def __len__(self) -> int:
        return len(self.due_us)

    def counts(self, first: Optional[int] = None) -> dict[str, int]:
        """Records by exchange: all of them, or the ``first`` ones."""
        dealt = Counter(self.exchange[:first])
        return {name: dealt[place] for place, name in enumerate(self.exchanges)}


def draw(
    exchanges: Sequence[str], rate: float, seconds: float, arrivals: Arrivals, seed: int, share: Share
) -> Schedule:
    """The records that ``share`` has to send: every ``share.of``-th arrival of the one schedule that all shares draw.

    :arg rate: records per second of all shares together. Arrivals of a Poisson process are dealt to the exchanges at
        random, so that each exchange sees a Poisson process too; constant ones in turn, half a gap from the start.
    :raises K2Error: nothing would be sent, or more than memory should hold.
    """
    if rate * seconds > MAX_MESSAGES:
        raise K2Error(
            "the load is too large for one run",
            expected=f"at most {MAX_MESSAGES} messages",
            seen=f"{rate:g}/s for {seconds:g} s",
            action="shorten it, or lower the rate",
        )
    due_us, numbers, dealt, sequences = array("q"), array("q"), array("B" if len(exchanges) < 256 else "L"), array("q")
    random_gaps = arrivals is Arrivals.POISSON
    gaps, deal = random.Random(f"{seed}/gaps"), random.Random(f"{seed}/exchanges")
    counts = [0] * len(exchanges)
    end_us = round(seconds * 1e6)
    number, at = 0, gaps.expovariate(rate) if random_gaps else 0.5 / rate
    while (at_us := round(at * 1e6)) < end_us:
        place = deal.randrange(len(exchanges)) if random_gaps else number % len(exchanges)
        counts[place] += 1
        if number % share.of == share.index:
            due_us.append(at_us)
            numbers.append(number)
            dealt.append(place)
            sequences.append(counts[place])
        number += 1
        at = at + gaps.expovariate(rate) if random_gaps else (number + 0.5) / rate
    if not due_us:
        raise K2Error(
            "the load would send nothing",
            expected="at least one message",
            seen=f"{rate:g}/s for {seconds:g} s, seed {seed}, share {share.index} of {share.of}",
            action="make it longer or faster",
        )
    return Schedule(tuple(exchanges), due_us, numbers, dealt, sequences)

# SPDX-License-Identifier: Apache-2.0
"""What a load did, as data that travels, and how the shares of several load hosts become one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Optional

from ...core.errors import K2Error
from .schedule import WHOLE, Arrivals, Share
from .sketch import Sketch


class LoadResultError(K2Error):
    """What should be the result of a load is none, or results that do not belong together."""


@dataclass(frozen=True)
class Counts:
    """Messages of one exchange. ``heard`` counts those that had a listener, where the source can tell."""

    scheduled: int
    sent: int
    unsent: int
    heard: Optional[int] = None


@dataclass(frozen=True)
class LoadResult:
    """A load, or one share of it. Times are microseconds since the epoch, sketches milliseconds.

    ``sent`` were handed over, late or not; of these ``acked`` were acknowledged (None where the source has no
    acknowledgements) and the others are in ``errors``, by text. ``lateness`` is the time from a message's scheduled
    time to its sending. ``interrupted`` says why the load is not what was asked for. ``ended_us`` is when the last
    message was sent or given up. ``watermark`` tells where the raw topics ended just before the first message (topic,
    partition, next offset): where an audit of the load begins; None where that is not known.
    """

    source: str
    load: str
    rate: float
    seconds: float
    arrivals: Arrivals
    seed: int
    share: Share
    start_us: int
    end_us: int
    ended_us: int
    scheduled: int
    sent: int
    unsent: int
    acked: Optional[int]
    errors: Mapping[str, int]
    exchanges: Mapping[str, Counts]
    lateness: Sketch
    ack: Optional[Sketch]
    cpu_cores: float
    interrupted: Optional[str]
    watermark: Optional[Mapping[str, Mapping[str, int]]] = None

    def to_plain(self) -> dict[str, Any]:
        """As modules return it."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            **plain,
            "arrivals": self.arrivals.value,
            "share": asdict(self.share),
            "errors": dict(self.errors),
            "exchanges": {name: asdict(counts) for name, counts in self.exchanges.items()},
            "lateness": self.lateness.to_plain(),
            "ack": None if self.ack is None else self.ack.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> LoadResult:
        """Read a result back.

        :raises LoadResultError: it is none. :raises SketchError: a sketch of it is none.
        """
        try:
            values = {field.name: plain[field.name] for field in fields(cls)}
            values["arrivals"] = Arrivals(plain["arrivals"])
            values["share"] = Share(**plain["share"])
            values["exchanges"] = {name: Counts(**counts) for name, counts in plain["exchanges"].items()}
            values["lateness"] = Sketch.from_plain(plain["lateness"])
            values["ack"] = None if plain["ack"] is None else Sketch.from_plain(plain["ack"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LoadResultError(
                "the result of a load cannot be read",
                expected="what k2_load returns as load",
                seen=f"{type(error).__name__}: {error}",
            ) from error
        return cls(**values)


def merge_loads(shares: Sequence[LoadResult]) -> LoadResult:
    """The one load that ``shares`` of a common schedule make together.

    A share that is not there makes the whole interrupted: its messages are known to nobody.

    :raises LoadResultError: none is given, or they are not shares of one schedule, each once.
    """
    if not shares:
        raise LoadResultError("no load to merge", expected="the results of at least one load host", seen="none")
    schedules = {
        (one.source, one.load, one.rate, one.seconds, one.arrivals, one.seed, one.start_us, one.share.of)
        for one in shares
    }
    places = Counter(one.share.index for one in shares)
    if len(schedules) > 1 or max(places.values()) > 1:
        raise LoadResultError(
            "the loads do not belong together",
            expected="shares of one schedule, each once",
            seen=f"{len(schedules)} schedules, shares {sorted(places.elements())}",
            action="give all load hosts the same start_at_us, rate and seed, and each a share of its own",
        )
    first = shares[0]
    reasons = [one.interrupted for one in shares if one.interrupted]
    reasons += [f"share {place} of {first.share.of} is missing" for place in range(first.share.of) if not places[place]]
    return replace(
        first,
        share=WHOLE,
        ended_us=max(one.ended_us for one in shares),
        scheduled=sum(one.scheduled for one in shares),
        sent=sum(one.sent for one in shares),
        unsent=sum(one.unsent for one in shares),
        acked=_total([one.acked for one in shares]),
        errors=dict(sum((Counter(one.errors) for one in shares), Counter())),
        exchanges=_merge_counts([one.exchanges for one in shares]),
        lateness=_merge_sketches([one.lateness for one in shares]),
        ack=None if first.ack is None else _merge_sketches([one.ack for one in shares if one.ack is not None]),
        cpu_cores=sum(one.cpu_cores for one in shares),
        interrupted="; ".join(reasons) or None,
    )


def _merge_counts(parts: Sequence[Mapping[str, Counts]]) -> dict[str, Counts]:
    merged = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        counts = [part[name] for part in parts if name in part]
        merged[name] = Counts(
            scheduled=sum(one.scheduled for one in counts),
            sent=sum(one.sent for one in counts),
            unsent=sum(one.unsent for one in counts),
            heard=_total([one.heard for one in counts]),
        )
    return merged


def _merge_sketches(parts: Sequence[Sketch]) -> Sketch:
    whole = Sketch()
    for part in parts:
        whole.merge(part)
    return whole


def _total(values: Sequence[Optional[int]]) -> Optional[int]:
    """The sum, or None where one is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None

# SPDX-License-Identifier: Apache-2.0
"""Where the raw topics end just before a load: seen while their source is quiet, so that what follows is the load's."""

from __future__ import annotations

import threading
from typing import Optional

from ...core.clock import utc_us
from ...core.errors import K2Error
from ...platform.broker import BrokerReader, watermark_of
from ...profile.model import Broker, Profile

# What a handler may take to hand over the last record of before: seen from its end, the topics must be still this long.
STILL_S = 0.5
_POLL_S = 0.1

Watermark = dict[str, dict[str, int]]


def raw_topics(broker: Broker) -> list[str]:
    """The topics an audit begins with."""
    return [topics.raw for topics in broker.topics.values()]


def mark_in_quiet(profile: Profile, start_us: int, quiet_s: float, stop: threading.Event) -> Optional[Watermark]:
    """The next offset of each partition of the raw topics, once they have been still for ``STILL_S`` of the quiet.

    None where they did not come to rest before the load starts, or could not be read: then nobody knows which record
    was the load's first.
    """
    if profile.broker is None:
        return None
    broker = BrokerReader(profile.broker.bootstrap)
    try:
        partitions = broker.partitions(raw_topics(profile.broker))
        stop.wait(max(0.0, (start_us - utc_us()) / 1e6 - quiet_s))
        mark = watermark_of(broker.extents(partitions))
        since_us = utc_us()
        while not stop.wait(_POLL_S):
            now = watermark_of(broker.extents(partitions))
            if utc_us() >= start_us:
                return None
            if now != mark:
                mark, since_us = now, utc_us()
            elif utc_us() - since_us >= STILL_S * 1e6:
                return mark
    except K2Error:
        return None
    return None

# SPDX-License-Identifier: Apache-2.0
"""A window in few points, to be drawn and read: no verdict rests on them. Needs numpy."""

from __future__ import annotations

from typing import Any

from .resource_series import Window

# Five minutes of a day, as operators are used to; shorter windows are drawn finer.
_POINTS = 288


def display(window: Window) -> dict[str, Any]:
    """By stretch: mean, p99 and maximum of CPU (cores), most memory (bytes), file descriptors and threads of each
    service; where processes ended; sizes of directories.
    """
    import numpy as np

    at_s = np.asarray(window.axis.at_s)
    width = max(window.plan.interval_s, window.seconds / _POINTS)
    places = np.minimum((at_s / width).astype(int), _POINTS)
    stretches = np.unique(places)
    return {
        "width_s": float(width),
        "at_s": [float((stretch + 0.5) * width) for stretch in stretches],
        "planned": [bool(window.planned[places == stretch].any()) for stretch in stretches],
        "services": {
            each.name: {
                "cpu_mean": _each(each.cores, places, stretches, np.nanmean),
                "cpu_p99": _each(each.cores, places, stretches, _p99),
                "cpu_max": _each(each.cores, places, stretches, np.nanmax),
                "memory_max": _each(each.memory, places, stretches, np.nanmax),
                "fds_max": _each(each.fds, places, stretches, np.nanmax),
                "threads_max": _each(each.threads, places, stretches, np.nanmax),
            }
            for each in window.services.values()
        },
        "ends": _counted(window.ends, places, stretches),
        "oom_kills": _counted(window.ooms, places, stretches),
        "disks": {name: {"at_s": own["at_s"], "used": own["used"]} for name, own in window.disks.items()},
    }


def _p99(values: Any) -> float:
    import numpy as np

    known = np.sort(values[np.isfinite(values)])
    return float(known[int(np.ceil(0.99 * len(known))) - 1])


def _each(values: Any, places: Any, stretches: Any, summarise: Any) -> list[Any]:
    import numpy as np

    found = []
    for stretch in stretches:
        own = values[places == stretch]
        found.append(float(summarise(own)) if np.isfinite(own).any() else None)
    return found


def _counted(events: Any, places: Any, stretches: Any) -> list[int]:
    return [sum(each.times for each in events if places[each.tick] == stretch) for stretch in stretches]

# SPDX-License-Identifier: Apache-2.0
"""Why a part could not be had: kept in the cache until it can, told by whatever needs the part."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

# An attempt nobody asked for may take a twentieth of the time since the last one.
WAIT_FACTOR = 20.0


@dataclass(frozen=True)
class Failure:
    """The last attempt at a part that cannot be had."""

    reason: str  # one line: what, and what to do
    at: float  # seconds since the epoch
    seconds: float  # how long it took to find out

    def is_due(self, now: float) -> bool:
        """True when set-up may try again without being asked to: the sooner, the quicker the failure was."""
        return not 0 <= now - self.at < WAIT_FACTOR * self.seconds


def failure_file(cache: Path, key: str) -> Path:
    """Where the failure of a part is kept; the key is the name its entry of the cache has or would have."""
    return cache / f"{key}.failed.json"


def record_failure(cache: Path, key: str, reason: str, seconds: float) -> None:
    """Keep the reason, in place of an older one."""
    cache.mkdir(parents=True, exist_ok=True)
    path = failure_file(cache, key)
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(asdict(Failure(" ".join(reason.split()), time.time(), round(seconds, 3)))) + "\n")
    scratch.replace(path)


def read_failure(cache: Path, key: str) -> Failure | None:
    """The failure that was kept, None when there is none (or none that can be read)."""
    try:
        kept = json.loads(failure_file(cache, key).read_text())
        return Failure(reason=str(kept["reason"]), at=float(kept["at"]), seconds=float(kept["seconds"]))
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None


def forget_failure(cache: Path, key: str) -> None:
    """The part is there now."""
    failure_file(cache, key).unlink(missing_ok=True)

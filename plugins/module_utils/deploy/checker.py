# SPDX-License-Identifier: Apache-2.0
"""promtool and amtool, of the version that is deployed: on the host, or in the server's container."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from .errors import CheckFailed

TIMEOUT_S = 120.0
_SAID_LIMIT = 3000


@dataclass(frozen=True)
class Checker:
    """``tool`` is the command before its arguments. It sees the host's directory ``here`` as ``seen_as``."""

    tool: tuple[str, ...]
    here: Path
    seen_as: Path

    @property
    def sees_everything(self) -> bool:
        """Whether it can read files outside the directory, too: it runs on the host itself."""
        return self.here == self.seen_as

    def path(self, place: Path) -> str:
        """What the tool calls a file of the host."""
        if self.sees_everything:
            return str(place)
        return str(self.seen_as / place.relative_to(self.here))

    def run(self, what: str, *arguments: str, cwd: Optional[Path] = None) -> str:
        """Its output; raises CheckFailed with its own words when it refuses."""
        done = self.attempt(*arguments, cwd=cwd)
        said = f"{done.stdout}\n{done.stderr}".strip()
        if done.returncode:
            raise CheckFailed(
                f"{Path(self.tool[-1]).name} refuses {what}",
                expected="no objection",
                seen=said[-_SAID_LIMIT:],
                action="correct the entry it names; the configuration that was live still is",
            )
        return said

    def attempt(self, *arguments: str, cwd: Optional[Path] = None) -> subprocess.CompletedProcess[str]:
        """Run it and tell how it ended; raises CheckFailed only when it cannot be run at all."""
        if shutil.which(self.tool[0]) is None:
            raise CheckFailed(
                f"there is no {self.tool[0]} to check the configuration with",
                expected="the checker of the deployed version",
                seen=f"no program {self.tool[0]!r} on the target",
                action="give its command as tool in k2_alerting, with docker exec in front where it is in a container",
            )
        try:
            return subprocess.run(  # the profile's own command, without a shell
                [*self.tool, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=cwd
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CheckFailed(
                f"{self.tool[0]} cannot be run", expected=f"its verdict within {TIMEOUT_S:g} s", seen=str(error)
            ) from error

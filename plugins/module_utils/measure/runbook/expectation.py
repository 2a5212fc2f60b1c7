# SPDX-License-Identifier: Apache-2.0
"""What a runbook says about the output of a command, as a sentence that people read and tests check.

``- **Symptom:** within 10 s the output lacks `RUNNING`.``: a kind, how long to go on looking, and one condition. What
follows the full stop is for people.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Optional

# A shell's own words for: found but not to be executed, and not found. No condition makes up for either.
NOT_A_COMMAND = (126, 127)


class Kind(enum.Enum):
    """What an expectation is about."""

    SYMPTOM = "Symptom"
    """So while the failure is there, and not on a healthy platform."""
    EXPECTED = "Expected"
    """So in any case: it tells this failure from others, or that a command did its work."""
    DONE = "Done"
    """So once the failure is mended."""


class Condition(enum.Enum):
    """How the condition is decided."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    CONTAINS = "contains"
    LACKS = "lacks"


_LINE = re.compile(
    r"^- \*\*(?P<kind>Symptom|Expected|Done):\*\* (?:within (?P<within>\d+) s )?the "
    r"(?:command (?P<code>succeeds|fails)|output (?P<output>contains|lacks) (?P<words>`[^`]+`(?: or `[^`]+`)*))\."
)
_ANY = re.compile(r"^- \*\*(?P<kind>[^*]+):\*\*")


@dataclass(frozen=True)
class Answer:
    """What a command said. ``code`` is None where it had to be ended."""

    code: Optional[int]
    output: str
    took_s: float

    @property
    def ran(self) -> bool:
        """Whether there was such a command at all."""
        return self.code not in NOT_A_COMMAND

    @property
    def told(self) -> str:
        """The exit code and the last words, for people."""
        ended = f"no end after {self.took_s:.0f} s" if self.code is None else f"exit {self.code}"
        words = " | ".join(line.strip() for line in self.output.strip().splitlines()[-3:])
        return f"{ended}: {words[:300]}" if words else ended


@dataclass(frozen=True)
class Expectation:
    """One sentence. ``within_s`` is how long the command is repeated until it holds; 0: it is run once."""

    kind: Kind
    condition: Condition
    words: tuple[str, ...] = ()
    within_s: int = 0

    def holds(self, answer: Answer) -> bool:
        """Whether the answer is as expected; one of a command that is not there never is."""
        if not answer.ran:
            return False
        if self.condition is Condition.SUCCEEDS:
            return answer.code == 0
        if self.condition is Condition.FAILS:
            return answer.code != 0
        if answer.code is None:
            return False
        found = any(word in answer.output for word in self.words)
        return found if self.condition is Condition.CONTAINS else not found

    @property
    def text(self) -> str:
        """The condition in words."""
        what = f"the command {self.condition.value}"
        if self.words:
            what = f"the output {self.condition.value} " + " or ".join(f"`{word}`" for word in self.words)
        return (f"within {self.within_s} s " if self.within_s else "") + what

    @property
    def line(self) -> str:
        """The sentence as it stands in a runbook; ``read`` is the way back."""
        return f"- **{self.kind.value}:** {self.text}."

    @classmethod
    def read(cls, line: str) -> Optional[Expectation]:
        """The expectation on a line of Markdown; None where there is none.

        Raises ValueError for one that cannot be checked.
        """
        match = _LINE.match(line)
        if match is None:
            if _ANY.match(line):
                raise ValueError(f"nobody can check this: {line.strip()[:120]}")
            return None
        words = tuple(re.findall(r"`([^`]+)`", match["words"] or ""))
        return cls(
            Kind(match["kind"]),
            Condition(match["code"] or match["output"]),
            words,
            int(match["within"] or 0),
        )

# SPDX-License-Identifier: Apache-2.0
"""Rules of the kernel's packet filter that drop what they match, each with a mark by which exactly it is removed again.

A dropped packet is silence: connections stay open and wait, as they do when a cable is cut, where a stopped server
would answer with a reset. Rules go to INPUT only: dropping on the way out makes the sender's own call fail instead.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from typing import Optional

from ...platform.runtime.base import RuntimeFailure
from .base import FaultNotPossible, Step
from .unit import Process

TIMEOUT_S = 10.0
# Where programs of the administrator are, which not every PATH names.
_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")
# Which of the two kernel interfaces works differs by machine; the plain name is the machine's own choice.
_VARIANTS = ("", "-nft", "-legacy")
_WAIT = ("-w", "5")  # another program may hold the lock of the tables
_NO_SUCH_RULE = 1
# nsenter, too, ends with 1 when it cannot enter: in there the packet filter's own 1 gets another number.
_NO_SUCH_RULE_INSIDE = 101
_TELL_APART = (
    "/bin/sh",
    "-c",
    f'"$0" "$@"; code=$?; [ $code -ne {_NO_SUCH_RULE} ] || exit {_NO_SUCH_RULE_INSIDE}; exit $code',
)


def new_mark() -> str:
    """A comment for the rules of one fault."""
    return f"k2-{secrets.token_hex(8)}"


@dataclass(frozen=True)
class Filter:
    """A working ``iptables`` (or ``ip6tables``), with what stands before it to act in another network.

    ``inside`` is the process whose network it is, if not this one's: the rules are gone when that is.
    """

    argv: tuple[str, ...]
    inside: Optional[Process] = None

    @classmethod
    def find(cls, family: str = "iptables", inside: Optional[Process] = None) -> Filter:
        """The first variant that works here.

        :arg inside: a process whose network is meant. :raises FaultNotPossible: none works.
        """
        if os.geteuid() != 0:
            raise FaultNotPossible(
                "the packet filter is root's",
                expected="to run as root",
                seen=f"uid {os.geteuid()}",
                action="run with become: true",
            )
        within = () if inside is None else _entering(inside)
        seen = ""
        for variant in _VARIANTS:
            program = shutil.which(family + variant, path=_search_path())
            if program is None:
                continue
            candidate = cls((*within, program, *_WAIT), inside)
            code, words = candidate.run("-S", "INPUT")
            if code == 0:
                return candidate
            seen = seen or f"{program}: {words or f'exit {code}'}"
        raise FaultNotPossible(
            f"no {family} works here",
            expected=f"{family} that lists the chain INPUT",
            seen=seen or "it is not installed",
            action="install it (Debian: apt install iptables); in a container it takes the capability NET_ADMIN",
        )

    @property
    def no_such_rule(self) -> int:
        """The exit code by which it says that there is no such rule."""
        return _NO_SUCH_RULE if self.inside is None else _NO_SUCH_RULE_INSIDE

    @property
    def gone(self) -> bool:
        """Whether the network that it acts in ended with its process, and all rules with it."""
        return self.inside is not None and not self.inside.alive

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and last words of one call, on one line."""
        code, said = self.call(*arguments)
        return code, " ".join(said.split())

    def call(self, *arguments: str) -> tuple[int, str]:
        """Exit code of one call, -1 where there is none, and what it said."""
        try:
            done = subprocess.run(
                (*self.argv, *arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return -1, f"{type(error).__name__}: {error}"
        return done.returncode, done.stderr or done.stdout


@dataclass(frozen=True)
class Rule:
    """One rule: packets that ``match`` are dropped as they come in."""

    filter: Filter
    match: tuple[str, ...]
    mark: str

    def _arguments(self) -> tuple[str, ...]:
        return ("INPUT", *self.match, "-m", "comment", "--comment", self.mark, "-j", "DROP")

    def insert(self) -> None:
        """Put it before all other rules.

        :raises FaultNotPossible: the kernel refused it.
        """
        code, words = self.filter.run("-I", *self._arguments())
        if code != 0:
            raise FaultNotPossible(
                "the packet filter refused a rule",
                expected="to drop " + " ".join(self.match),
                seen=words or f"exit {code}",
                action="see whether the kernel has the match comment (xt_comment)",
            )

    def delete(self) -> bool:
        """Remove it; False if it was not there.

        :raises RuntimeFailure: it may be in force still.
        """
        code, words = self.filter.run("-D", *self._arguments())
        if code not in (0, self.filter.no_such_rule) and not self.filter.gone:
            raise RuntimeFailure(
                "the packet filter did not remove a rule",
                expected="success",
                seen=words or f"exit {code}",
                action=" ".join((*self.filter.argv, "-D", *self._arguments())),
            )
        return code == 0

    @property
    def present(self) -> bool:
        """Whether it is in force.

        :raises RuntimeFailure: the packet filter does not tell.
        """
        code, words = self.filter.run("-C", *self._arguments())
        if code not in (0, self.filter.no_such_rule) and not self.filter.gone:
            raise RuntimeFailure(
                "the packet filter does not tell whether a rule is in force",
                expected=f"exit 0, or {self.filter.no_such_rule} where there is none",
                seen=words or f"exit {code}",
                action=" ".join((*self.filter.argv, "-C", *self._arguments())),
            )
        return code == 0

    @property
    def dropped(self) -> int:
        """How many packets it has dropped."""
        code, _ = self.filter.run("-C", *self._arguments())
        if code != 0:
            return 0
        _, listing = self.filter.call("-L", "INPUT", "-v", "-x", "-n")
        return next((int(line.split()[0]) for line in listing.splitlines() if self.mark in line), 0)

    def undo(self) -> Step:
        """The step that removes it; one that is gone is removed, also with the network that it was in."""
        inside = self.filter.inside
        whose = {} if inside is None else {"pid": inside.pid, "start_ticks": inside.start_ticks}
        return {
            "op": "exec",
            "argv": [*self.filter.argv, "-D", *self._arguments()],
            "ok": [0, self.filter.no_such_rule],
            "timeout_s": TIMEOUT_S,
            **whose,
            "verify": {
                "op": "exec",
                "argv": [*self.filter.argv, "-C", *self._arguments()],
                "ok": [self.filter.no_such_rule],
                "timeout_s": TIMEOUT_S,
                **whose,
            },
        }


def _entering(process: Process) -> tuple[str, ...]:
    """What stands before a command to run it in the network of ``process``.

    :raises FaultNotPossible: there is no program for that.
    """
    enter = shutil.which("nsenter", path=_search_path())
    if enter is None:
        raise FaultNotPossible(
            f"the network of {process} cannot be entered",
            expected="nsenter on PATH",
            seen="none",
            action="install it (Debian: apt install util-linux)",
        )
    return (enter, "-t", str(process.pid), "-n", *_TELL_APART)


def _search_path() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), *_SBIN))

# SPDX-License-Identifier: Apache-2.0
"""Who keeps a lab's programs running: supervisord or a Docker Engine. What lab-up and lab-down ask of either."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """States of a program, by supervisord's names for them."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


SETTLED = frozenset({State.STOPPED, State.EXITED, State.FATAL})


@dataclass(frozen=True)
class Program:
    """What its keeper says of a program. Times in whole seconds since the epoch, 0 for never."""

    name: str
    state: State
    pid: int
    exit_status: int
    stopped_at: int
    spawn_error: str


@dataclass(frozen=True)
class Reload:
    """What a reread configuration did to the programs."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


class Keeper(abc.ABC):
    """Starts the lab's programs, has them come back when they die, and stops them. Raises LabError throughout.

    May be used from several threads.
    """

    # For messages.
    name: str

    @abc.abstractmethod
    def answers(self) -> bool:
        """True when the keeper of this lab is there, knows its programs and takes orders."""

    @abc.abstractmethod
    def launch(self) -> None:
        """Have the keeper there, with every program known and none running."""

    @abc.abstractmethod
    def reload(self, *, stop_timeout_s: float) -> Reload:
        """Reread the configuration; programs whose own changed are stopped and replaced, none is started here."""

    @abc.abstractmethod
    def programs(self) -> dict[str, Program]:
        """Every program by name."""

    @abc.abstractmethod
    def program(self, name: str) -> Program:
        """One program."""

    @abc.abstractmethod
    def start(self, name: str) -> bool:
        """Have the program started; False when it runs or starts already. Whether it stays up is to be watched."""

    @abc.abstractmethod
    def stop(self, names: list[str], *, timeout_s: float) -> list[str]:
        """Stop programs side by side and wait for them; returns those that did run."""

    @abc.abstractmethod
    def shutdown(self) -> list[str]:
        """Stop what is left, and have the keeper end or let go of the lab; returns what ended."""

    @abc.abstractmethod
    def clean_up(self) -> None:
        """Remove what a keeper that is gone has left; safe to repeat."""

    @abc.abstractmethod
    def held_ports(self) -> set[int]:
        """Ports of 127.0.0.1 that are held for the lab by processes that do not carry its marker."""

    @abc.abstractmethod
    def log_tail(self, name: str) -> str:
        """The last lines of the program's log, and where it is."""

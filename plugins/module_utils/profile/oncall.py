# SPDX-License-Identifier: Apache-2.0
"""``k2_runbooks``: what commands in runbooks need beyond the other sections, and whom to call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .reader import Node

LAG_HIGH = 1000
STALE_S = 15.0


@dataclass(frozen=True)
class Contact:
    """Whom to tell, how, and after how many minutes without recovery."""

    who: str
    how: str
    after_min: float


@dataclass(frozen=True)
class Runbooks:
    """What the shell of whoever follows a runbook needs.

    ``prepare`` are shell lines to be run once: where the tools are, and where secrets come from
    (``CLICKHOUSE_PASSWORD``). ``lag`` is a shell command that prints one number, the records that all consumer groups
    are behind, and ``lag_high`` when that is too many. ``stale_s`` is how long every exchange may be silent.
    """

    prepare: tuple[str, ...] = ()
    lag: Optional[str] = None
    lag_high: int = LAG_HIGH
    stale_s: float = STALE_S
    contacts: tuple[Contact, ...] = ()


def read_runbooks(node: Node) -> Runbooks:
    """``k2_runbooks``."""
    return Runbooks(
        prepare=node.texts("prepare"),
        lag=node.opt_text("lag"),
        lag_high=node.integer("lag_high", low=1, default=LAG_HIGH),
        stale_s=node.number("stale_s", low=1, unit="seconds", default=STALE_S),
        contacts=tuple(_read_contact(each) for each in node.each("contacts")),
    )


def _read_contact(node: Node) -> Contact:
    contact = Contact(
        who=node.text("who"),
        how=node.text("how"),
        after_min=node.number("after_min", low=0, unit="minutes", default=0.0),
    )
    node.finish()
    return contact

# SPDX-License-Identifier: Apache-2.0
"""HTTP sessions: what SET and USE leave behind for later requests with the same `session_id`.

A session is the list of its SET and USE statements, replayed into the fresh engine session of each request. Settings
of a URL are not part of it, so they end with their request. Temporary tables are not kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from .errors import SESSION_IS_LOCKED, SESSION_NOT_FOUND, TOO_MANY_SESSIONS, ClickHouseError
from .request import HttpSession

_MAX_SESSIONS: Final = 1000


@dataclass(slots=True)
class _State:
    expires_s: float
    history: list[str] = field(default_factory=list)
    locked: bool = False


class Sessions:
    """The sessions of all users, in memory; used from the event loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._states: dict[tuple[str, str], _State] = {}
        self._clock = clock

    @contextmanager
    def enter(self, user: str, wanted: HttpSession | None) -> Iterator[list[str]]:
        """Hold a session for one request; yields its statements, to be replayed and added to.

        Raises ClickHouseError 372 if it must exist and does not, 373 if another request holds it.
        """
        if wanted is None:
            yield []
            return
        key = (user, wanted.session_id)
        state = self._find(key, wanted)
        state.locked = True
        try:
            yield state.history
        finally:
            state.locked = False
            # A session without statements has nothing to keep: most clients send an id and never use it.
            if not state.history or wanted.close_after:
                del self._states[key]
            else:
                state.expires_s = self._clock() + wanted.timeout_s

    def _find(self, key: tuple[str, str], wanted: HttpSession) -> _State:
        now = self._clock()
        for old in [old for old, state in self._states.items() if state.expires_s < now and not state.locked]:
            del self._states[old]
        state = self._states.get(key)
        if state is None:
            if wanted.must_exist:
                raise ClickHouseError.of(SESSION_NOT_FOUND, f"Session {wanted.session_id} not found, or it has expired")
            if len(self._states) >= _MAX_SESSIONS:
                raise ClickHouseError.of(TOO_MANY_SESSIONS, f"More than {_MAX_SESSIONS} sessions: close some, or wait")
            state = self._states[key] = _State(now + wanted.timeout_s)
        elif state.locked:
            raise ClickHouseError.of(SESSION_IS_LOCKED, f"Session {wanted.session_id} is locked by a concurrent client")
        return state

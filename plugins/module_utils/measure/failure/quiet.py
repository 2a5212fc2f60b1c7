# SPDX-License-Identifier: Apache-2.0
"""Nobody is woken by a planned fault: a silence for its time, journalled and taken back like the fault itself.

It is about the alerts of this collection, by their label ``team``, except one that fires always: a dead man's switch
has to go on hearing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Optional

from ...core.clock import Deadline, utc_us
from ...core.errors import K2Error
from ...fault.journal import Entry, Journal
from ...fault.steps import perform
from ...fault.watchdog import Watchdog
from ...platform.alertmanager import AlertmanagerClient, Matcher
from ...profile.model import Profile
from ..leftovers import SILENCE_AUTHOR

ALWAYS_FIRING = "Watchdog"
_EXPIRE_S = 10.0


class PlannedSilence:
    """A context manager around one fault. Where there is no Alertmanager, or it cannot be told, ``why`` says so."""

    def __init__(self, profile: Profile, journal: Journal, run_id: str, comment: str, at_most_s: float) -> None:
        alerting = profile.alerting
        self._team = alerting.team if alerting is not None else ""
        self._url = alerting.alertmanager_url if alerting is not None else None
        self._journal = journal
        self._run_id = run_id
        self._comment = comment
        self._at_most_s = at_most_s
        self._entry: Optional[Entry] = None
        self._watchdog: Optional[Watchdog] = None
        self._steps: Sequence[dict[str, Any]] = ()
        self.silence_id: Optional[str] = None
        self.why = "" if self._url else "the profile names no Alertmanager"

    def __enter__(self) -> PlannedSilence:
        if self._url:
            try:
                self._begin(AlertmanagerClient(self._url))
            except K2Error as error:
                # A fault that is not silenced wakes people, and is measured all the same.
                self.why = str(error)
        return self

    def _begin(self, client: AlertmanagerClient) -> None:
        now_us = utc_us()
        matchers = (Matcher("team", self._team), Matcher("alertname", ALWAYS_FIRING, equal=False))
        # It ends by itself, should even the journal be lost.
        end_us = now_us + round(self._at_most_s * 1e6)
        self.silence_id = client.silence(matchers, now_us, end_us, SILENCE_AUTHOR, self._comment)
        path = f"{client.api.url}/api/v2/silence/{self.silence_id}"
        # Alertmanager calls it an error to expire what has expired: what counts is what it then says of it. One that
        # was killed has lost the silences since its last snapshot, of 15 minutes ago at most.
        is_expired = {"status": {"state": "expired"}}
        expired = {"op": "http", "method": "GET", "url": path, "ok": [200], "gone": [404], "holds": is_expired}
        self._steps = ({"op": "http", "method": "DELETE", "url": path, "ok": [200, 404, 500], "verify": expired},)
        self._entry = self._journal.open(
            self._run_id,
            client.api.url,
            f"silence {self.silence_id}",
            f"expire silence {self.silence_id}",
            {"kind": "fault"},
            steps=self._steps,
            deadline_ns=Deadline.after(self._at_most_s).at_ns,
        )
        self._watchdog = Watchdog.guard(self._journal, self._entry)

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._entry is None:
            return
        outcomes = perform(self._steps, Deadline.after(_EXPIRE_S).at_ns)
        left = "; ".join(f"{one.what}: {one.seen}" for one in outcomes if not one.ok)
        try:
            if not left:
                self._journal.close(self._entry.id)
            if self._watchdog is not None:
                self._watchdog.done()
        except K2Error as trouble:
            left = "; ".join(text for text in (left, str(trouble)) if text)
        self.why = left

    def to_plain(self) -> dict[str, Any]:
        """The silence, and why there is none or it was not taken back; empty where all went well."""
        return {"id": self.silence_id, "why": self.why}

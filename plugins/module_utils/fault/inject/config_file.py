# SPDX-License-Identifier: Apache-2.0
"""A server's configuration is other for a while: another text in its file, read again, and the old one put back.

Drills use it to have rules with short waits, and to show that a server tells of a configuration it cannot read.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Optional

from ...platform.http_api import ApiRefused, HttpApi
from .base import Fault, FaultNotPossible, FaultPlan, Mechanism, Moment, Proof, Step, bracket

_COPY_S = 10


class ConfigFile(Fault):
    """The text of one file is exchanged and the server that reads it reloaded; the undo copies the old text back.

    The file is written in place: a container that has it mounted by itself would not see another inode. The old text
    lies below ``keep`` before anything changes, readable by its owner alone, since it may hold secrets.
    """

    def __init__(self, path: Path, text: str, server: HttpApi, keep: Path, what: str, *, refused: bool = False) -> None:
        """:arg refused: whether the server is meant to refuse the text, and to go on with what it had."""
        self.path = path
        self.text = text
        self._server = server
        self._refused = refused
        self._before: Optional[bytes] = None
        self._said: Optional[str] = None
        self._kept = keep / f"{hashlib.sha256(f'{path} {what}'.encode()).hexdigest()[:16]}.before"
        self.plan = FaultPlan(
            action=what,
            target=str(path),
            blast_radius=f"what {server.what} at {server.url} makes of it; nothing else reads it",
            undo=f"copy {self._kept} to {path} and reload {server.what}",
            needs_root=False,
            expected_mechanism=Mechanism.RESTARTED_BY_TOOL,
        )

    def check(self) -> None:
        """See ``Fault``; also keeps the old text."""
        try:
            before = self.path.read_bytes()
        except OSError as error:
            raise self._impossible(f"a readable file {self.path}", str(error)) from error
        if not os.access(self.path, os.W_OK):
            raise self._impossible(f"to be allowed to write {self.path}", "it may not be written by this user")
        try:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            self._kept.chmod(0o600)
            with self._kept.open("wb") as handle:
                handle.write(before)
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise self._impossible(f"to keep the old text in {self._kept}", str(error)) from error
        self._before = before

    def undo_steps(self) -> tuple[Step, ...]:
        """See ``Fault``."""
        copy = {"op": "exec", "argv": ["cp", "--", str(self._kept), str(self.path)], "ok": [0], "timeout_s": _COPY_S}
        return copy, {"op": "http", "method": "POST", "url": f"{self._server.url}/-/reload", "ok": [200]}

    def inject(self) -> Moment:
        """See ``Fault``."""
        return bracket(self._exchange)

    def _exchange(self) -> None:
        self._write(self.text.encode())
        try:
            self._server.must("POST", "/-/reload")
        except ApiRefused as error:
            if not self._refused:
                raise
            self._said = error.seen
        else:
            self._said = None

    def proof(self, timeout_s: float) -> Proof:  # noqa: ARG002 - the server answered already
        """See ``Fault``: what the server said to the reload."""
        if self._refused:
            refused = self._said is not None
            return Proof(refused, f"{self._server.what} said {self._said}" if refused else "it was not refused")
        return Proof(self.path.read_bytes() == self.text.encode(), f"{self._server.what} reloaded {self.path}")

    def heal(self) -> Optional[Moment]:
        """See ``Fault``."""
        return bracket(self._put_back)

    def _put_back(self) -> None:
        assert self._before is not None, "check() comes first"
        self._write(self._before)
        self._server.must("POST", "/-/reload")

    def restored(self) -> tuple[str, ...]:
        """See ``Fault``."""
        try:
            same = self.path.read_bytes() == self._before
        except OSError as error:
            return (f"{self.path} cannot be read: {error}",)
        return () if same else (f"{self.path} has another text than before",)

    def forget(self) -> None:
        """Remove the old text's copy, once it is back and nothing will ask for it."""
        self._kept.unlink(missing_ok=True)

    def mechanism(self) -> Optional[Mechanism]:
        """See ``Fault``."""
        return Mechanism.RESTARTED_BY_TOOL

    def _write(self, content: bytes) -> None:
        with self.path.open("r+b") as handle:
            handle.write(content)
            handle.truncate()
            handle.flush()
            os.fsync(handle.fileno())

    def _impossible(self, expected: str, seen: str) -> FaultNotPossible:
        return FaultNotPossible(
            f"{self.path} cannot be exchanged",
            expected=expected,
            seen=seen,
            action="run as a user who may, or leave it",
        )

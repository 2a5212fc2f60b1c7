# SPDX-License-Identifier: Apache-2.0
"""The git repository that the platform is deployed from: read, and tagged. Nothing in it is ever changed or moved."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..core.errors import K2Error

_TIMEOUT_S = 60.0


class RepositoryError(K2Error):
    """The repository cannot be read or tagged."""


@dataclass(frozen=True)
class Tag:
    """A tag that exists: the commit it leads to, and its message, empty where it is not annotated."""

    name: str
    commit: str
    message: str


@dataclass(frozen=True)
class Repository:
    """A checkout with its commit, that commit's time (seconds since the epoch) and changed files no commit holds."""

    path: Path
    commit: str
    committed_s: int
    changes: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> Repository:
        """The checkout that ``path`` is in.

        Raises RepositoryError where there is none, or none with a commit.
        """
        if not path.is_dir():
            raise RepositoryError(f"no directory {path}", expected="a checkout of the platform's git repository")
        action = "name the platform's own checkout, on the controller"
        top = _git(path, "rev-parse", "--show-toplevel", expected="a checkout of a git repository", action=action)
        root = Path(top)
        log = _git(root, "log", "-1", "--format=%H %ct", expected="a repository with a commit", action=action)
        commit, seconds = log.split()
        # Untracked files are nobody's state: builds and records lie about in a checkout.
        status = _git(root, "status", "--porcelain", "--untracked-files=no")
        return cls(root, commit, int(seconds), tuple(line[2:].strip() for line in status.splitlines()))

    def tag(self, name: str) -> Optional[Tag]:
        """The tag of that name, None when there is none."""
        told = _git(self.path, "for-each-ref", "--format=%(objecttype)%0a%(contents)", f"refs/tags/{name}")
        if not told:
            return None
        kind, _, message = told.partition("\n")
        commit = _git(self.path, "rev-parse", f"refs/tags/{name}^{{commit}}")
        return Tag(name, commit, message if kind == "tag" else "")

    def create_tag(self, name: str, message: str) -> None:
        """Make an annotated tag at ``commit``; git itself refuses a name that is taken.

        Raises RepositoryError.
        """
        action = "set user.name and user.email there if git asks who you are, then sign off again"
        _git(
            self.path,
            "tag",
            "--annotate",
            "--cleanup=verbatim",
            "--file=-",
            name,
            self.commit,
            given=message,
            action=action,
        )

    def push_tag(self, name: str, remote: str) -> bool:
        """Push that tag alone, without force; returns whether the remote lacked it. Raises RepositoryError."""
        reference = f"refs/tags/{name}:refs/tags/{name}"
        told = _git(self.path, "push", "--porcelain", remote, reference, action=f"see that {remote} can be written to")
        return "[new tag]" in told


def _git(
    path: Path, *arguments: str, given: Optional[str] = None, expected: str = "git to do it", action: str = ""
) -> str:
    command = ["git", "-C", str(path), *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RepositoryError(f"git does not run in {path}", expected="git on PATH", seen=str(error)) from error
    if done.returncode:
        seen = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise RepositoryError(f"git {arguments[0]} failed in {path}", expected=expected, seen=seen, action=action)
    return done.stdout.strip()

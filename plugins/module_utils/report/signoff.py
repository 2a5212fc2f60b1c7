# SPDX-License-Identifier: Apache-2.0
"""Signs a run off: an annotated tag in the platform's repository, or the list of everything that is missing.

The tag is made at the commit that is checked out. That commit must be older than the run, and the checkout must hold no
change, or what carries the tag would not be what was tested. Nothing is overwritten, and nothing pushed unless asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Optional

from ..core.errors import K2Error
from ..platform.git_repository import Repository, Tag
from ..verdict.gate import Verdict
from ..verdict.rundir import RESULTS, RunState
from ..verdict.signoff import SIGN_OFF, missing_of_run
from .render import REPORT
from .source import RecordedRun, read_run

TAG = "v2-phase-7-complete"
PAGE = f"{REPORT}/index.html"


class SignOffRefused(K2Error):  # noqa: N818 - named after what happened, as KeyboardInterrupt is
    """The run is not signed off; ``missing`` is the whole list of why not."""

    def __init__(self, run_id: str, missing: tuple[str, ...]) -> None:
        super().__init__(
            f"run {run_id} is not signed off",
            expected="a full-scale run whose blocking gates all pass, and a clean checkout of what it tested",
            seen="; ".join(missing),
            action="do what is missing, then sign off again; no tag was made",
        )
        self.missing = missing


@dataclass(frozen=True)
class SignOff:
    """A sign-off: what carries the tag, and whether it was made or pushed now."""

    tag: str
    commit: str
    message: str
    changed: bool
    pushed: bool


def sign_off(
    run_dir: Path, repository: Path, tag: str = TAG, remote: Optional[str] = None, *, only_look: bool = False
) -> SignOff:
    """Sign the run at ``run_dir`` off in the checkout ``repository``; with ``remote`` push the tag there.

    Asked again of the same run and commit it changes nothing. With ``only_look`` it says what it would do. Raises
    SignOffRefused with the list of what is missing, RunError or EvidenceError for what is no whole run, RepositoryError
    when git cannot do it.
    """
    run = read_run(run_dir)
    missing = list(_missing_of_record(run))
    found: Optional[Repository] = None
    try:
        found = Repository.open(repository)
    except K2Error as error:
        missing.append(str(error))
    message = "" if missing else _message(run, tag)
    there = None
    if found is not None:
        there = found.tag(tag)
        same = there is not None and _signs(there, run, found.commit, message)
        missing += [] if same else _missing_of_checkout(found, there, run)
    if missing or found is None:
        raise SignOffRefused(run.run_id, tuple(missing))
    if only_look:
        return SignOff(tag, found.commit, message, there is None or remote is not None, pushed=False)
    if there is None:
        found.create_tag(tag, message)
    pushed = found.push_tag(tag, remote) if remote is not None else False
    return SignOff(tag, found.commit, message, there is None or pushed, pushed)


def _missing_of_record(run: RecordedRun) -> list[str]:
    results = run.results
    missing = [one.what for one in missing_of_run(results)]
    if results["state"] == RunState.RUNNING:
        missing.append("a run that has ended: this one is running")
    elif results["verdict"] != Verdict.PASS and not missing:
        missing.append(f"a run that passed: its verdict is {results['verdict']}")
    own = next((gate for gate in results["gates"] if gate["id"] == SIGN_OFF), None)
    # What else is missing is the reason of that gate already.
    if own is None or (own["verdict"] != Verdict.PASS and not missing):
        seen = "the run does not list it" if own is None else f"{own['verdict']}: {own['reason']}"
        missing.append(f"{SIGN_OFF} that is PASS: {seen}")
    if not (run.path / PAGE).is_file():
        missing.append(f"the report {PAGE}: render it")
    return missing


def _missing_of_checkout(found: Repository, there: Optional[Tag], run: RecordedRun) -> list[str]:
    missing = []
    if there is not None:
        whose = next((line for line in there.message.splitlines() if line.startswith("Run: ")), "no run of ours")
        missing.append(
            f"a name that is free: tag {there.name} is at {there.commit[:12]} already ({whose}); to sign off anew, "
            f"delete it yourself: git tag -d {there.name}"
        )
    if found.changes:
        named = ", ".join(found.changes[:5]) + (" ..." if len(found.changes) > 5 else "")
        missing.append(f"a clean checkout: {len(found.changes)} changed files that no commit holds ({named})")
    began = datetime.fromisoformat(run.results["started"].replace("Z", "+00:00")).timestamp()
    if found.committed_s > began:
        missing.append(
            f"a commit that was tested: {found.commit[:12]} was made after the run began; check out what was "
            "tested, or run again"
        )
    return missing


def _signs(there: Tag, run: RecordedRun, commit: str, message: str) -> bool:
    """Whether the tag is this very sign-off."""
    return bool(message) and there.commit == commit and f"Run: {run.run_id}" in there.message.splitlines()


def _message(run: RecordedRun, tag: str) -> str:
    results = run.results
    counts: dict[str, int] = {}
    for gate in results["gates"]:
        counts[gate["verdict"]] = counts.get(gate["verdict"], 0) + 1
    facts: Mapping[str, str] = {
        "Run": run.run_id,
        "Platform": results["profile"],
        "Profile": str(run.facts["profile_digest"]),
        "Verdict": f"{results['verdict']} ({', '.join(f'{count} {verdict}' for verdict, count in counts.items())})",
        "Finished": results["finished"],
        "Measured-With": ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        + (f", commit {run.facts['git_commit']}" if run.facts.get("git_commit") else ""),
        "Results-SHA256": _digest(run.path / RESULTS),
        "Report-SHA256": _digest(run.path / PAGE),
    }
    return f"{tag}: {results['profile']} passed every blocking gate\n\n" + "".join(
        f"{key}: {value}\n" for key, value in facts.items()
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

# SPDX-License-Identifier: Apache-2.0
"""The directory of one run: ``results.json`` that is true at every moment, evidence files, and the ``latest`` link.

``results.json`` is replaced as a whole (written beside, fsynced, renamed), so a reader never sees half of one, and a
run that dies leaves the last true state. A run is alive as long as its controlling process is: pid, start time and
boot id are kept beside it, so a run left behind by ``kill -9`` is recognised and closed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Optional, Union

from ..core.clock import boot_id, now_rfc3339
from ..core.errors import K2Error
from ..platform.procfs import read_stat
from ..profile.model import Finding
from .gate import GateResult, Verdict, run_verdict

SCHEMA = 1
RESULTS = "results.json"
RUN = "run.json"
OWNER = "owner.json"
EVIDENCE = "evidence"
SAMPLES = "samples"
LATEST = "latest"


class RunError(K2Error):
    """A run directory cannot be made, read or written as asked."""


class RunState(str, Enum):
    """Where a run is in its life; ``interrupted`` and ``error`` are ends too."""

    RUNNING = "running"
    FINISHED = "finished"
    ERROR = "error"
    INTERRUPTED = "interrupted"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Owner:
    """The process that drives a run; ``start_ticks`` tells it from a later process with the same pid."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Owner:
        """Describe the live process ``pid``.

        Raises RunError when there is no such process.
        """
        ticks = _start_ticks(pid)
        if ticks is None:
            raise RunError(f"no process has pid {pid}", expected="the pid of the process that drives the run")
        return cls(pid, ticks, boot_id())

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.boot_id == boot_id() and _start_ticks(self.pid) == self.start_ticks


def _start_ticks(pid: int) -> Optional[int]:
    stat = read_stat(pid)
    # A zombie drives nothing.
    return None if stat is None or stat.ended else stat.start_ticks


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run before it measures anything."""

    profile: str
    profile_digest: str
    inventory: str
    scale: str
    quick: bool
    versions: Mapping[str, str]
    git_commit: Optional[str]
    host_facts: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()


class RunDir:
    """One run's directory, ``artifacts/<run_id>/``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        """The run's id: its UTC start to the second and six random hex digits."""
        return self.path.name

    # -- life ---------------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, root: Path, info: RunInfo, gates: Iterable[GateResult], owner: Owner) -> RunDir:
        """Make a new run below ``root`` with every gate listed, and point ``latest`` at it.

        Raises RunError when another run against the same platform is alive, or the directory cannot be written.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            with _locked(root / ".lock"):
                cls._refuse_or_close_others(root, info.profile)
                stamp = now_rfc3339()
                run = cls(root / f"{stamp[:19].replace('-', '').replace(':', '')}Z-{secrets.token_hex(3)}")
                (run.path / EVIDENCE).mkdir(parents=True)
                entries = [gate.to_json() for gate in gates]
                _write_json(run.path / OWNER, asdict(owner))
                _write_json(
                    run.path / RUN,
                    {
                        "schema": SCHEMA,
                        "run_id": run.run_id,
                        "started": stamp,
                        "profile": info.profile,
                        "profile_digest": info.profile_digest,
                        "inventory": info.inventory,
                        "scale": info.scale,
                        "quick": info.quick,
                        "versions": dict(info.versions),
                        "git_commit": info.git_commit,
                        "host": dict(info.host_facts),
                        "findings": [asdict(finding) for finding in info.findings],
                    },
                )
                _write_json(
                    run.path / RESULTS,
                    {
                        "schema": SCHEMA,
                        "run_id": run.run_id,
                        "profile": info.profile,
                        "inventory": info.inventory,
                        "scale": info.scale,
                        "quick": info.quick,
                        "state": str(RunState.RUNNING),
                        "error": None,
                        "verdict": str(Verdict.INCONCLUSIVE),
                        "started": stamp,
                        "finished": None,
                        "versions": dict(info.versions),
                        "gates": entries,
                    },
                )
                _point(root / LATEST, run.run_id)
        except OSError as error:
            raise RunError(
                f"cannot make a run directory below {root}",
                expected="a writable directory with free space",
                seen=str(error),
                action="free it or set k2_artifacts_dir",
            ) from error
        return run

    @staticmethod
    def _refuse_or_close_others(root: Path, profile: str) -> None:
        for results_path in sorted(root.glob(f"*/{RESULTS}")):
            if results_path.parent.is_symlink():
                continue
            other = RunDir(results_path.parent)
            results = other.results()
            if results["state"] != RunState.RUNNING:
                continue
            owner = other.owner()
            if owner is None or not owner.alive:
                other.end(RunState.INTERRUPTED, "the process that drove this run is gone")
            elif results["profile"] == profile:
                raise RunError(
                    f"another run against {profile} is active",
                    expected="one run per platform at a time",
                    seen=f"run {other.run_id}, driven by pid {owner.pid}",
                    action="wait for it to end, or interrupt it (Ctrl-C)",
                )

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """The run at ``path`` (a run directory, or ``latest``).

        Raises RunError when there is none.
        """
        run = cls(path.resolve())
        run.results()
        return run

    def end(self, state: RunState, error: Optional[str] = None) -> Verdict:
        """Close a running run with ``state`` and compute its verdict; a run that has ended already is left as it is.

        A run that did not finish cannot have passed: what it proved of itself stays in its gates, its verdict is at
        best INCONCLUSIVE.
        """
        with self._edit() as results:
            if results["state"] == RunState.RUNNING:
                verdict = run_verdict(GateResult.from_json(entry) for entry in results["gates"])
                if state is not RunState.FINISHED and verdict is Verdict.PASS:
                    verdict = Verdict.INCONCLUSIVE
                results.update(state=str(state), error=error, verdict=str(verdict), finished=now_rfc3339())
            return Verdict(results["verdict"])

    # -- contents -----------------------------------------------------------------------------------------------------

    def results(self) -> dict[str, Any]:
        """``results.json`` as it stands.

        Raises RunError when it is missing or is not one of ours.
        """
        path = self.path / RESULTS
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"no readable {path}", expected="the directory of a run", seen=str(error)) from error
        if not isinstance(results, dict) or results.get("schema") != SCHEMA:
            seen = results.get("schema") if isinstance(results, dict) else type(results).__name__
            raise RunError(f"{path} is of another schema", expected=str(SCHEMA), seen=str(seen))
        return results

    def gates(self) -> list[GateResult]:
        """Every gate of the run, in the order of the catalogue."""
        return [GateResult.from_json(entry) for entry in self.results()["gates"]]

    def facts(self) -> dict[str, Any]:
        """``run.json``: what was known of the run when it began.

        Raises RunError when it cannot be read.
        """
        path = self.path / RUN
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"no readable {path}", expected="the facts of this run", seen=str(error)) from error

    def owner(self) -> Optional[Owner]:
        """The process that drives the run, None when that was not recorded."""
        try:
            return Owner(**json.loads((self.path / OWNER).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def record(self, result: GateResult, detail: Mapping[str, Any], mechanism: str) -> GateResult:
        """Write ``evidence/<gate id>.json``, then put the gate's result in ``results.json``.

        ``detail`` is what the verdict rests on (plain data), ``mechanism`` how it was measured. Raises RunError for a
        gate the run does not list.
        """
        relative = f"{EVIDENCE}/{result.spec.id}.json"
        result = result.with_evidence(relative)
        entry = result.to_json()
        with self._edit() as results:
            places = [place for place, gate in enumerate(results["gates"]) if gate["id"] == result.spec.id]
            if len(places) != 1:
                raise RunError(
                    f"run {self.run_id} does not list the gate {result.spec.id}",
                    expected="one entry",
                    seen=str(len(places)),
                )
            evidence = {
                "schema": SCHEMA,
                **{
                    key: entry[key]
                    for key in (
                        "id",
                        "step",
                        "target",
                        "measured",
                        "low",
                        "high",
                        "unit",
                        "n",
                        "verdict",
                        "reason",
                        "scale",
                    )
                },
                "mechanism": mechanism,
                "recorded": now_rfc3339(),
                "files": [path for path in entry["evidence"] if path != relative],
                "detail": dict(detail),
            }
            _write_json(self.path / relative, evidence)
            # Whether a gate blocks was settled when the run began (tags, scale); a measurement does not change it. Only
            # what was not run may turn out not to have been asked for, since a role selects among its parts.
            unasked = result.verdict is Verdict.NOT_RUN and not result.spec.blocking
            entry["blocking"] = results["gates"][places[0]]["blocking"] and not unasked
            results["gates"][places[0]] = entry
            if results["state"] == RunState.FINISHED:
                # What takes longer than the run is recorded after its end; the verdict still follows from the gates.
                results["verdict"] = str(run_verdict(GateResult.from_json(gate) for gate in results["gates"]))
        return result

    def keep(self, relative: str, content: Mapping[str, Any]) -> None:
        """Write a file of samples, ``samples/<name>``, as a whole. Raises RunError for a path outside of that."""
        path = self.path / relative
        if path.parent != self.path / SAMPLES or not path.name.endswith(".json") or path.name.startswith("."):
            raise RunError(f"cannot keep {relative}", expected=f"{SAMPLES}/<name>.json", seen=relative)
        try:
            path.parent.mkdir(exist_ok=True)
            _write_json(path, content)
        except OSError as error:
            raise RunError(f"cannot keep {path}", expected="free space", seen=str(error)) from error

    def details(self, step: str) -> dict[str, dict[str, Any]]:
        """The detail of every evidence file of ``step`` so far, by gate id.

        Raises RunError for one that cannot be read.
        """
        found = {}
        for gate in self.gates():
            path = self.path / EVIDENCE / f"{gate.spec.id}.json"
            if gate.spec.step == step and path.exists():
                try:
                    found[gate.spec.id] = dict(json.loads(path.read_text(encoding="utf-8"))["detail"])
                except (OSError, ValueError, KeyError, TypeError) as error:
                    raise RunError(f"no readable {path}", expected="evidence of this run", seen=str(error)) from error
        return found

    @contextlib.contextmanager
    def _edit(self) -> Iterator[dict[str, Any]]:
        with _locked(self.path / ".lock"):
            results = self.results()
            before = json.dumps(results)
            yield results
            if json.dumps(results) != before:
                _write_json(self.path / RESULTS, results)


def mark_ended(path: Union[str, Path], state: Union[str, RunState], error: Optional[str] = None) -> None:
    """Close the run at ``path`` if it is still running: what a controller calls on its way out after an error or
    a signal.
    """
    RunDir(Path(path)).end(RunState(state), error)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as handle:
        json.dump(content, handle, indent=2, ensure_ascii=False, allow_nan=False)
        handle.write("\n")
        handle.flush()
        os.fsync(handle.fileno())
    beside.replace(path)


def _point(link: Path, target: str) -> None:
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)
